"""Events of SL 651 (6.6.4.6): a change by a step is reported at once, and once."""

from pathlib import Path

from msgspec.structs import replace

from gateway_agent.uplink.sl651.config import Sl651Uplink, StationElement, StationOfDevice
from hil.platform.sl651_centre import Sl651Centre
from protocols.uplink import ProfileTemplate, Record, Stamp
from tests.unit.gateway_agent.store_help import WALL_MS

from .export_world import DEVICE, exporting, until, writer
from .test_sl651 import RunningClock, a_centre

LEVEL = "3923"  # in m, eight digits, three of them decimals


def level(number: int, millimetres: int | str, ago_s: int = 0) -> Record:
    stamp = Stamp(number, number + 1, WALL_MS + 1000 * (number - ago_s), 5, 3)
    return ProfileTemplate(DEVICE.id, [("level", "mm", 0)]).record([millimetres], stamp)


def uplink(centre: Sl651Centre) -> Sl651Uplink:
    elements = (StationElement(code="39", point="level", event_step=0.05),)
    station = StationOfDevice(device="hall", address="0012345678", element=elements)
    return Sl651Uplink(
        host="127.0.0.1", port=centre.port, report_min=60, latency_ms=0, station=(station,)
    )


def events(centre: Sl651Centre) -> list[str]:
    """Return the levels of the event reports, as their digits."""
    bodies = [heard.body.hex() for heard in centre.heard if heard.function == 0x33]
    return [body.rpartition(LEVEL)[2] for body in bodies]


async def test_a_change_by_a_step_is_reported_at_once(tmp_path: Path) -> None:
    clock = RunningClock()
    async with (
        a_centre() as centre,
        writer(tmp_path, clock) as outbox,
        exporting(outbox, tmp_path, uplink(centre), clock=clock) as exporters,
    ):
        await until(lambda: exporters.tasks)
        # The first is compared with; 49 mm are no step, 50 are; the way back and a hole too.
        polls: list[int | str] = [1000, 1049, 1050, 1099, "no-value", 1000, 1000]
        await outbox.put([level(number, one) for number, one in enumerate(polls)], {})
        await until(lambda: len(events(centre)) == 2)
        old = level(19, 9000, ago_s=7200)  # for the reports of the periods
        await outbox.put([old, level(20, 1000), level(21, 950)], {})
        await until(lambda: len(events(centre)) == 3)
    assert events(centre) == ["00001050", "00001000", "00000950"]
    serials = [heard.serial for heard in centre.heard]
    assert len(set(serials)) == len(serials)


async def test_a_value_of_another_poll_is_no_news(tmp_path: Path) -> None:
    """Level and flow are read in polls of their own; an event has both (27 and 39)."""

    def flow(number: int) -> Record:
        stamp = Stamp(number, number + 1, WALL_MS + 1000 * number, 5, 3)
        return ProfileTemplate(DEVICE.id, [("flow", "m3/s", 0)]).record([7], stamp)

    clock = RunningClock()
    async with a_centre() as centre, writer(tmp_path, clock) as outbox:
        config = uplink(centre)
        flows = StationElement(code="27", point="flow", event_step=1)
        elements = (*config.station[0].element, flows)
        config = replace(config, station=(replace(config.station[0], element=elements),))
        async with exporting(outbox, tmp_path, config, clock=clock) as exporters:
            await until(lambda: exporters.tasks)
            polls = [flow(0), level(1, 1000), flow(2), level(3, 1100), flow(4), level(5, 1100)]
            await outbox.put([*polls, flow(6), level(7, 1200)], {})
            await until(lambda: len(events(centre)) == 2)
            await until(lambda: exporters.tasks[0].feed.settled_to == 8)
    # 7 m3/s, five bytes with three decimals.
    assert events(centre) == ["00001100" + "272b0000007000", "00001200" + "272b0000007000"]
