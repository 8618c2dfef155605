"""A node that erases or starts for an update is not asked, and what that costs is a named gap."""

from pathlib import Path

from gateway_agent.field.master import Master
from tests.unit.gateway_agent import test_poller as poller
from tests.unit.gateway_agent.slave import until


class Away:
    """Something that uses the pauses of the bus, and may have the node left alone."""

    def __init__(self) -> None:
        self.is_away = False
        self.left_alone = 0
        self.samples = 0
        self.pauses: list[int] = []

    async def step(self, master: Master, free_ms: int) -> int:
        self.pauses.append(free_ms)
        return 1000

    def away(self, device_id: str, now_ms: int) -> str:
        if not self.is_away or device_id != poller.NODE:
            return ""
        self.left_alone += 1
        return "the node is erasing for an update"

    def polled(self, device_id: str) -> None:
        self.samples += device_id == poller.NODE


async def test_a_node_that_erases_is_not_asked_and_its_gap_has_the_cause(tmp_path: Path) -> None:
    away = Away()

    async def test(bench: poller.Bench) -> None:
        bench.field.use_spare_time({"line": away})
        await until(lambda: bench.sink.seqs() == [1])
        await poller.samples(bench, 2)
        away.is_away = True
        await until(lambda: away.left_alone >= 3)
        bench.line.dead = {1}  # if it were asked now, the gap would have another cause
        others = len(bench.sink.of(poller.OTHER))
        await until(lambda: away.left_alone >= 8 and len(bench.sink.of(poller.OTHER)) > others)
        bench.line.seq = 7
        bench.line.dead = set()
        away.is_away = False
        await until(lambda: 7 in bench.sink.seqs())

    bench = await poller.run(tmp_path, test)
    assert bench.sink.seqs() == [1, 2, 3, 7]
    (gap,) = bench.sink.gaps(poller.NODE)
    assert (gap.cause, gap.first, gap.last) == ("node_update", 4, 6)
    assert "the node is erasing for an update" in gap.detail
    assert gap.slots is not None
    assert gap.slots >= 8
    assert away.samples >= 3, "each sample with a good tag is noted"
    assert away.pauses
    assert min(away.pauses) > 0
    assert bench.field.slots_unaccounted() == 0
    assert not bench.counters.poll_errors
