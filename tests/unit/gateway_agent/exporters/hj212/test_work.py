"""What an HJ 212 uplink takes up at a start: the kept file beside a configuration that changed."""

from dataclasses import replace
from pathlib import Path

from gateway_agent.uplink.hj212.config import Hj212Uplink
from gateway_agent.uplink.hj212.period_store import settings_text
from gateway_agent.uplink.hj212.work import Hj212Work
from protocols.export_record import DeviceInfo
from tests.unit.gateway_agent.exporters.export_world import DEVICE, context
from tests.unit.gateway_agent.store_help import WALL_MS

from .exporter_world import MN

NEXT_HOUR_MS = WALL_MS + 400_000  # 17:00:00 in Beijing


def started(root: Path, *devices: DeviceInfo, **changes: object) -> Hj212Work:
    """Return what a start makes of the file in ``root``."""
    values: dict[str, object] = {
        "host": "127.0.0.1",
        "port": 7212,
        "mn": MN,
        "points": {"hall/co2": "a05001", "hall/temperature": "a01001"},
        "minutes": 10,
    }
    uplink = Hj212Uplink(**(values | changes))  # type: ignore[arg-type] # the table above
    return Hj212Work(uplink, context(root, devices=devices or (DEVICE,)), WALL_MS)


def stopped(work: Hj212Work) -> None:
    """Keep it and end."""
    work.commit(WALL_MS)
    work.store.close()


def test_minutes_of_the_configuration_hold_from_the_next_hour_on(tmp_path: Path) -> None:
    stopped(started(tmp_path))
    for _ in range(2):
        work = started(tmp_path, minutes=1)
        assert work.device.settings.min_interval_min == 1
        assert work.aggregates.length_at("2051", NEXT_HOUR_MS - 1) == 600_000
        assert work.aggregates.length_at("2051", NEXT_HOUR_MS) == 60_000
        stopped(work)


def test_what_the_configuration_changed_last_wins_over_what_the_platform_set(
    tmp_path: Path,
) -> None:
    work = started(tmp_path)
    said = replace(work.device.settings, pw="654321", rtd_interval_s=30)
    work.state["settings"] = settings_text(said)
    stopped(work)
    work = started(tmp_path)
    assert work.device.settings == said
    stopped(work)
    work = started(tmp_path, pw="112233")
    assert work.device.settings == replace(said, pw="112233")
    stopped(work)
    work = started(tmp_path, pw="112233")
    assert work.device.settings == replace(said, pw="112233")
    stopped(work)
