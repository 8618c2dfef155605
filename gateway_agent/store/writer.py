"""The outbox's asyncio front: one thread that owns it, and group commit.

Whoever calls :meth:`OutboxWriter.put` waits until its records are on the medium. What is put while
a commit is under way goes into the next one, so under load one fsync carries many records.

When there is no space, what was put is kept and tried again, and its callers wait, so memory stays
bounded by one put per caller. When space returns, everything held is committed together with a GAP
record (``outbox_full``) that says for how long and how much had to wait. It names no loss: a device
that could not be polled meanwhile has gaps of its own.
"""

import asyncio
import functools
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NoReturn, TypeVar

from gateway_agent.clock import Clock
from gateway_agent.counters import Counters
from protocols.uplink.receipt import Receipt
from protocols.uplink.record import MAX_DETAIL_LENGTH, Gap, Record

from .errors import StoreDamaged, StoreError, StoreFailed, StoreFull
from .mark import Mark
from .outbox import Outbox, Pruned, Slice
from .state import own_gap

log = logging.getLogger(__name__)

RETRY_S: Final = 0.5  # between attempts while there is no space
WITNESS_MS: Final = 100  # the witness file lags a commit by at most this
MAX_COMMIT: Final = 5000  # records in one commit: bounds its duration and its memory
SPACING_S: Final = 0.001  # between the beginnings of two commits: less lets each carry more

T = TypeVar("T")


@dataclass(slots=True)
class _Put:
    records: Sequence[Record]
    marks: Mapping[str, Mark]
    future: "asyncio.Future[None]"


@dataclass(slots=True)
class _Call:
    """``run`` does the work in the thread and tells who waits; given an error, it only tells."""

    run: Callable[[StoreError | None], None]


@dataclass(slots=True)
class _Round:
    """What one turn of the thread has to do."""

    puts: list[_Put] = field(default_factory=list)
    calls: list[_Call] = field(default_factory=list)
    stop: bool = False


class OutboxWriter:
    """Owns ``outbox`` from :meth:`start` to :meth:`close`. Use from one event loop."""

    def __init__(self, outbox: Outbox, gateway: str, clock: Clock, counters: Counters) -> None:
        self._outbox = outbox
        self._gateway = gateway
        self._clock = clock
        self._counters = counters
        self._queue: queue.SimpleQueue[_Put | _Call | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._failure: StoreError | None = None
        self._failed = asyncio.Event()
        self._full_since: int | None = None
        self._next_commit = 0.0  # monotonic seconds
        self.committed = asyncio.Event()  # set after every commit; whoever waits clears it
        self.stats = outbox.stats()
        self.full_reason = ""  # why nothing can be committed now; empty: it can

    def start(self) -> None:
        """Start the thread."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def watch(self) -> NoReturn:
        """Never returns; StoreFailed when this process may not use the outbox any more."""
        await self._failed.wait()
        assert self._failure is not None
        raise self._failure

    async def put(self, records: Sequence[Record], marks: Mapping[str, Mark]) -> None:
        """Return when ``records`` and ``marks`` are durable; waits while there is no space.

        StoreFailed: they are not, and this process must exit.
        """
        if self._failure is not None:
            raise self._failure
        put = _Put(records, marks, self._loop.create_future())
        self._queue.put(put)
        await put.future

    async def _call(self, function: Callable[[], T]) -> T:
        """``function``'s result from the thread, or its error."""
        if self._failure is not None:
            raise self._failure
        future: asyncio.Future[T] = self._loop.create_future()

        def run(error: StoreError | None = None) -> None:
            if error is not None:
                self._in_loop(lambda: _settle(future, error))
                return
            try:
                result = function()
            except StoreError as problem:
                self._in_loop(functools.partial(_settle, future, problem))
                if isinstance(problem, StoreFailed):
                    raise
                return
            self.stats = self._outbox.stats()
            self._in_loop(lambda: None if future.done() else future.set_result(result))

        self._queue.put(_Call(run))
        return await future

    async def slice(self, after: int, max_records: int, max_bytes: int) -> Slice | None:
        """As :meth:`Outbox.slice`; damage found is repaired, then there is a new stream."""
        return await self._call(
            lambda: self._repaired(lambda: self._outbox.slice(after, max_records, max_bytes))
        )

    async def apply_receipt(self, receipt: Receipt) -> Pruned:
        """As :meth:`Outbox.apply_receipt`; damage found is repaired."""
        return await self._call(lambda: self._repaired(lambda: self._outbox.apply_receipt(receipt)))

    async def release(self, stream: int, to: int, head: bytes) -> Pruned:
        """As :meth:`Outbox.release`; damage found is repaired."""
        return await self._call(
            lambda: self._repaired(lambda: self._outbox.release(stream, to, head))
        )

    async def new_stream(self, cause: str, why: str) -> None:
        """As :meth:`Outbox.rebuild`."""
        await self._call(lambda: self._outbox.rebuild(cause, why))

    async def close(self) -> None:
        """Commit what was put, if there is space, then close the outbox. Never raises.

        What cannot be committed is given up; its callers get StoreFull.
        """
        if self._thread.is_alive():
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)
        self._end(StoreFailed("the outbox is closed"), [])

    # --- the thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        held: list[_Put] = []
        stop = False
        try:
            while not stop:
                work = self._collect(bool(held))
                stop = work.stop
                held += work.puts
                held = self._commit(held, stop)
                for call in work.calls:
                    call.run(None)
                    held = self._commit(held, stop) if held else held
        except StoreFailed as error:
            self._fail(error, held)
        except Exception as error:  # a bug here must not look like a quiet store
            log.exception("outbox writer")
            self._fail(StoreFailed(f"outbox writer: {error!r}"), held)
        try:
            self._outbox.close()
        except StoreError as error:
            log.error("closing the outbox: %s", error)

    def _collect(self, holding: bool) -> _Round:
        """Wait for work, then take all there is."""
        work = _Round()
        timeout = RETRY_S if holding else WITNESS_MS / 1000 if self._outbox.witness_due else None
        spare = self._next_commit - time.monotonic()
        if spare > 0:
            time.sleep(spare)
        try:
            item = self._queue.get(timeout=timeout)
        except queue.Empty:
            if self._outbox.witness_due and not holding:
                self._outbox.write_witness()
            return work
        count = 0
        while True:
            if item is None:
                work.stop = True
            elif isinstance(item, _Call):
                work.calls.append(item)
            else:
                work.puts.append(item)
                count += len(item.records)
            if count >= MAX_COMMIT:
                return work
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return work

    def _commit(self, puts: list[_Put], stop: bool) -> list[_Put]:
        """Commit ``puts`` in one transaction; those still to be tried again."""
        if not puts:
            return puts
        begin = time.monotonic()
        records = [record for put in puts for record in put.records]
        marks = {device: mark for put in puts for device, mark in put.marks.items()}
        if self._full_since is not None:
            records.append(self._gap(self._full_since, len(records)))
        try:
            self._repaired(lambda: self._outbox.append(records, marks))
        except StoreFull as error:
            self._note_full(error)
            if stop:
                self._tell([put.future for put in puts], error)
                return []
            return puts
        self._next_commit = begin + SPACING_S
        self._note_space()
        self._outbox.reserve.keep()
        self.stats = self._outbox.stats()
        self._tell([put.future for put in puts], None)
        return []

    def _gap(self, since: int, waited: int) -> Record:
        seconds = (self._clock.boot_ms() - since) / 1000
        detail = (
            f"no space for {seconds:.1f} s; the {waited} records before this one waited, none was"
            f" lost; polls missed meanwhile are in gaps of their devices: {self.full_reason}"
        )
        gap = Gap("outbox_full", None, None, None, detail[:MAX_DETAIL_LENGTH])
        return own_gap(self._gateway, self._clock, gap)

    def _note_full(self, error: StoreFull) -> None:
        if self._full_since is None:
            self._full_since = self._clock.boot_ms()
            self._counters.store_full += 1
            self.full_reason = str(error)
            log.error("outbox full: records wait in memory, then polling waits too: %s", error)

    def _note_space(self) -> None:
        if self._full_since is not None:
            self._full_since = None
            self.full_reason = ""
            self._counters.gaps["outbox_full"] += 1
            log.warning("outbox: there is space again")

    def _repaired(self, action: Callable[[], T]) -> T:
        """``action``, once more after repairing the damage it found."""
        try:
            return action()
        except StoreDamaged as damage:
            self._outbox.rebuild("outbox_damaged", str(damage))
            self.stats = self._outbox.stats()
            return action()

    def _tell(self, futures: list["asyncio.Future[None]"], error: StoreError | None) -> None:
        def tell() -> None:
            for future in futures:
                _settle(future, error)
            if error is None:
                self.committed.set()

        self._in_loop(tell)

    def _in_loop(self, function: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:  # the loop is closed: nobody is left to be told
            log.debug("outbox: the event loop is gone")

    def _fail(self, error: StoreFailed, held: list[_Put]) -> None:
        log.critical("outbox: %s; nothing more is acknowledged by this process", error)
        self._in_loop(lambda: self._end(error, held))

    def _end(self, error: StoreFailed, held: list[_Put]) -> None:
        """In the loop: whoever still waits, and whoever comes, gets ``error``."""
        if self._failure is None:
            self._failure = error
        self._failed.set()
        for put in held:
            _settle(put.future, error)
        while True:
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return
            if isinstance(item, _Call):
                item.run(error)
            elif item is not None:
                _settle(item.future, error)


def _settle(future: "asyncio.Future[T]", error: StoreError | None) -> None:
    """Give ``future`` its error or, for a put, its None."""
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(None)  # type: ignore[arg-type] # only puts are settled without an error
