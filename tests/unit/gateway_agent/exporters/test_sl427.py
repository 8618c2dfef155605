"""Self-reports to a centre of SL 427 that loses, damages and closes, counted at the centre."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway_agent.config import load
from gateway_agent.tables import ConfigError
from gateway_agent.uplink.sl427.config import QuantityOfPoint, Sl427Device, Sl427Uplink
from gateway_agent.uplink.trace_log import find_seq
from hil.platform.sl427_centre import Sl427Centre, Sl427Faults
from protocols.uplink import Action, ProfileTemplate, Record, Stamp
from tests.unit.gateway_agent.store_help import WALL_MS
from tests.unit.gateway_agent.test_agent import write_site

from .export_world import DEVICE, exporting, until, writer
from .test_sl651 import RunningClock

ADDRESS = "5101000d00"  # county 510100, station 13
MINUTE = "00541609102500"  # 2025-10-09 16:54:00 in Beijing, no delay


def water(number: int, distance_mm: int | str = 250, speed: int | str = 75) -> Record:
    """A poll ``number`` seconds after 16:53:20 in Beijing, in mm and mm/s."""
    stamp = Stamp(number, number + 1, WALL_MS + 1000 * number, 5, 3)
    template = ProfileTemplate(DEVICE.id, [("distance", "mm", 0), ("speed", "m/s", -3)])
    return template.record([distance_mm, speed], stamp)


def uplink(centre: Sl427Centre, **changes: object) -> Sl427Uplink:
    """A level below a datum of 1 m, and a speed; a report each minute."""
    report = (
        QuantityOfPoint(quantity="level", point="distance", datum_m=1.0),
        QuantityOfPoint(quantity="speed", point="speed"),
    )
    values: dict[str, object] = {
        "host": "127.0.0.1",
        "port": centre.port,
        "report_min": 1,
        "latency_ms": 0,
        "station": (Sl427Device(device="hall", county="510100", number=13, report=report),),
    }
    return Sl427Uplink(**(values | changes))  # type: ignore[arg-type] # the table above


@asynccontextmanager
async def a_centre(faults: Sl427Faults | None = None) -> AsyncIterator[Sl427Centre]:
    centre = Sl427Centre(faults=faults or Sl427Faults())
    await centre.start()
    try:
        yield centre
    finally:
        await centre.stop()


def reports(centre: Sl427Centre) -> list[tuple[int, str]]:
    """Return control and data of each self-report."""
    return [(heard.control, heard.data.hex()) for heard in centre.reports()]


async def test_each_minute_is_reported_with_its_last_sample(tmp_path: Path) -> None:
    """Bytes by hand: levels of 0.75 m and -0.2 m, low byte first; AA where nothing was measured."""
    clock = RunningClock()
    async with (
        a_centre() as centre,
        writer(tmp_path, clock) as outbox,
        exporting(outbox, tmp_path, uplink(centre), clock=clock) as exporters,
    ):
        await until(lambda: exporters.tasks)
        await outbox.put([water(0, 100), water(20), water(45, 1200, "no-value"), water(100)], {})
        await until(lambda: len(reports(centre)) == 4)
        assert (centre.heard[0].control, centre.heard[0].data) == (0xB0, b"\xf0")  # it logs in
        assert {heard.address for heard in centre.heard} == {ADDRESS}
        bits = "4000" + "3100"  # pump off; with confirmation, pump off, door closed
        assert reports(centre) == [
            (0xB2, "50070000" + bits + MINUTE),
            (0xB4, "750000" + bits + MINUTE),
            (0xB2, "000200f0" + bits + MINUTE.replace("54", "55")),
            (0xB4, "aaaaaa" + bits + MINUTE.replace("54", "55")),
        ]
        await until(lambda: exporters.tasks[0].feed.delivered_to == 3)
        (trace,) = find_seq(tmp_path, 2, None, 9)
        assert (trace.message, trace.ack) == ("510100 13 2025-10-09T08:54Z", "confirmed")


def of_group(number: int, point: str, value: int) -> Record:
    """A poll in which one group of points was due."""
    stamp = Stamp(number, number + 1, WALL_MS + 1000 * number, 5, 3)
    unit, scale = {"distance": ("mm", 0), "speed": ("m/s", -3)}[point]
    return ProfileTemplate(DEVICE.id, [(point, unit, scale)]).record([value], stamp)


async def test_a_report_has_the_last_of_each_point_whichever_poll_read_it(tmp_path: Path) -> None:
    """The level is read once a minute, the speed three times; no meter is silent."""
    clock = RunningClock()
    async with (
        a_centre() as centre,
        writer(tmp_path, clock) as outbox,
        exporting(outbox, tmp_path, uplink(centre), clock=clock) as exporters,
    ):
        await until(lambda: exporters.tasks)
        polls = [("speed", 70), ("distance", 250), ("speed", 74), ("speed", 75)]
        minute = [of_group(5 * n, *poll) for n, poll in enumerate(polls)]
        await outbox.put([*minute, of_group(45, "speed", 80)], {})
        await until(lambda: len(reports(centre)) == 2)
        bits = "4000" + "3100"
        assert reports(centre) == [
            (0xB2, "50070000" + bits + MINUTE),
            (0xB4, "750000" + bits + MINUTE),
        ]
        await until(lambda: exporters.tasks[0].feed.delivered_to == 4)
        (trace,) = find_seq(tmp_path, 2, None, 9)
        assert trace.seqs == "2,4"
        heard = len(centre.heard)
        centre.ask(ADDRESS, 0xB0, 2)
        await until(lambda: len(centre.heard) > heard)
        assert centre.heard[-1].data.hex() == "50070000"


async def test_the_older_edition_has_a_shorter_time(tmp_path: Path) -> None:
    """SZY206-2016: second, minute, hour, day. A flow has a total, which nothing measures."""
    report = (QuantityOfPoint(quantity="flow", point="nothing"),)
    station = Sl427Device(device="hall", county="510100", number=13, report=report)
    clock = RunningClock()
    async with a_centre() as centre, writer(tmp_path, clock) as outbox:
        config = uplink(centre, station=(station,), edition="szy206-2016", confirmed=False)
        async with exporting(outbox, tmp_path, config, clock=clock) as exporters:
            await until(lambda: exporters.tasks)
            await outbox.put([water(20), water(45)], {})
            await until(lambda: reports(centre))
    # The flow meter has failed (bit 5), and nothing is confirmed (bit 0 of the state).
    assert reports(centre) == [(0xB3, "aa" * 10 + "6000" + "3000" + "0054160900")]


async def test_whatever_the_centre_does_each_minute_arrives(tmp_path: Path) -> None:
    """Lost, damaged and late answers and closed connections; each report is there, right."""
    faults = Sl427Faults(lose_every=4, damage_every=7, close_every=9)
    clock, minutes = RunningClock(), 12
    async with (
        a_centre(faults) as centre,
        writer(tmp_path, clock) as outbox,
        exporting(outbox, tmp_path, uplink(centre, answer_ms=100), clock=clock) as exporters,
    ):
        await until(lambda: exporters.tasks)
        await outbox.put([water(60 * n, n) for n in range(minutes + 1)], {})
        await until(lambda: exporters.tasks[0].feed.delivered_to == minutes)
    # Minute n of the 12 has a level of 1000 - n mm.
    found = {data[-14:]: data[:8] for control, data in reports(centre) if control == 0xB2}
    assert found == {
        f"00{(54 + n) % 60:02}{16 + (54 + n) // 60}09102500": _level(1000 - n)
        for n in range(minutes)
    }
    assert sum(control == 0xB4 for control, _ in reports(centre)) >= minutes


def _level(millimetres: int) -> str:
    digits = f"{millimetres:08}"
    return digits[6:] + digits[4:6] + digits[2:4] + digits[:2]


async def test_a_late_confirmation_is_not_the_next_reports(tmp_path: Path) -> None:
    """No number is in a confirmation: after a repeated report the connection is a new one."""
    clock = RunningClock()
    async with (
        a_centre(Sl427Faults(late_s=0.15)) as centre,
        writer(tmp_path, clock) as outbox,
        exporting(outbox, tmp_path, uplink(centre, answer_ms=100), clock=clock) as exporters,
    ):
        await until(lambda: exporters.tasks)
        await outbox.put([water(20), water(45)], {})
        await until(lambda: exporters.tasks[0].feed.delivered_to == 1)
        await until(lambda: centre.connections == 3)  # two reports were sent twice


async def test_the_centre_asks(tmp_path: Path) -> None:
    actions: list[Action] = []

    def note(device_id: str, action: Action, committed: object = None) -> None:
        actions.append(action)

    clock = RunningClock()
    async with (
        a_centre() as centre,
        writer(tmp_path, clock) as outbox,
        exporting(outbox, tmp_path, uplink(centre), clock=clock, note=note) as exporters,
    ):
        await until(lambda: exporters.tasks and centre.heard)
        centre.ask(ADDRESS, 0xB0, 2)  # nothing is measured yet: silence
        await outbox.put([water(20, 400)], {})
        await until(lambda: exporters.tasks[0].feed.settled_to == 1)
        centre.ask(ADDRESS, 0xB0, 3)  # a flow, which it has not
        centre.ask(ADDRESS, 0x11, 0, bytes(13))  # the clock is set
        centre.ask("5101000e00", 0xB0, 2)  # another station
        centre.ask(ADDRESS, 0xB0, 2)
        await until(lambda: len(centre.heard) == 2)
        answer = centre.heard[1]
        assert (answer.control, answer.function, answer.data.hex()) == (0xB2, 0xB0, "00060000")
        assert exporters.tasks[0].feed.status.rejected == 4
    (action,) = actions
    assert action.name == "command-refused"
    assert action.detail.startswith("function 11 of station 510100 13")


TABLE = """
[[uplink]]
type = "sl427"
host = "127.0.0.1"
port = 7427
[[uplink.station]]
device = "basin"
county = "{county}"
number = 13
[[uplink.station.report]]
quantity = "{quantity}"
point = "level"
{more}
"""


@pytest.mark.parametrize(
    ("county", "quantity", "more", "expected"),
    [
        ("51", "level", "", "six digits of the county"),
        ("510100", "depth", "", "quantity"),
        ("510100", "flow", "datum_m = 1.0", "report[0].datum_m: expected a level in m"),
        ("510100", "flow", 'unit = "V"', "report[0].unit: expected a unit that becomes m3/s"),
    ],
)
def test_a_table_that_cannot_be_is_refused(
    tmp_path: Path, county: str, quantity: str, more: str, expected: str
) -> None:
    path = write_site(tmp_path, 1)
    table = TABLE.format(county=county, quantity=quantity, more=more)
    path.write_text(path.read_text().replace("[uplink]", "[[uplink]]", 1) + table)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert expected in str(caught.value)
