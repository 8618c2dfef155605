"""Run by test_outbox_writer.py inside a file system of 8 MiB: ``full_disk_child.py DIRECTORY``.

Prints ``good`` at the end.
"""

import asyncio
import os
import sys
from pathlib import Path

from gateway_agent.counters import Counters
from gateway_agent.store.reserve import RESERVE_BYTES
from gateway_agent.store.writer import OutboxWriter
from tests.unit.gateway_agent.store_help import (
    StillClock,
    contents,
    gaps,
    numbers,
    open_box,
    records,
)


def fill_up(path: Path) -> None:
    """Take what is left of the file system, to the last byte."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    size = 1 << 20
    while size:
        try:
            os.write(descriptor, bytes(size))
        except OSError:
            size //= 2
    os.close(descriptor)


async def main(root: Path) -> None:
    """Fill up, see the pollers held back, deliver, make room, see everything again."""
    clock, counters = StillClock(), Counters()
    state = root / "state"
    box = open_box(state, clock, counters)
    writer = OutboxWriter(box)
    writer.start()
    last = 0
    delivered: list[bytes] = []

    async def poll() -> None:
        nonlocal last
        while True:
            await writer.put(records(last + 1, 20), {})
            last += 20

    async def until(condition: "object") -> None:
        assert callable(condition)
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.005)

    polling = asyncio.create_task(poll())
    await until(lambda: last >= 1000)
    assert (state / "outbox.reserve").stat().st_size == RESERVE_BYTES
    fill_up(root / "ballast")
    await until(lambda: writer.full_reason)
    held = last
    assert "disk is full" in writer.full_reason, writer.full_reason

    # A receipt must get through although there is no room: the reserve is for that.
    piece = await writer.slice(0, 200, 1 << 20)
    assert piece is not None
    delivered += [record.data for record in piece.records]
    pruned = await writer.release(piece.stream, piece.last, piece.head)
    assert pruned.records == 200, pruned

    await until(lambda: not writer.full_reason or last == held)
    (root / "ballast").unlink()
    await until(lambda: last > held + 100)
    assert not writer.full_reason
    assert counters.store_full >= 1
    clock.now += 60_000
    await until((state / "outbox.reserve").exists)
    polling.cancel()
    await asyncio.gather(polling, return_exceptions=True)
    await writer.close()

    box = open_box(state)
    pieces = delivered + contents(box, 500)
    found = numbers(pieces)
    assert found == list(range(1, len(found) + 1)), found[:20]
    assert len(found) >= last
    assert ("outbox_full", None, None) in gaps(pieces)
    box.close()
    print("good")  # noqa: T201 # what the test reads


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
