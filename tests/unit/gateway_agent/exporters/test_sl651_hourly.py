"""Hourly reports of SL 651 (6.6.4.7): the series by hand, once for each hour, also after a stop."""

from pathlib import Path

import pytest

from gateway_agent.config import load
from gateway_agent.tables import ConfigError
from gateway_agent.uplink.sl651.config import Sl651Uplink, StationElement, StationOfDevice
from gateway_agent.uplink.sl651.hourly import HOURLY
from gateway_agent.uplink.station_connection import StationConnection
from hil.platform.sl651_centre import Sl651Centre
from protocols.uplink import ProfileTemplate, Record, Stamp
from tests.unit.gateway_agent.store_help import WALL_MS
from tests.unit.gateway_agent.test_agent import write_site

from .export_world import DEVICE, exporting, until, writer
from .test_sl651 import TABLE, RunningClock, a_centre

ADDRESS = "0012345678"
START = f"f1f1{ADDRESS}48"  # class H
HOUR = 400  # seconds from WALL_MS, 16:53:20 in Beijing, to 17:00:00


def level(minute: int, millimetres: int | str) -> Record:
    """A poll 10 s before a minute after 17:00 in Beijing; the level is in mm."""
    number = HOUR + 60 * minute - 10
    stamp = Stamp(number, number + 1, WALL_MS + 1000 * number, 5, 3)
    return ProfileTemplate(DEVICE.id, [("level", "mm", 0)]).record([millimetres], stamp)


def uplink(centre: Sl651Centre) -> Sl651Uplink:
    station = StationOfDevice(
        device="hall",
        address=ADDRESS,
        element=(StationElement(code="39", point="level"),),
        hourly=True,
    )
    return Sl651Uplink(
        host="127.0.0.1", port=centre.port, report_min=5, latency_ms=0, station=(station,)
    )


def hours(centre: Sl651Centre) -> list[str]:
    """Return the bodies of the hourly reports behind address and class."""
    bodies = [heard.body.hex() for heard in centre.heard if heard.function == 0x34]
    return [body.removeprefix(START) for body in bodies]


async def test_an_hour_is_reported_once(tmp_path: Path) -> None:
    """17:05 to 18:00: 1.25 m, a minus and a hole as FFFF; the level at 18:00 beside them."""
    clock = RunningClock()
    async with a_centre() as centre, writer(tmp_path, clock) as outbox:
        async with exporting(outbox, tmp_path, uplink(centre), clock=clock) as exporters:
            await until(lambda: exporters.tasks)
            polls = [level(5, 1250), level(10, 1255), level(15, -30), level(25, "no-value")]
            await outbox.put([*polls, level(30, 655_340), level(35, 655_350)], {})
            await until(lambda: sum(heard.function == 0x32 for heard in centre.heard) == 5)
        # The next hour's first report completes this one, on another run of the gateway.
        async with exporting(outbox, tmp_path, uplink(centre), clock=clock) as exporters:
            await until(lambda: exporters.tasks)
            await outbox.put([level(60, 990), level(65, 1000)], {})
            await until(lambda: hours(centre))
        async with exporting(outbox, tmp_path, uplink(centre), clock=clock) as exporters:
            await until(lambda: exporters.tasks)
            await outbox.put([level(70, 1000), level(75, 1000)], {})
            await until(lambda: exporters.tasks[0].feed.delivered_to >= 9)
    # Half a centimetre is rounded to the even one: 1.255 m is 126.
    cm = ["007d", "007e", "ffff", "ffff", "ffff", "fffe", "ffff", *["ffff"] * 4, "0063"]
    series = "f0f02510091705" + "f5c0" + "".join(cm)
    assert hours(centre) == [series + "f0f02510091800" + "392300000990"]


async def test_an_hour_whose_report_failed_goes_however_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line breaks at the report of 18:00, and the device is silent until 21:00."""
    clock = RunningClock()
    report = StationConnection.report
    failed: list[int] = []

    async def breaks(self: StationConnection, function: int, body: bytes, serial: int) -> None:
        if function == HOURLY and not failed:
            failed.append(serial)
            raise OSError("the line broke")
        await report(self, function, body, serial)

    monkeypatch.setattr(StationConnection, "report", breaks)
    async with (
        a_centre() as centre,
        writer(tmp_path, clock) as outbox,
        exporting(outbox, tmp_path, uplink(centre), clock=clock) as exporters,
    ):
        await until(lambda: exporters.tasks)
        await outbox.put([level(60, 990), level(65, 1000)], {})
        await until(lambda: failed)
        await outbox.put([level(240, 990), level(245, 1000)], {})
        await until(lambda: len(hours(centre)) >= 3)
        await until(lambda: exporters.tasks[0].feed.delivered_to >= 3)
    # Of each hour the series begins at five past: 18:00, then 19:00 with 18:05, then 21:00.
    assert [hour[4:14] for hour in hours(centre)] == ["2510091705", "2510091805", "2510092005"]


@pytest.mark.parametrize(
    ("code", "minutes", "expected"),
    [
        ("03", 5, "expected an element of an hour, got true; one of 22 rain of 5 minutes"),
        ("39", 10, "expected a report each 5 minutes, got true; report_min = 1 or 5"),
    ],
)
def test_an_hour_needs_its_values(tmp_path: Path, code: str, minutes: int, expected: str) -> None:
    path = write_site(tmp_path, 1)
    table = TABLE.format(letter="H", code=code, more="")
    table = table.replace("port = 7651", f"port = 7651\nreport_min = {minutes}")
    table = table.replace('class = "H"', 'class = "H"\nhourly = true')
    path.write_text(path.read_text().replace("[uplink]", "[[uplink]]", 1) + table)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert expected in str(caught.value)
