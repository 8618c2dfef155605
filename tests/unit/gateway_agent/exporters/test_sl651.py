"""Reports to a centre of SL 651 that loses, refuses, damages and closes, counted at the centre."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway_agent.config import load
from gateway_agent.store.writer import OutboxWriter
from gateway_agent.tables import ConfigError
from gateway_agent.uplink.sl651.config import Sl651Uplink, StationElement, StationOfDevice
from gateway_agent.uplink.trace_log import find_seq
from hil.platform.sl651_centre import CentreFaults, Sl651Centre
from protocols.uplink import ProfileTemplate, Stamp
from tests.unit.gateway_agent.store_help import GATEWAY, WALL_MS, StillClock
from tests.unit.gateway_agent.test_agent import write_site

from .export_world import POINTS, exporting, hole, sample, until, writer

# Samples begin at 2025-10-09T08:53:20Z, which is 16:53:20 in Beijing.
EVERY_S = 20


class RunningClock(StillClock):
    """Its boot clock runs, for what waits for an answer; its wall clock does not."""

    def boot_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000


def uplink(port: int, answer_ms: int = 5000) -> Sl651Uplink:
    element = StationElement(code="02", point="temperature")
    station = StationOfDevice(device="hall", address="0012345678", element=(element,))
    return Sl651Uplink(
        host="127.0.0.1",
        port=port,
        report_min=1,
        answer_ms=answer_ms,
        latency_ms=0,
        station=(station,),
    )


@asynccontextmanager
async def a_centre(faults: CentreFaults | None = None) -> AsyncIterator[Sl651Centre]:
    centre = Sl651Centre(faults=faults or CentreFaults())
    await centre.start()
    try:
        yield centre
    finally:
        await centre.stop()


def observed(centre: Sl651Centre) -> list[str]:
    """Return minute and group of each report: YYMMDDHHMM, then the bytes of the element."""
    return [heard.body[10:15].hex() + " " + heard.body[15:].hex() for heard in centre.heard]


async def test_each_minute_is_reported_with_its_last_sample(tmp_path: Path) -> None:
    clock = RunningClock()
    async with (
        a_centre() as centre,
        writer(tmp_path, clock) as outbox,
        exporting(outbox, tmp_path, uplink(centre.port), clock=clock) as exporters,
    ):
        await outbox.put([sample(0), sample(20), hole(30), sample(45, failed=True)], {})
        await outbox.put([sample(100), sample(101)], {})
        await until(lambda: len(centre.heard) == 2)
        # 20 s: 2.0 degrees; at 45 s the next minute has begun, without a value, and is over at 100.
        assert observed(centre) == ["2510091654 02110020", "2510091655 0211ffff"]
        assert [heard.function for heard in centre.heard] == [0x32, 0x32]
        (station,) = {heard.station for heard in centre.heard}
        assert station == "0012345678"
        # The samples of the minute that is open wait for its end; nothing is behind for long.
        await until(lambda: exporters.tasks[0].feed.delivered_to == 4)
        async with asyncio.timeout(5):
            await exporters.drain()
        assert clock.wall_ms is not None
        clock.wall_ms += 300_000
        await until(lambda: len(centre.heard) == 3)
        assert observed(centre)[2] == "2510091656 02110101"
        await until(lambda: exporters.tasks[0].feed.behind == 0)
        (found,) = find_seq(tmp_path, 2, None, 10)
        assert (found.message, found.ack) == ("0012345678 3", "confirmed")


async def test_whatever_the_centre_does_each_minute_arrives(tmp_path: Path) -> None:
    faults = CentreFaults(
        lose_every=4, refuse_every=5, damage_every=7, close_every=9, noise=b"\x7e\x00~~\x05"
    )
    clock = RunningClock()
    minutes = 30
    async with (
        a_centre(faults) as centre,
        writer(tmp_path, clock) as outbox,
        exporting(outbox, tmp_path, uplink(centre.port, 100), clock=clock) as exporters,
    ):
        for first in range(0, minutes * 3, 9):
            await outbox.put([sample(EVERY_S * n) for n in range(first, first + 9)], {})
        await outbox.put([sample(EVERY_S * minutes * 3 + 60)], {})
        await until(lambda: len(set(observed(centre))) == minutes + 1)
        feed = exporters.tasks[0].feed
        await until(lambda: feed.behind == 1)
        assert feed.status.rejected, "damaged answers are counted"
    # One report for each minute from 16:54 on; what came twice has the same number and content.
    found = Counter(observed(centre))
    assert [key[6:10] for key in found] == [
        f"{16 + (53 + n) // 60:02}{(53 + n) % 60:02}" for n in range(1, minutes + 2)
    ]
    by_serial = {heard.serial: heard.body[10:] for heard in centre.heard}
    assert all(by_serial[heard.serial] == heard.body[10:] for heard in centre.heard)
    assert len(by_serial) == minutes + 1


async def test_a_restart_between_report_and_confirmation_sends_it_again(tmp_path: Path) -> None:
    clock = RunningClock()
    async with (
        a_centre(CentreFaults(late_s=60)) as centre,
        writer(tmp_path, clock) as outbox,
    ):
        await outbox.put([sample(0), sample(60), sample(120)], {})
        async with exporting(outbox, tmp_path, uplink(centre.port), clock=clock):
            await until(lambda: len(centre.heard) == 1)
        centre.faults = CentreFaults()
        async with exporting(outbox, tmp_path, uplink(centre.port), clock=clock) as exporters:
            await until(lambda: len(centre.heard) == 3)
            await until(lambda: exporters.tasks[0].feed.behind == 1)
    assert observed(centre) == [
        "2510091654 02110000",
        "2510091654 02110000",
        "2510091655 02110060",
    ]
    assert centre.heard[0].serial == centre.heard[1].serial


async def test_a_clock_that_was_ahead_costs_the_period_that_it_dated(tmp_path: Path) -> None:
    """A sample 30 days ahead, then the clock is right: the minutes are reported, it is named."""
    clock = RunningClock()
    async with (
        a_centre() as centre,
        writer(tmp_path, clock) as outbox,
        exporting(outbox, tmp_path, uplink(centre.port), clock=clock) as exporters,
    ):
        await outbox.put([sample(30 * 86_400), sample(0), sample(60), sample(120)], {})
        await until(lambda: len(centre.heard) == 2)
        assert observed(centre) == ["2510091654 02110000", "2510091655 02110060"]
        await until(lambda: exporters.tasks[0].feed.delivered_to == 3)
        (found,) = find_seq(tmp_path, 1, None, 10)
    assert (found.message, found.ack) == ("hall", "given up")
    assert found.text == "the period of hall at 2025-11-08T08:53Z is ahead of the clock"


async def test_a_silent_station_reports_while_other_devices_are_busy(tmp_path: Path) -> None:
    """Records that never pause, of a device that is no station, hold up no report."""
    clock = RunningClock()
    other = ProfileTemplate(f"{GATEWAY}.other", POINTS)

    async def busy(outbox: OutboxWriter) -> None:
        for number in range(10_000):
            stamp = Stamp(number, number + 1, clock.wall_ms, 5, 3)
            await outbox.put([other.record([number, number], stamp)], {})

    async with (
        a_centre() as centre,
        writer(tmp_path, clock) as outbox,
        exporting(outbox, tmp_path, uplink(centre.port), clock=clock) as exporters,
    ):
        await outbox.put([sample(0)], {})
        clock.wall_ms = WALL_MS + 300_000
        task = asyncio.create_task(busy(outbox))
        try:
            await until(lambda: len(centre.heard) == 1, 5)
            assert not task.done()
            await until(lambda: exporters.tasks[0].feed.delivered_to > 1, 5)
        finally:
            task.cancel()
    assert observed(centre) == ["2510091654 02110000"]


TABLE = """
[[uplink]]
type = "sl651"
host = "127.0.0.1"
port = 7651
[[uplink.station]]
device = "basin"
address = "0012345678"
class = "{letter}"
[[uplink.station.element]]
code = "{code}"
point = "level"
{more}
"""


@pytest.mark.parametrize(
    ("letter", "code", "more", "expected"),
    [
        ("X", "39", "", 'uplink[1].station[0].class: expected a class, got "X"; one of P rain'),
        ("H", "F4", "", "station[0].element[0].code: expected an element that is a number"),
        (
            "H",
            "38",
            "datum_m = 5.0",
            "element[0].datum_m: expected a level in m, got 5.0; remove it: supply is in V",
        ),
        ("H", "39", 'unit = "V"', "element[0].unit: expected a unit that becomes m, got"),
        ("H", "3", "", "two hexadecimal digits"),
    ],
)
def test_a_table_that_cannot_be_is_refused(
    tmp_path: Path, letter: str, code: str, more: str, expected: str
) -> None:
    path = write_site(tmp_path, 1)
    table = TABLE.format(letter=letter, code=code, more=more)
    path.write_text(path.read_text().replace("[uplink]", "[[uplink]]", 1) + table)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert expected in str(caught.value)
