"""Serve the outbox to the event loop: one thread owns it and commits in groups.

:meth:`OutboxWriter.put` returns when its records are on the medium. What is put while a commit is
under way goes into the next one, so under load one fsync carries many records.

When there is no space, what was put is kept and tried again, and its callers wait, so memory stays
bounded by one put per caller. When space returns, everything held is committed together with a GAP
record (``outbox_full``) with the length of the spell and the number of records that had to wait.
The record stands for no loss: a device that could not be polled meanwhile has gaps of its own.

What was submitted is carried out, whether or not the task that waits for it is cancelled.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn, TypeVar

from gateway_agent.cancellation import whatever_comes
from protocols.uplink import Receipt, Record

from .errors import StoreDamaged, StoreError, StoreFailed, StoreFull
from .exports import Cursor
from .full_spell import FullSpell
from .mark import Mark
from .outbox import Outbox, Stats
from .pruning import Pruned
from .requests import CallRequest, PutRequest, RequestQueue, Round, StoreRequest
from .retention import Keep
from .salvage import MissingRange
from .settings import HEAD_LAG_MS
from .window import Slice

log = logging.getLogger(__name__)

RETRY_S: Final = 0.5  # between attempts while there is no space
SPACING_S: Final = 0.001  # between the beginnings of two commits: less lets each carry more

T = TypeVar("T")


class OutboxWriter:
    """Own ``outbox`` from :meth:`start` to :meth:`close`. Use from one event loop."""

    def __init__(self, outbox: Outbox) -> None:
        self.committed = asyncio.Event()  # set after every commit; the task that waits clears it
        self.stats = outbox.stats()
        self.cursors: dict[str, Cursor] = outbox.cursors  # of exporters, by name
        self._listeners: list[asyncio.Event] = []
        self._outbox = outbox
        self._spell = FullSpell(outbox.context)
        self._requests = RequestQueue()
        self._waiting: set[StoreRequest[object]] = set()  # of tasks that wait for an answer now
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._next_commit = 0.0  # monotonic seconds
        self._refusal: StoreError | None = None  # the answer to every further request
        self._ended = asyncio.Event()  # no request is carried out any more

    @property
    def full_reason(self) -> str:
        """Return why nothing can be committed now; empty if it can."""
        return self._spell.reason

    def start(self) -> None:
        """Start the thread."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def watch(self) -> NoReturn:
        """Never return; StoreFailed when this process may not use the outbox any more."""
        await self._ended.wait()
        assert self._refusal is not None
        raise self._refusal

    async def put(self, records: Sequence[Record], marks: Mapping[str, Mark]) -> None:
        """Return when ``records`` and ``marks`` are durable; waits while there is no space.

        StoreFull: the outbox was closed before there was space. StoreFailed: they are not durable,
        and this process must exit. Cancelled: they become durable like all others, unwatched.
        """
        await self._submit(PutRequest(records, marks))

    async def slice(self, after: int, max_records: int, max_bytes: int) -> Slice | None:
        """Read as :meth:`Outbox.slice`; damage found is repaired, then there is a new stream."""
        return await self._call(
            lambda: self._repaired(lambda: self._outbox.slice(after, max_records, max_bytes))
        )

    async def made(
        self, after: int, max_records: int, max_bytes: int, make: Callable[[Slice], T]
    ) -> tuple[Slice, T] | None:
        """Read as :meth:`slice`; return it with what ``make`` makes of it in the same thread."""

        def call() -> tuple[Slice, T] | None:
            piece = self._repaired(lambda: self._outbox.slice(after, max_records, max_bytes))
            return None if piece is None else (piece, make(piece))

        return await self._call(call)

    async def apply_receipt(self, receipt: Receipt) -> Pruned:
        """Prune as :meth:`Outbox.apply_receipt`; damage found is repaired."""
        return await self._call(lambda: self._repaired(lambda: self._outbox.apply_receipt(receipt)))

    async def release(self, stream: int, to: int, head: bytes) -> Pruned:
        """Prune as :meth:`Outbox.release`; damage found is repaired."""
        return await self._call(
            lambda: self._repaired(lambda: self._outbox.release(stream, to, head))
        )

    async def copy_to(self, path: Path) -> Stats:
        """Copy as :meth:`Outbox.copy_to`; nothing is committed meanwhile."""
        return await self._call(lambda: self._outbox.copy_to(path))

    # --- exporters -----------------------------------------------------------------------------

    async def attach(self, names: Sequence[str], required: Sequence[str]) -> None:
        """Keep cursors as :meth:`Outbox.attach`."""
        await self._call(lambda: self._repaired(lambda: self._outbox.attach(names, required)))

    def listener(self) -> asyncio.Event:
        """Return an event that is set after every commit; whoever waits for it clears it."""
        event = asyncio.Event()
        self._listeners = [*self._listeners, event]  # the thread goes through them meanwhile
        return event

    def forget(self, event: asyncio.Event) -> None:
        """Set the event of a listener no longer."""
        self._listeners = [item for item in self._listeners if item is not event]

    async def kept_slice(self, after: int, max_records: int, max_bytes: int) -> Slice | None:
        """Read as :meth:`Outbox.kept_slice`; damage found is repaired, as in :meth:`slice`."""
        return await self._call(
            lambda: self._repaired(lambda: self._outbox.kept_slice(after, max_records, max_bytes))
        )

    async def advance(self, name: str, stream: int, to: int) -> None:
        """Move a cursor as :meth:`Outbox.advance`."""
        await self._call(lambda: self._repaired(lambda: self._outbox.advance(name, stream, to)))

    async def give_up(self, name: str, stream: int, to: int, cause: str) -> None:
        """Move a cursor as :meth:`Outbox.give_up`."""
        await self._call(
            lambda: self._repaired(lambda: self._outbox.give_up(name, stream, to, cause))
        )

    async def expire(self, name: str, keep: Keep) -> None:
        """Give up records as :meth:`Outbox.expire`."""
        await self._call(lambda: self._repaired(lambda: self._outbox.expire(name, keep)))

    async def new_stream(
        self, cause: str, why: str, lost: MissingRange | None = None, reached: int = 0
    ) -> None:
        """Begin a new stream as :meth:`Outbox.rebuild`."""
        await self._call(lambda: self._outbox.rebuild(cause, why, lost, reached))

    async def close(self) -> None:
        """Commit what was put, if there is space, then close the outbox. Raises no StoreError.

        What cannot be committed is given up; its callers get StoreFull. New requests are refused
        from now on. If this is cancelled, all of it is done first: the directory's lock is not
        released, nor the process ended, while the thread still writes.
        """
        if self._refusal is None:
            self._refusal = StoreFailed("the outbox is closed")
        try:
            if self._thread.is_alive():
                self._requests.stop()
                await whatever_comes(asyncio.to_thread(self._thread.join))
        finally:
            self._end(self._refusal)

    def secure(self, seconds: float) -> None:
        """Commit what was put, and wait for that in a thread of a loop that hangs. Nothing raises.

        What is put from now on is not committed.
        """
        self._requests.stop()
        self._thread.join(seconds)

    async def _call(self, function: Callable[[], T]) -> T:
        """Call ``function`` in the thread."""

        def call() -> T:
            result = function()
            self._note()
            return result

        return await self._submit(CallRequest(call))

    async def _submit(self, request: StoreRequest[T]) -> T:
        if self._refusal is not None:
            raise self._refusal
        self._waiting.add(request)
        self._requests.submit(request)
        try:
            return await request.answer()
        finally:
            self._waiting.discard(request)

    def _end(self, error: StoreError) -> None:
        """Answer all that still wait, and all that come, with ``error`` (in the loop)."""
        if not self._ended.is_set():
            self._refusal = error
            self._ended.set()
        for request in self._waiting:
            request.fail(error)

    # --- the thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._serve()
        except StoreFailed as error:
            self._fail(error)
        except Exception as error:  # a bug here must not look like a quiet store
            log.exception("outbox writer")
            self._fail(StoreFailed(f"outbox writer: {error!r}"))
        try:
            self._outbox.close()
        except StoreError as error:
            log.error("closing the outbox: %s", error)

    def _serve(self) -> None:
        held: list[PutRequest] = []
        stop = False
        while not stop:
            work = self._take(bool(held))
            stop = work.stop
            held = self._commit(held + work.puts, stop)
            for call in work.calls:
                call.run()
                held = self._commit(held, stop)  # a receipt may have made room

    def _take(self, holding: bool) -> Round:
        """Wait for work, then take all there is; write the head file when there is none."""
        behind = self._outbox.head_file_behind
        timeout = RETRY_S if holding else HEAD_LAG_MS / 1000 if behind else None
        spare = self._next_commit - time.monotonic()
        if spare > 0:
            time.sleep(spare)
        work = self._requests.take(timeout)
        if work.is_empty and behind and not holding:
            self._outbox.write_head_file()
        return work

    def _commit(self, puts: list[PutRequest], stop: bool) -> list[PutRequest]:
        """Commit ``puts`` in one transaction; return those still to be tried again."""
        if not puts:
            return puts
        begin = time.monotonic()
        records = [record for put in puts for record in put.records]
        marks = {device: mark for put in puts for device, mark in put.marks.items()}
        records += self._spell.gap_after(len(records))
        self._outbox.keep_reserve(at_once=bool(self.full_reason))
        try:
            self._repaired(lambda: self._outbox.append(records, marks))
        except StoreFull as error:
            self._spell.begin(error)
            if not stop:
                return puts
            for put in puts:
                put.fail(error)
            return []
        self._next_commit = begin + SPACING_S
        self._spell.end()
        self._note()
        if not self.committed.is_set():  # it costs a wake-up of the loop
            self._in_loop(self.committed.set)
        for listener in self._listeners:
            if not listener.is_set():
                self._in_loop(listener.set)
        for put in puts:
            put.succeed()
        return []

    def _repaired(self, action: Callable[[], T]) -> T:
        """Call ``action``, once more after repairing the damage it found."""
        try:
            return action()
        except StoreDamaged as damage:
            self._outbox.rebuild("outbox_damaged", str(damage))
            self._note()
            return action()

    def _note(self) -> None:
        """Show the loop where the outbox stands."""
        self.stats = self._outbox.stats()
        self.cursors = self._outbox.cursors

    def _fail(self, error: StoreFailed) -> None:
        log.critical("outbox: %s; nothing more is acknowledged by this process", error)
        self._in_loop(lambda: self._end(error))

    def _in_loop(self, function: Callable[[], object]) -> None:
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:  # the loop is closed, so no task waits any more
            log.debug("outbox: the event loop is gone")
