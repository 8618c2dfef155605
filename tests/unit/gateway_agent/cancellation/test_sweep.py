"""The sweep itself: it passes what ends, and finds each way in which a cancellation is lost."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from .sweep import Make, Moment, OutlivedError, sweep

ROUNDS = 50  # after which a program ends that nothing else can end


class Peer:
    """Gives an answer after one second, until it dies: then each request fails."""

    def __init__(self) -> None:
        self.waiting: set[asyncio.Future[int]] = set()
        self.answers = 0
        self.finished = asyncio.Event()
        self.kept: list[socket.socket] = []

    async def ask(self) -> int:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[int] = loop.create_future()
        self.waiting.add(future)
        timer = loop.call_later(1.0, self._answer, future)
        try:
            return await future
        finally:
            timer.cancel()
            self.waiting.discard(future)

    def _answer(self, future: "asyncio.Future[int]") -> None:
        self.answers += 1
        if self.answers >= 8:
            self.finished.set()
        if not future.done():
            future.set_result(self.answers)

    def die(self) -> None:
        for future in self.waiting:
            if not future.done():
                future.set_exception(ConnectionError("the peer is gone"))


Program = Callable[[Peer], Coroutine[Any, Any, object]]


class Small:
    """One program with one peer."""

    def __init__(self, program: Program) -> None:
        self.peer = Peer()
        self.finished = self.peer.finished
        self.run = lambda: program(self.peer)
        self.die = self.peer.die

    def stop(self, task: "asyncio.Task[object]") -> None:
        task.cancel()

    def leave(self) -> None:
        """Nothing was opened."""

    def verify(self, task: "asyncio.Task[object]") -> None:
        assert task.cancelled()


def small(program: Program) -> Make:
    @asynccontextmanager
    async def make(_: Path) -> AsyncIterator[Small]:
        world = Small(program)
        try:
            yield world
        finally:
            for kept in world.peer.kept:
                kept.close()

    return make


async def good(peer: Peer) -> None:
    while True:
        with contextlib.suppress(ConnectionError):
            await peer.ask()


async def waits_with_the_old_wait_for(peer: Peer) -> None:
    """``wait_for`` as Python has it up to 3.11: an answer that came with a cancellation wins."""
    for _ in range(ROUNDS):
        answer = asyncio.ensure_future(peer.ask())
        try:
            await asyncio.shield(answer)
        except asyncio.CancelledError:
            if not answer.done():
                answer.cancel()
                raise
        except ConnectionError:
            pass


async def catches_everything(peer: Peer) -> None:
    for _ in range(ROUNDS):
        try:  # noqa: SIM105 # as it is written by mistake
            await peer.ask()
        except BaseException:  # noqa: BLE001, S110 # as it is written by mistake
            pass


async def suppresses(peer: Peer) -> None:
    for _ in range(ROUNDS):
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            await peer.ask()


async def goes_on_after_a_group(peer: Peer) -> None:
    """The error of a child takes the place of the cancellation of the group."""

    async def child() -> None:
        while True:
            await peer.ask()

    for _ in range(ROUNDS):
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(child())
                group.create_task(child())
        except* ConnectionError:
            pass


async def replaces_it_with_an_error(peer: Peer) -> None:
    for _ in range(ROUNDS):
        try:
            try:
                await peer.ask()
            finally:
                raise ConnectionError("cannot say goodbye")
        except ConnectionError:
            pass


async def leaves_a_task(peer: Peer) -> None:
    task = asyncio.create_task(good(peer))
    await asyncio.wait({task})


async def leaves_a_socket(peer: Peer) -> None:
    peer.kept.append(socket.socket())
    await good(peer)


async def leaves_a_thread(peer: Peer) -> None:
    over = threading.Event()
    threading.Thread(target=over.wait, args=(0.5,), daemon=True).start()
    while not over.is_set():
        await peer.ask()


async def cleans_up_for_long(peer: Peer) -> None:
    try:
        await good(peer)
    finally:
        await asyncio.sleep(3600)


async def cleans_up_once(peer: Peer) -> None:
    """One cancellation is fine, a second in the clean-up leaves a task."""
    task = asyncio.create_task(good(peer))
    try:
        await asyncio.wait({task})
    finally:
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.wait({task})


PLAIN = Moment()
WITH_ANSWER = Moment(with_answer=True)
DYING = [Moment(dying=True, lag=lag) for lag in range(3)]


@pytest.mark.parametrize("moment", [PLAIN, WITH_ANSWER, *DYING, Moment(again=1)])
def test_what_ends_passes(folder: Path, moment: Moment) -> None:
    assert sweep(small(good), folder, moment, floor=8) >= 8


@pytest.mark.parametrize(
    ("program", "moments"),
    [
        (waits_with_the_old_wait_for, [WITH_ANSWER]),
        (catches_everything, [PLAIN]),
        (suppresses, [PLAIN]),
        (goes_on_after_a_group, DYING),
        (replaces_it_with_an_error, [PLAIN]),
        (leaves_a_task, [PLAIN]),
        (leaves_a_socket, [PLAIN]),
        (leaves_a_thread, [PLAIN]),
        (cleans_up_for_long, [PLAIN]),
        (cleans_up_once, [Moment(again=1)]),
    ],
)
def test_what_does_not_end_is_found(folder: Path, program: Program, moments: list[Moment]) -> None:
    found = 0
    for moment in moments:
        place = folder / f"{moment.lag}"
        place.mkdir()
        try:
            sweep(small(program), place, moment, floor=1)
        except OutlivedError:
            found += 1
    assert found


def test_a_sweep_over_too_little_fails(folder: Path) -> None:
    with pytest.raises(AssertionError, match="suspensions reached"):
        sweep(small(good), folder, PLAIN, floor=1000)
