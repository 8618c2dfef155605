"""A bus is stopped while it polls: what it has read so far is in no record."""

import asyncio
from pathlib import Path

from protocols.wire.registers import EVENT_WORDS

from .slave import Reply, until
from .test_poller import NODE, Bench, run


async def test_a_poll_that_is_stopped_in_the_middle_moves_no_mark(tmp_path: Path) -> None:
    """Else the next start goes on behind a sample that is in no record, and names no gap."""
    asked = asyncio.Event()

    async def test(bench: Bench) -> None:
        loop = asyncio.get_running_loop()

        def hold_events(reply: bytes) -> list[Reply]:
            bench.line.spoil.append(hold_events)
            if reply[2] != 2 * EVENT_WORDS:
                return [(0, reply)]
            loop.call_soon_threadsafe(asked.set)
            return []

        await until(lambda: bench.sink.seqs() == [1])
        bench.line.spoil.append(hold_events)
        bench.line.events = 1
        bench.line.seq = 2
        await asked.wait()

    bench = await run(tmp_path, test, devices="node")
    assert bench.sink.marks[NODE].sample_seq == max(bench.sink.seqs())
