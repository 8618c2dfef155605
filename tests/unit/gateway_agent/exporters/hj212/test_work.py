"""What an HJ 212 uplink takes up at a start: the kept file beside a configuration that changed."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from gateway_agent.commands.command import no_commands
from gateway_agent.config import load
from gateway_agent.uplink.export_context import context_of
from gateway_agent.uplink.feed import note_nothing
from gateway_agent.uplink.hj212.codes import CODES
from gateway_agent.uplink.hj212.config import Hj212Uplink
from gateway_agent.uplink.hj212.period import CodeReading
from gateway_agent.uplink.hj212.period_store import settings_text
from gateway_agent.uplink.hj212.work import Hj212Work
from protocols.export_record import DeviceInfo
from protocols.identity import node_id
from tests.unit.gateway_agent.exporters.export_world import DEVICE, KEY, context
from tests.unit.gateway_agent.store_help import WALL_MS, StillClock
from tests.unit.gateway_agent.test_agent import write_site

from .exporter_world import MN

YEAR_MS = 365 * 86_400_000
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


def test_how_often_a_reading_is_due_is_that_of_the_configuration(tmp_path: Path) -> None:
    work = started(tmp_path)
    for code in ("a05001", "a01001", "w01001"):
        work.intake.take_up(code, 4000)
    work.learn()
    stopped(work)
    slower = DEVICE._replace(period_ms=60_000, point_ms={"temperature": 300_000})
    for device in (slower, DEVICE):
        work = started(tmp_path, device)
        every = [work.aggregates.every(code) for code in ("a05001", "a01001", "w01001")]
        # Nothing measures pH any more: what was kept of it stays.
        assert every == [device.period_of("co2"), device.period_of("temperature"), 4000]
        stopped(work)


def test_points_in_groups_of_a_profile_have_their_own_periods(tmp_path: Path) -> None:
    """The shipped profile of a damper reads its settings each hour, whatever else it is asked."""
    path = write_site(tmp_path, 1)
    path.write_text(path.read_text().replace("probe.toml", "belimo-vav-compact"))
    of = context_of(load(path), StillClock(), KEY, note_nothing, no_commands)
    (device,) = of.devices.values()
    assert (device.period_of("position"), device.period_of("setpoint")) == (10, 10)
    assert device.period_of("setpoint_source") == 3_600_000


def test_a_platform_reaches_only_the_devices_under_its_mn(tmp_path: Path) -> None:
    """3019 and 3021, by the codes of `points` too."""
    profile = tmp_path / "sets.toml"
    profile.write_text(
        'title = "x"\ntitle_zh = "y"\nsources = ["this test"]\n'
        '[parameters.i13021]\nsetting = "sample_period"\nunit = "s"\n'
    )
    yard, hall, lane = (
        DeviceInfo(node_id(uid * 12), name, "roof", "air", 4000)
        for uid, name in ((b"1", "yard"), (b"2", "hall"), (b"3", "lane"))
    )
    points = {"yard/noise": "LA", "hall/noise": "LA", "lane/noise": "LA"}
    work = started(tmp_path, yard, hall, lane, nodes=("hall",), points=points, profile=str(profile))
    for code in ("a34004", "LA"):
        command = work.site.command(code, "i13021", "30")
        assert command is not None
        assert command.device == hall.id
        assert work.site.information("3019", code, "") == [
            ((("PolId", code),), ((f"{code}-SN", "32" * 12),))
        ]
    assert work.site.command("w01001", "i13021", "30") is None
    work.store.close()


def reading(at_ms: int, seq: int) -> CodeReading:
    """Return a normal reading of temperature."""
    return CodeReading("a01001", at_ms, Decimal(20), "N", 1, seq)


def test_a_clock_that_was_a_year_ahead_leaves_no_periods_to_come(tmp_path: Path) -> None:
    work = started(tmp_path)
    start = NEXT_HOUR_MS
    work.aggregates.learn(CODES["a01001"], 4000)
    work.aggregates.add(reading(start + 1, 1))
    for ahead in range(1, 4):  # a few of what a year would close
        work.aggregates.close(start + ahead * 86_400_000)
        work.commit(start)
    assert len(list(work.store.between("2051", start + 1, start + YEAR_MS))) > 400
    assert work.aggregates.undo_ahead(start + 2)
    work.commit(start + 2)
    assert not work.aggregates.undo_ahead(start + 2)
    assert list(work.store.between("2051", start, start + YEAR_MS)) == []
    assert list(work.aggregates.unsent()) == []
    work.aggregates.add(reading(start + 4001, 2))
    work.aggregates.close(start + 600_000)
    (minute,) = work.aggregates.unsent()
    assert (minute.start_ms, minute.revision, minute.cells["a01001"].flags) == (start, 1, {"N": 2})
    work.store.close()


def test_a_first_reading_that_is_dated_ahead_does_not_close_those_of_now(tmp_path: Path) -> None:
    work = started(tmp_path)
    work.aggregates.learn(CODES["a01001"], 4000)
    work.aggregates.add(reading(NEXT_HOUR_MS + YEAR_MS, 1))
    assert work.aggregates.undo_ahead(NEXT_HOUR_MS)
    for second in range(0, 20, 4):
        work.aggregates.add(reading(NEXT_HOUR_MS + second * 1000, second))
    assert {period.revision for period in work.aggregates.periods.values()} == {0}
    work.store.close()
