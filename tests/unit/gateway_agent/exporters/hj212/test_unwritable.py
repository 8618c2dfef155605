"""A value or a period that HJ 212 has no way to write is named, and stops nothing else."""

from decimal import Decimal
from pathlib import Path

import pytest

from gateway_agent.uplink.gap_book import GapBook
from gateway_agent.uplink.hj212.codes import WIDEST, written
from gateway_agent.uplink.hj212.intake import Hj212Intake
from gateway_agent.uplink.hj212.period import AggregatePeriod, PeriodCell
from gateway_agent.uplink.hj212.period_store import PeriodStore
from gateway_agent.uplink.hj212.profile import load_hj212_profile
from gateway_agent.uplink.trace_log import find_message
from hil.platform.hj212_platform import Hj212Platform
from protocols.export_record import ExportPoint, ExportRecord, export_record
from protocols.uplink import decode_record
from tests.unit.gateway_agent.exporters.export_world import DEVICE, sample, until
from tests.unit.gateway_agent.store_help import WALL_MS

from .exporter_world import MovingClock, config, cps, put, running

MINUTE_MS = WALL_MS + 40_000  # 16:54:00 in Beijing


def record_of(value: float) -> ExportRecord:
    """Return a poll whose temperature is this."""
    record = export_record(1, decode_record(sample(0).data), (WALL_MS, 5), DEVICE)
    return record._replace(points=(ExportPoint("temperature", "Cel", value, ""),))


@pytest.mark.parametrize(
    ("value", "flag"),
    [(3.4e38, "T"), (-3.4e38, "T"), (1.1e12, "T"), (float("inf"), "T"), (21, "N")],
)
def test_a_number_of_no_sensor_has_a_flag_and_no_value(value: float, flag: str) -> None:
    """3.4e38: a float32 with its words in the wrong order, of a profile without bounds."""
    devices = {DEVICE.id: DEVICE}
    points = {"hall/temperature": "a01001"}
    intake = Hj212Intake(load_hj212_profile("hj212-2017"), devices, (), points, GapBook())
    (reading,) = intake.readings(7, record_of(value))
    assert reading.flag == flag
    assert (reading.value is None) == (flag == "T")


def test_the_largest_total_of_a_day_can_be_written() -> None:
    """The widest load at the widest flow, each in its unit: 1e24 mg/s for a day are 8.64e22 kg."""
    carried = WIDEST * WIDEST
    assert written(carried * 86_400 / 1_000_000, 3) == "86400000000000000000000.000"


async def test_a_period_that_cannot_be_written_is_named_and_the_next_is_sent(
    tmp_path: Path, platform: Hj212Platform
) -> None:
    """It is in the file of an older version, which kept values of any size."""
    cell = PeriodCell()
    cell.add(Decimal("1e300"), "N", None)
    poisoned = AggregatePeriod(
        "2051", MINUTE_MS, MINUTE_MS + 60_000, {"a01001": cell}, [[7, 1, 1]], is_closed=True
    )
    store = PeriodStore(tmp_path / "hj212-hj212.db")
    store.commit([poisoned], {"code/a01001": "4000"}, MINUTE_MS)
    store.close()
    clock = MovingClock()
    platform.asks = [("2051", "BeginTime=20251009165400;EndTime=20251009165400")]
    async with running(tmp_path, config(platform), clock) as (outbox, tasks):
        await put(outbox, clock, 100, 164)
        await until(lambda: cps(platform, "2051"))
        await until(lambda: any(item.cn == "9012" for item in platform.heard))
        (gap,) = tasks.tasks[0].feed.status.gaps
        (trace,) = find_message(tmp_path, "hj212", "2051 20251009165400", 9)
    assert (gap.kind, gap.count, gap.cause) == ("2051", 1, "unwritable")
    assert (gap.first_ms, gap.last_ms) == (MINUTE_MS, MINUTE_MS + 60_000)
    assert trace.text == "1 of CN=2051 to 20251009165400, cannot be written"
    assert cps(platform, "2051")[0].startswith("DataTime=20251009165500;")
    assert [item.cp for item in platform.heard if item.cn == "9012"] == ["ExeRtn=100"]
