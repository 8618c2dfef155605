"""Records that come again under other numbers, after a repair of the outbox, are counted once."""

from pathlib import Path

from gateway_agent.uplink.hj212.held import MAX_BOOTS, HeldRecords
from gateway_agent.uplink.hj212.period_store import PeriodStore
from hil.platform.hj212_platform import Hj212Faults, Hj212Platform
from protocols.export_record import ExportRecord, export_record
from protocols.uplink import decode_record
from tests.unit.gateway_agent.exporters.export_world import DEVICE, sample, until
from tests.unit.gateway_agent.store_help import WALL_MS

from .exporter_world import MovingClock, config, fast_profile, put, running

MINUTE_MS = WALL_MS + 40_000  # 16:54:00 in Beijing


def record(resp_ms: int, boot: int) -> ExportRecord:
    """Return a record that the hall answered at this time of a boot."""
    decoded = decode_record(sample(resp_ms - 1).data)
    return export_record(1, decoded, (WALL_MS, 5), DEVICE, bytes([boot]) * 16)


def test_a_record_is_known_by_its_boot_and_its_time() -> None:
    held = HeldRecords({})
    for resp_ms, boot in ((500, 1), (40, 2), (30, 2)):
        assert not held.has(7, record(resp_ms, boot))
        held.count(7, record(resp_ms, boot))
    held = HeldRecords(held.rows())
    known = {
        (boot, ms): held.has(8, record(ms, boot)) for boot in (1, 2, 3) for ms in (39, 41, 900)
    }
    assert [at for at, is_known in known.items() if is_known] == [
        (1, 39), (1, 41), (1, 900), (2, 39),
    ]  # fmt: skip
    assert not held.has(7, record(39, 2))  # of its own stream it is told by its number
    held.count(8, record(41, 2))
    assert not held.has(8, record(35, 2))


def test_the_boots_are_bounded() -> None:
    held = HeldRecords({})
    for boot in range(MAX_BOOTS + 1):
        held.count(7, record(5, boot))
    assert not held.has(8, record(5, 0))
    assert held.has(8, record(5, 1))
    assert held.rows()["boots"].count(",") == MAX_BOOTS - 1


async def test_minutes_have_each_reading_once_after_a_repair(
    tmp_path: Path, platform: Hj212Platform
) -> None:
    """One minute waits for its answer, the next is open; then the outbox begins a new stream."""
    clock = MovingClock()
    uplink = config(platform, profile=str(fast_profile(tmp_path)))
    platform.faults = Hj212Faults(mute=True)
    async with running(tmp_path, uplink, clock) as (outbox, _):
        await put(outbox, clock, 40, 128)
        await until(lambda: any(item.cn == "2051" for item in platform.heard))
        await outbox.new_stream("operator", "a test")
    platform.faults = Hj212Faults()
    async with running(tmp_path, uplink, clock) as (outbox, tasks):
        await put(outbox, clock, 128, 164)
        await until(lambda: len(platform.periods("2051")) == 2)
        await until(lambda: not tasks.tasks[0].feed.behind)
    store = PeriodStore(tmp_path / "hj212-hj212.db")
    periods = list(store.between("2051", MINUTE_MS, MINUTE_MS + 60_000))
    store.close()
    assert [period.cells["a05001"].flags for period in periods] == [{"N": 15}, {"N": 15}]
    assert set(platform.periods("2051").values()) == {1}
