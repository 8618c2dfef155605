"""The records of all buses wait in one queue for the next commit, so that they share it.

A commit costs a sync of the medium, so records of all buses are committed together: while one
commit runs, the next fills. When it is full the pollers wait, so a slow or full store costs slots
on the bus (counted) and never memory. What waits is one commit later, which must fit an outbox that
has been emptied: it is a small part of what the outbox may hold.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, Protocol

from gateway_agent.cancellation import raise_if_cancelled, whatever_comes
from gateway_agent.store.mark import Mark
from protocols.uplink import Record

MAX_WAITING: Final = 2 << 20  # bytes; 10,000 to 20,000 records of 10 values
OUTBOX_PART: Final = 8  # of the outbox's limit, the part that may wait


def waiting_bytes(outbox_bytes: int) -> int:
    """Return how many bytes may wait for an outbox that is limited to ``outbox_bytes``."""
    return min(MAX_WAITING, outbox_bytes // OUTBOX_PART)


class Sink(Protocol):
    """Takes records for good."""

    async def put(self, records: Sequence[Record], marks: Mapping[str, Mark]) -> None:
        """Return when records and marks (by device id) are durable, in one commit."""


class CommitQueue:
    """Collect from the pollers and feed the sink, from :meth:`run` or :meth:`flush`.

    ``linger_ms`` is how long the first record of a commit waits for others; if it is 0, pollers
    wait for :meth:`stored` after each poll. ``max_bytes``: the size of waiting records from which
    they wait in any case.
    """

    def __init__(self, sink: Sink, linger_ms: int, max_bytes: int = MAX_WAITING) -> None:
        self._sink = sink
        self._linger_s = linger_ms / 1000
        self._max_bytes = max_bytes
        self._bytes = 0
        self._records: list[Record] = []
        self._marks: dict[str, Mark | Callable[[], Mark]] = {}
        self._then: list[Callable[[], None]] = []  # when the commit is made that takes all this
        self._some = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self.news = asyncio.Event()  # set by each :meth:`add`; who waits for it clears it
        self._commit: asyncio.Future[None] | None = None  # under way, or with an outcome to raise

    def change(self, linger_ms: int) -> None:
        """Take another time that the first record of a commit waits for others."""
        self._linger_s = linger_ms / 1000

    @property
    def waiting(self) -> int:
        """Count the records that are not yet handed to the sink."""
        return len(self._records)

    @property
    def is_waiting(self) -> bool:
        """Return whether a record is not durable yet."""
        return bool(self._records) or (self._commit is not None and not self._commit.done())

    @property
    def full(self) -> bool:
        """Return whether pollers must wait for :meth:`room`."""
        return not self._room.is_set()

    def add(
        self,
        records: Sequence[Record],
        device_id: str,
        mark: Mark | Callable[[], Mark] | None,
        is_urgent: bool = True,
        committed: Callable[[], None] | None = None,
    ) -> None:
        """Take the records of one poll and how far the device has got with them.

        A function is called when the commit begins; it must fit all records added until then.
        What is not urgent starts no commit; it goes with the next one. ``committed`` is called
        when these records, and all added before them, are durable.
        """
        if committed is not None:
            self._then.append(committed)
        self._records += records
        if mark is not None:
            self._marks[device_id] = mark
        if is_urgent:
            self._some.set()
        self.news.set()
        for record in records:
            self._bytes += len(record.data)
        if self._bytes >= self._max_bytes:
            self._room.clear()

    async def room(self) -> None:
        """Wait until there is room again."""
        await self._room.wait()

    @property
    def is_patient(self) -> bool:
        """Return whether pollers go on while what they have read waits for its commit."""
        return self._linger_s > 0

    async def stored(self) -> None:
        """Wait until everything urgent that was added is durable."""
        if self._some.is_set():
            stored = asyncio.Event()
            self._then.append(stored.set)
            await stored.wait()
        elif self._commit is not None:
            await asyncio.wait({self._commit})

    async def run(self) -> None:
        """Commit for ever; an error of the sink ends it."""
        while True:
            raise_if_cancelled()
            await self._some.wait()
            if self._linger_s and not self.full:
                await asyncio.sleep(self._linger_s)
            await self.flush()

    async def flush(self) -> None:
        """Commit everything that waits.

        Cancelling :meth:`run` or this does not cancel a commit under way: putting its records
        again could record them twice. The next call awaits that commit first.
        """
        await self._outcome()
        if not self._records and not self._marks:
            return
        records, self._records = self._records, []
        marks = {
            name: mark if isinstance(mark, Mark) else mark() for name, mark in self._marks.items()
        }
        self._marks = {}
        then, self._then = self._then, []
        self._bytes = 0
        self._some.clear()
        self._room.set()
        self._commit = asyncio.ensure_future(self._sink.put(records, marks))
        if then:
            self._commit.add_done_callback(partial(_committed, then))
        await self._outcome()

    async def give_up(self) -> None:
        """Stop waiting for the commit under way; the sink carries it out all the same."""
        if self._commit is not None:
            self._commit.cancel()
            await whatever_comes(asyncio.wait({self._commit}))

    async def _outcome(self) -> None:
        """Await the commit under way, if there is one, and raise its error."""
        if self._commit is not None:
            await asyncio.shield(self._commit)
            self._commit = None


def _committed(then: list[Callable[[], None]], commit: asyncio.Future[None]) -> None:
    if not commit.cancelled() and commit.exception() is None:
        for call in then:
            call()
