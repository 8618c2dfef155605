"""Cancel a coroutine at each of its suspensions in turn, and see that it ends and leaves nothing.

:func:`sweep` runs a :class:`World` again and again in a new event loop. In run k the world's task
is stopped when the k-th suspension of that task, or of a task that it started, is reached; it ends
with the first k that the world does not reach before it has done all it was made for. Time is
virtual: the loop moves it on when nothing else is left to do, so a wait of an hour costs nothing.

After each stop the task must end within ITERATIONS turns of the loop and END_S seconds of virtual
time, as cancelled; then no task, file, socket or thread may be left, and nothing may have been
logged by the loop. The world itself checks what was acknowledged.
"""

import asyncio
import contextlib
import contextvars
import gc
import selectors
import shutil
import threading
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol

import pytest

ITERATIONS: Final = 3000  # turns of the loop in which a task must end
SETTLING: Final = 40  # turns after that in which transports close
END_S: Final = 10.0  # virtual seconds in which a task must end
GUARD_S: Final = 20.0  # real seconds for a thread to answer
LIMIT_S: Final = 600.0  # virtual seconds for a world to do what it was made for
LAST: Final = 20_000  # no sweep is longer
_LOOK_S: Final = 1e-6  # what reading the clock takes

_WATCHED: contextvars.ContextVar["Watch | None"] = contextvars.ContextVar("watched", default=None)


class OutlivedError(AssertionError):
    """The task did not end as it should have."""


class World(Protocol):
    """What is run: a task with the fakes around it."""

    finished: asyncio.Event  # set when everything was done that the world is for

    def run(self) -> Coroutine[Any, Any, object]:
        """Return the coroutine that is stopped."""

    def stop(self, task: "asyncio.Task[object]") -> None:
        """Stop it, as its owner does."""

    def die(self) -> None:
        """End every peer at once: no answer, every connection reset."""

    def leave(self) -> None:
        """Close what the peers have opened since the start, after the end."""

    def verify(self, task: "asyncio.Task[object]") -> None:
        """Check how the task ended and what it has acknowledged, after the end."""


@dataclass(frozen=True, slots=True)
class Moment:
    """When a task is stopped. ``at``: the suspension, from 1 on.

    ``with_answer``: in the turn of the loop in which what it waits for completes, else in the turn
    after it has begun to wait. ``dying``: all peers end then, and the stop follows ``lag`` turns
    later. ``again``: the stop is repeated at this suspension after the first.
    """

    at: int = 1
    with_answer: bool = False
    dying: bool = False
    lag: int = 0
    again: int = 0

    def __str__(self) -> str:
        parts = ["with its answer"] * self.with_answer + [f"dying, {self.lag} later"] * self.dying
        parts += [f"again at {self.again}"] * (self.again > 0)
        return ", ".join(parts) or "plain"


_KINDS: Final = [
    Moment(),
    Moment(with_answer=True),
    *(Moment(dying=True, lag=lag) for lag in range(5)),
    # A second stop, in the clean-up of the first.
    *(Moment(again=again) for again in (1, 2, 3)),
]
_QUICK: Final = [_KINDS[0], _KINDS[1], _KINDS[4], _KINDS[7]]
# Moments of each kind at every suspension, and some kinds at every third for `make test`. A sweep
# takes seconds on an idle machine.
MOMENTS: Final = [
    pytest.param(kind, 3, id=f"{kind}, every third", marks=pytest.mark.timeout(180))
    for kind in _QUICK
] + [
    pytest.param(kind, 1, id=f"{kind}", marks=[pytest.mark.exhaustive, pytest.mark.timeout(600)])
    for kind in _KINDS
]
#: The same for a world that differs little from another one: `make test` takes one kind of it.
FEWER_MOMENTS: Final = [MOMENTS[0], *MOMENTS[len(_QUICK) :]]


class _Selector(selectors.DefaultSelector):
    """Looks for what is ready and never waits, except for a thread."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        loop = self.loop
        loop.turned()
        found = super().select(0)
        if found or timeout == 0:
            return found
        if loop.outside:
            found = super().select(GUARD_S)
            assert found, f"no thread answered within {GUARD_S} s: {loop.outside}"
        elif timeout is None:
            raise OutlivedError("everything waits, and nothing can ever happen")
        else:
            found = super().select(loop.wire_s)
            if not found:
                loop.now += timeout
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time moves when it has nothing to do, and a little when it is read."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.turns = 0
        self.wire_s = 0.0  # real seconds that the kernel may take to pass bytes on
        self.last_turn: int | None = None  # OutlivedError at the next
        self.outside: set[Future[Any]] = set()  # what threads have to answer
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)
        self.set_task_factory(_make_task)  # type: ignore[arg-type] # typeshed leaves out context

    def time(self) -> float:
        """Return the virtual time in seconds; who waits for it by looking gets there."""
        self.now += _LOOK_S
        return self.now

    def turned(self) -> None:
        """Count a turn."""
        self.turns += 1
        if self.last_turn is not None and self.turns > self.last_turn:
            self.last_turn = None
            raise OutlivedError(f"the task still runs after {ITERATIONS} turns of the loop")


class _Counted(Coroutine[Any, Any, Any]):
    """A coroutine whose suspensions are counted."""

    def __init__(self, inner: Coroutine[Any, Any, Any], watch: "Watch") -> None:
        self._inner = inner
        self._watch = watch

    def send(self, value: Any) -> Any:
        waits_for = self._inner.send(value)
        self._watch.suspended(waits_for)
        return waits_for

    def throw(
        self,
        kind: Any,
        value: object = None,
        traceback: TracebackType | None = None,
    ) -> Any:
        error: BaseException = kind if value is None else value  # type: ignore[assignment] # it is
        waits_for = self._inner.throw(error)
        self._watch.suspended(waits_for)
        return waits_for

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._inner.__await__()

    def __getattr__(self, name: str) -> Any:  # for the repr of its task
        return getattr(self._inner, name)


def _make_task(
    loop: asyncio.AbstractEventLoop,
    work: Coroutine[Any, Any, Any],
    context: contextvars.Context | None = None,
) -> "asyncio.Task[Any]":
    watch = _WATCHED.get() if context is None else context.get(_WATCHED)
    if watch is not None:
        work = _Counted(work, watch)
    return asyncio.Task(work, loop=loop, context=context)


class Watch:
    """Counts the suspensions of one run and stops its task at the chosen one."""

    def __init__(self, loop: VirtualLoop, world: World, moment: Moment) -> None:
        self.count = 0
        self.reached = False
        self.stopped: tuple[int, float] | None = None  # turn and time of the first stop
        self._count_then = 0
        self._loop = loop
        self._world = world
        self._moment = moment
        self.task: asyncio.Task[object] | None = None

    def suspended(self, waits_for: "asyncio.Future[object] | None") -> None:
        """Note that a task of the run waits now."""
        self.count += 1
        moment = self._moment
        if self.stopped is not None:
            if self.count == self._count_then + moment.again:
                self._loop.call_soon(self._stop)
        elif self.count == moment.at:
            self.reached = True
            if moment.with_answer and waits_for is not None:
                waits_for.add_done_callback(lambda _: self._begin())
            else:
                self._loop.call_soon(self._begin)

    def _begin(self) -> None:
        if self.stopped is not None:
            return
        if self._moment.dying:
            self._world.die()
        self._later(self._moment.lag)

    def _later(self, turns: int) -> None:
        if turns:
            self._loop.call_soon(self._later, turns - 1)
        else:
            self.stop()

    def stop(self) -> None:
        """Stop the task, if it was not stopped before."""
        if self.stopped is None:
            loop = self._loop
            self.stopped = loop.turns, loop.time()
            self._count_then = self.count
            loop.last_turn = loop.turns + ITERATIONS
            self._stop()

    def _stop(self) -> None:
        assert self.task is not None
        self._world.stop(self.task)


Make = Callable[[Path], AbstractAsyncContextManager[World]]


def sweep(make: Make, folder: Path, moment: Moment, floor: int, part: int = 1) -> int:
    """Stop the world at every ``part``-th suspension; return how many runs that were.

    At least ``floor`` suspensions must have been reached, so that the sweep is one.
    """
    gc.collect()
    gc.freeze()
    runs = 0
    try:
        for at in range(1, LAST, part):
            here = replace(moment, at=at)
            place = folder / f"{at}"
            place.mkdir()
            try:
                reached = run_once(make, place, here)
            except Exception as error:
                error.add_note(f"at {here}")
                raise
            shutil.rmtree(place)
            if not reached:
                break
            runs += 1
    finally:
        gc.unfreeze()
    assert runs * part >= floor, f"{runs * part} suspensions reached, expected {floor} or more"
    return runs


def run_once(make: Make, folder: Path, moment: Moment) -> bool:
    """Run the world once and stop it; return whether the moment was reached."""
    loop = VirtualLoop()
    executor = ThreadPoolExecutor(4)
    loop.set_default_executor(executor)
    logged: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: logged.append(context))
    try:
        with pytest.MonkeyPatch.context() as patch:
            _watch_threads(patch, loop)
            reached = loop.run_until_complete(_drive(loop, make, folder, moment))
        gc.collect()
        assert not logged, f"the loop reported {logged}"
    finally:
        loop.last_turn = None
        _abandon(loop)
        executor.shutdown()
        loop.close()
    return reached


def _watch_threads(patch: pytest.MonkeyPatch, loop: VirtualLoop) -> None:
    """Have the loop wait in real time for what a thread has to answer."""
    wrap = asyncio.wrap_future

    def wrapped(
        future: "Future[Any] | asyncio.Future[Any]",
        *,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> "asyncio.Future[Any]":
        waiting = wrap(future, loop=loop)
        if isinstance(future, Future):
            virtual.outside.add(future)
            future.add_done_callback(answered)
        return waiting

    def answered(future: "Future[Any]") -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            virtual.call_soon_threadsafe(virtual.outside.discard, future)

    virtual = loop
    patch.setattr(asyncio, "wrap_future", wrapped)
    patch.setattr(asyncio.futures, "wrap_future", wrapped)


async def _drive(loop: VirtualLoop, make: Make, folder: Path, moment: Moment) -> bool:
    await asyncio.to_thread(int)  # the executor's first thread
    async with make(folder) as world:
        watch = Watch(loop, world, moment)
        before = _handles(), _threads()
        tasks = asyncio.all_tasks(loop)
        context = contextvars.copy_context()
        context.run(_WATCHED.set, watch)
        task = watch.task = loop.create_task(world.run(), context=context)
        finished = loop.create_task(world.finished.wait())
        both: set[asyncio.Task[Any]] = {task, finished}
        await asyncio.wait(both, timeout=LIMIT_S, return_when=asyncio.FIRST_COMPLETED)
        assert watch.stopped or not task.done(), f"it ended before it was stopped: {task}"
        assert watch.stopped or finished.done(), f"the world was not finished in {LIMIT_S} s"
        finished.cancel()
        watch.stop()
        assert watch.stopped is not None
        rest_s = watch.stopped[1] + END_S - loop.time()
        await asyncio.wait({task}, timeout=max(0.0, rest_s))
        if not task.done():
            raise OutlivedError(f"the task still runs {END_S} s after it was stopped: {task}")
        loop.last_turn = None
        world.leave()
        while loop.outside:
            await asyncio.sleep(0.001)  # real time, as a thread still has something to do
        await _settle(lambda: asyncio.all_tasks(loop) <= tasks and _handles() <= before[0])
        left = asyncio.all_tasks(loop) - tasks
        if left:
            raise OutlivedError(f"tasks were left: {left}")
        open_now = {name: target for name, target in _handles() if (name, target) not in before[0]}
        if open_now:
            raise OutlivedError(f"files were left open: {open_now}")
        threads = [thread for thread in _threads() if thread not in before[1]]
        if threads:
            raise OutlivedError(f"threads were left: {threads}")
        world.verify(task)
        return watch.reached


async def _settle(done: Callable[[], object]) -> None:
    for _ in range(SETTLING):
        if done():
            return
        await asyncio.sleep(0)


def _handles() -> set[tuple[str, str]]:
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found.add((entry.name, str(entry.readlink())))
        except FileNotFoundError:  # the folder itself
            continue
    return found


def _threads() -> list[threading.Thread]:
    """Return all threads but those of executors, which are kept for the next call."""
    return [thread for thread in threading.enumerate() if "ThreadPool" not in thread.name]


def _abandon(loop: VirtualLoop) -> None:
    """End what is left of a run that failed."""
    for _ in range(100):
        tasks = asyncio.all_tasks(loop)
        if not tasks:
            break
        for task in tasks:
            task.cancel()
        loop.call_soon(loop.stop)
        loop.run_forever()
    loop.run_until_complete(loop.shutdown_asyncgens())
