"""Where records go, and the one place where they wait for company.

A commit costs a sync of the medium, so records of all buses are committed together: while one
commit runs, the next fills. When it is full the pollers wait, so a slow or full store costs slots
on the bus (counted) and never memory.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from gateway_agent.store.mark import Mark
from protocols.uplink.record import Record

MAX_WAITING: Final = 10_000  # records; 1 to 2 MB at 10 values each


class Sink(Protocol):
    """Takes records for good."""

    async def put(self, records: Sequence[Record], marks: Mapping[str, Mark]) -> None:
        """Return when records and marks (by device id) are durable, in one commit."""


class Intake:
    """Collects from the pollers and feeds the sink. ``linger_ms``: the wait for company."""

    def __init__(self, sink: Sink, linger_ms: int, max_waiting: int = MAX_WAITING) -> None:
        self._sink = sink
        self._linger_s = linger_ms / 1000
        self._max = max_waiting
        self._records: list[Record] = []
        self._marks: dict[str, Mark] = {}
        self._some = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._commit: asyncio.Future[None] | None = None

    @property
    def waiting(self) -> int:
        """Records not yet handed to the sink."""
        return len(self._records)

    @property
    def full(self) -> bool:
        """Pollers must wait for :meth:`room`."""
        return not self._room.is_set()

    def add(self, records: Sequence[Record], device_id: str, mark: Mark | None) -> None:
        """Take the records of one poll and how far the device has got with them."""
        self._records += records
        if mark is not None:
            self._marks[device_id] = mark
        self._some.set()
        if len(self._records) >= self._max:
            self._room.clear()

    async def room(self) -> None:
        """Wait until there is room again."""
        await self._room.wait()

    async def run(self) -> None:
        """Commit for ever; whatever the sink raises ends it."""
        while True:
            await self._some.wait()
            if self._linger_s and not self.full:
                await asyncio.sleep(self._linger_s)
            await self.flush()

    async def flush(self) -> None:
        """Commit what is here. A commit that a cancelled ``run`` left behind is awaited first.

        Whether that one came to its end is otherwise unknown, and putting its records again could
        record them twice.
        """
        if self._commit is not None:
            await asyncio.shield(self._commit)
            self._commit = None
        if not self._records and not self._marks:
            return
        records, self._records = self._records, []
        marks, self._marks = self._marks, {}
        self._some.clear()
        self._room.set()
        self._commit = asyncio.ensure_future(self._sink.put(records, marks))
        await asyncio.shield(self._commit)
        self._commit = None
