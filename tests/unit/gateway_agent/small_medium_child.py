"""Run by test_small_medium.py inside a small file system: ``small_medium_child.py DIRECTORY``.

Fills an outbox until it takes nothing more and empties it by receipts, over and over; lets others
take all room and give it back. Prints ``good`` at the end.
"""

import asyncio
import logging
import sys
from pathlib import Path

from gateway_agent.counters import Counters
from gateway_agent.store.errors import StoreFull
from gateway_agent.store.medium import fitting
from gateway_agent.store.outbox import Outbox
from gateway_agent.store.writer import OutboxWriter
from tests.unit.gateway_agent.full_disk_child import fill_up
from tests.unit.gateway_agent.store_help import (
    StillClock,
    contents,
    gaps,
    numbers,
    open_box,
    records,
)

CONFIGURED = 1 << 30
GROUP = 20


class Site:
    """A poller that never stops, and a platform that takes what there is when it is asked to."""

    def __init__(self, root: Path, max_bytes: int) -> None:
        self.state = root / "state"
        self.max_bytes = max_bytes
        self.writer = OutboxWriter(open_box(self.state, StillClock(), Counters(), max_bytes))
        self.last = 0
        self.delivered: list[bytes] = []

    async def poll(self) -> None:
        while True:
            await self.writer.put(records(self.last + 1, GROUP), {})
            self.last += GROUP

    async def until_full(self) -> None:
        async with asyncio.timeout(20):
            while not self.writer.full_reason:
                await asyncio.sleep(0.005)

    async def deliver(self) -> None:
        """Receipts for what there is now; polling must go on by itself then."""
        held = self.last
        while self.writer.stats.receipted_to < held:
            piece = await self.writer.slice(self.writer.stats.receipted_to, 1000, 1 << 20)
            assert piece is not None
            await self.writer.release(piece.stream, piece.last, piece.head)
            self.delivered += [record.data for record in piece.records]
        async with asyncio.timeout(20):
            while self.last == held:
                await asyncio.sleep(0.005)


async def main(root: Path, limited: bool) -> None:
    """Fill and empty, over and over; others take all room and give it back."""
    logging.disable(logging.CRITICAL)
    site = Site(root, fitting(root, CONFIGURED) if limited else CONFIGURED)
    writer, ballast = site.writer, root / "ballast"
    writer.start()
    polling = asyncio.create_task(site.poll())
    for _ in range(2):
        await site.until_full()
        await site.deliver()
    await site.until_full()
    if limited:  # so there is a reserve
        fill_up(ballast)
        await site.deliver()
        await site.until_full()
        ballast.unlink()
        await site.deliver()
        await site.until_full()
        # A collector that went back refuses receipts until there is a new stream.
        before = writer.stats.depth
        await writer.new_stream("db_truncated", "the collector went back")
        assert writer.stats.depth > before
        await site.deliver()
    polling.cancel()
    await asyncio.gather(polling, return_exceptions=True)
    await writer.close()
    box = open_box(site.state, max_bytes=site.max_bytes)
    pieces = site.delivered + contents(box, 500)
    box.close()
    found = numbers(pieces)
    assert found == list(range(1, len(found) + 1))
    assert len(found) >= site.last
    causes = {"outbox_full", "db_truncated"} if limited else {"outbox_full"}
    assert {cause for cause, _, _ in gaps(pieces)} == causes
    if limited:
        repair_when_full(site)
    print("good")  # noqa: T201 # what the test reads


def repair_when_full(site: Site) -> None:
    """Damage the first page and a group of a full outbox: there is room for both copies."""
    box = open_box(site.state, max_bytes=site.max_bytes)
    box.release(box.stats().stream, box.stats().last, head_of(box))
    count = 0
    try:
        while True:
            box.append(records(count + 1, GROUP), {})
            count += GROUP
    except StoreFull:
        box.close()
    path = site.state / "outbox.db"
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    content[content.index(records(2 * GROUP + 1, 1)[0].data)] ^= 1
    path.write_bytes(content)
    box = open_box(site.state, max_bytes=site.max_bytes)
    pieces = contents(box, 500)
    box.close()
    assert numbers(pieces) == [*range(1, 2 * GROUP + 1), *range(3 * GROUP + 1, count + 1)]
    assert [cause for cause, _, _ in gaps(pieces)] == ["outbox_damaged"]


def head_of(box: Outbox) -> bytes:
    """The chain's head after the last record."""
    piece = box.slice(box.stats().last - 1, 1, 1 << 20)
    assert piece is not None
    return piece.head


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2] == "limited"))
