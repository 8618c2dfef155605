"""The smallest outbox that the configuration takes: full, emptied by receipts, and in use again."""

import asyncio
from pathlib import Path

from gateway_agent.counters import Counters
from gateway_agent.field.commit_queue import CommitQueue, waiting_bytes
from gateway_agent.store.writer import OutboxWriter

from .store_help import StillClock, contents, numbers, open_box, record

SMALLEST = 1 << 20
POINTS = 120
LIMIT_S = 30.0


async def test_what_waits_for_a_full_outbox_fits_when_it_is_empty(tmp_path: Path) -> None:
    writer = OutboxWriter(open_box(tmp_path, StillClock(), Counters(), SMALLEST))
    writer.start()
    queue = CommitQueue(writer, 0, waiting_bytes(SMALLEST))
    committing = asyncio.create_task(queue.run())
    polled = 0
    taken: list[int] = []
    async with asyncio.timeout(LIMIT_S):
        for _ in range(2):
            # The pollers of a site without its broker, until each of them waits.
            while not (queue.full and writer.full_reason):
                if not queue.full:
                    polled += 1
                    queue.add([record(polled, POINTS)], "d", None)
                await asyncio.sleep(0)
            # The broker is back: receipts for everything there is, until all that waited is in.
            while writer.full_reason or queue.waiting or writer.stats.depth:
                piece = await writer.slice(writer.stats.receipted_to, 100, 1 << 20)
                if piece is not None:
                    taken += numbers([taking.data for taking in piece.records])
                    await writer.release(piece.stream, piece.last, piece.head)
                await asyncio.sleep(0.001)
    committing.cancel()
    await asyncio.gather(committing, return_exceptions=True)
    await writer.close()
    box = open_box(tmp_path, max_bytes=SMALLEST)
    taken += numbers(contents(box, 100))
    box.close()
    assert taken == list(range(1, polled + 1))
