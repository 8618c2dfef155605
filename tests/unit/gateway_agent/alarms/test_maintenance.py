"""Work on a device is known to the field until it ends, whatever a reload does to the device."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from gateway_agent.alarms.desk import AlarmDesk, WatchedOutbox
from gateway_agent.alarms.socket import AlarmOrder
from gateway_agent.alarms.work import FILE_NAME
from gateway_agent.config import load
from gateway_agent.field.maintenance import Maintenance
from gateway_agent.status import DeviceStatus
from protocols.uplink import Action
from tests.unit.gateway_agent.slave import until
from tests.unit.gateway_agent.store_help import StillClock
from tests.unit.gateway_agent.test_agent import write_site


class TwoDevices:
    """A field of devices by name, each with who works on it."""

    def __init__(self) -> None:
        self.work: dict[str, Maintenance | None] = {"basin": None, "weir": None}
        self.noted: list[tuple[str, str, str]] = []
        self.news = asyncio.Event()

    def status(self, now_ms: int, names: Collection[str]) -> list[DeviceStatus]:
        return []

    def note(
        self, device_id: str, action: Action, committed: Callable[[], None] | None = None
    ) -> None:
        self.noted.append((device_id, action.name, action.operator))

    def maintain(self, name: str, work: Maintenance | None) -> str | None:
        if name not in self.work:
            return None
        self.work[name] = work
        return f"gw-1.{name}"

    def busy_s(self) -> Mapping[str, float]:
        return {}


class EmptyOutbox:
    depth = file_bytes = 0
    max_bytes = 1


def no_outbox() -> WatchedOutbox:
    return EmptyOutbox()


def test_work_on_a_device_outlasts_a_reload_and_ends_with_its_device(tmp_path: Path) -> None:
    config, field = load(write_site(tmp_path, 1)), TwoDevices()
    desk = AlarmDesk(config, StillClock(), field, no_outbox)
    for name in ("basin", "weir"):
        assert desk.obey(AlarmOrder("maintain", name, "ann", 3_600_000)) == 1
    field.work = {"basin": None}  # a reload made a new reader of one, and removed the other
    field.noted = []
    desk.change(config)
    kept = field.work["basin"]
    assert kept is not None
    assert kept.by == "ann"
    assert field.noted == [("gw-1.weir", "maintenance-over", "")]
    assert [item.about for item in desk.summary()] == ["basin"]
    assert desk.obey(AlarmOrder("maintain", "basin", "bob", 0)) == 1
    assert field.work == {"basin": None}
    assert field.noted[1:] == [("gw-1.basin", "maintenance-over", "bob")]


async def test_work_on_a_device_outlasts_a_restart_for_the_time_that_is_left(
    tmp_path: Path,
) -> None:
    config, clock = load(write_site(tmp_path, 1)), StillClock()
    config.gateway.state_dir.mkdir()
    for _ in range(3):  # an hour in all, of which each agent runs 20 minutes
        field = TwoDevices()
        desk = AlarmDesk(config, clock, field, no_outbox)
        run = asyncio.create_task(desk.run())
        if clock.now == 1000:
            for name in ("basin", "weir"):
                desk.obey(AlarmOrder("maintain", name, "ann", 3_600_000))
            await until((config.gateway.state_dir / FILE_NAME).exists)
            field.noted = []
        await asyncio.sleep(0)
        assert field.noted == []
        assert [name for name, work in field.work.items() if work] == ["basin", "weir"]
        clock.now += 1_200_000
        run.cancel()
        await asyncio.wait({run})
    field = TwoDevices()
    del field.work["weir"]  # removed while the agent was down
    AlarmDesk(config, clock, field, no_outbox).look()
    assert field.noted == [
        ("gw-1.weir", "maintenance-over", ""),
        ("gw-1.basin", "maintenance-over", ""),
    ]
