"""Indices in hour and day data: values by hand from HJ 633 table 1, GB 3838 table 1 and GB 3095."""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import pytest

from gateway_agent.uplink.hj212.aggregates import Aggregates
from gateway_agent.uplink.hj212.codes import CODES
from gateway_agent.uplink.hj212.index_items import IndexItems
from gateway_agent.uplink.hj212.period import CodeReading
from gateway_agent.uplink.hj212.profile import Hj212ProfileError, load_hj212_profile
from hil.platform.hj212_platform import Hj212Platform
from protocols.uplink.hj212 import body_text, parse_data_time
from tests.unit.gateway_agent.exporters.export_world import until

from .exporter_world import MovingClock, config, cps, put, running

HOUR_MS = 3_600_000
DAY = parse_data_time("20260801000000")
AIR = {  # one hour each, at these breakpoints: 50, 50, 50, 50, 100
    "a21026": "150",
    "a21004": "100",
    "a21005": "5",
    "a05024": "160",
    "a34002": "120",
    "a34004": "75",
}
PROFILE = """
title = "x"
title_zh = "y"
sources = ["this test"]
on_connect = []
sends = ["2061", "2031"]
[index]
edition = "{edition}"
aqi = "AQI"
primary = "FIRST"
water_class = "WQ"
[index.iaqi]
a34004 = "I25"
[index.mean_8h]
a05024 = "O8"
"""


class IndexWorld:
    """Aggregates with one reading an hour of some codes, and the items of their periods."""

    def __init__(self, root: Path, *codes: str, edition: str = "2026") -> None:
        path = root / "index.toml"
        path.write_text(PROFILE.format(edition=edition))
        profile = load_hj212_profile(str(path))
        self.aggregates = Aggregates(
            {"2061": HOUR_MS, "2031": 24 * HOUR_MS},
            [CODES[code] for code in codes],
            dict.fromkeys(codes, HOUR_MS),
        )
        self.aggregates.hour_reach = profile.index.hour_reach
        self._items = IndexItems(profile, self.aggregates)
        self._seq = 0

    def hour(self, number: int, values: Mapping[str, str]) -> None:
        """Read these values in an hour of the day."""
        for code, value in values.items():
            self._seq += 1
            at = DAY + number * HOUR_MS
            self.aggregates.add(CodeReading(code, at, Decimal(value), "N", 1, self._seq))

    def close(self, hours: int) -> None:
        """Close what ended when so many hours of the day were over."""
        self.aggregates.close(DAY + hours * HOUR_MS)

    def text(self, cn: str, number: int = 0) -> str:
        """Return the items of an hour or of the day, as they go on the wire."""
        period = self.aggregates.periods[cn, DAY + number * HOUR_MS]
        return body_text(tuple(self._items.of(period)))


def test_an_hour_has_its_index(tmp_path: Path) -> None:
    """PM2.5 of 75 is 100 + 50 x 15 / 55, rounded up: 114 (2026); 100 in the edition of 2012."""
    world = IndexWorld(tmp_path, *AIR)
    world.hour(0, AIR)
    world.close(1)
    assert world.text("2061") == (
        "AQI-Avg=114,AQI-Flag=N;FIRST-Data=a34004,FIRST-Flag=N;I25-Avg=114,I25-Flag=N;"
        "O8-Flag=B;WQ-Flag=B"
    )
    world = IndexWorld(tmp_path, *AIR, edition="2012")
    world.hour(0, AIR)
    world.close(1)
    assert world.text("2061").startswith("AQI-Avg=100,AQI-Flag=N;FIRST-Data=a34004,FIRST-Flag=N;")


def test_without_a_pollutant_there_is_no_index_up_to_100(tmp_path: Path) -> None:
    """HJ 633-2026, 5.3: the missing one could be the largest."""
    world = IndexWorld(tmp_path, "a34004")
    for number, value in enumerate(("35", "75")):
        world.hour(number, {"a34004": value})
    world.close(3)
    assert world.text("2061", 0).startswith("AQI-Flag=B;FIRST-Flag=B;I25-Avg=50,I25-Flag=N;")
    assert world.text("2061", 1).startswith("AQI-Avg=114,AQI-Flag=N;FIRST-Data=a34004,")
    assert world.text("2061", 2).startswith("AQI-Flag=B;FIRST-Flag=B;I25-Flag=B;")


def test_eight_hours_need_six(tmp_path: Path) -> None:
    """GB 3095-2012 table 4; a late reading lets the seven hours behind it be sent again."""
    world = IndexWorld(tmp_path, "a05024")
    for number in (0, 1, 2, 5, 6, 9):
        world.hour(number, {"a05024": "80" if number < 5 else "160"})
    world.close(10)
    assert "O8-Flag=B" in world.text("2061", 7)
    revisions = {number: _revision(world, number) for number in range(10)}
    world.hour(3, {"a05024": "80"})
    # Hours 0, 1, 2, 3 with 80 and 5, 6 with 160: (4 x 80 + 2 x 160) / 6 = 106.7
    assert "O8-Avg=106.7,O8-Flag=N" in world.text("2061", 7)
    changed = [number for number in range(10) if _revision(world, number) > revisions[number]]
    assert changed == [3, 4, 5, 6, 7, 8, 9]
    assert _revision(world, 9) == revisions[9] + 1


def _revision(world: IndexWorld, number: int) -> int:
    return world.aggregates.periods["2061", DAY + number * HOUR_MS].revision


def test_a_day_is_judged_by_its_hours(tmp_path: Path) -> None:
    """24 h: PM2.5 of 35 gives 50; O3 by its largest 8 hours, 16:00 to 24:00: 161 gives 101."""
    world = IndexWorld(tmp_path, *AIR)
    low = {"a21026": "50", "a21004": "40", "a21005": "2", "a34002": "50", "a34004": "35"}
    for number in range(24):
        world.hour(number, low | {"a05024": "20" if number < 16 else "161"})
    world.close(24)
    assert world.text("2031").startswith("AQI-Avg=101,AQI-Flag=N;FIRST-Data=a05024,FIRST-Flag=N;")
    assert "O8" not in world.text("2031")


@pytest.mark.parametrize(("hours", "expected"), [(20, "I25-Avg=50"), (19, "I25-Flag=B")])
def test_a_day_needs_twenty_hours(tmp_path: Path, hours: int, expected: str) -> None:
    world = IndexWorld(tmp_path, "a34004")
    for number in range(hours):
        world.hour(number, {"a34004": "35"})
    world.close(24)
    assert expected in world.text("2031")


def test_water_has_the_class_of_its_worst_factor(tmp_path: Path) -> None:
    """GB 3838 table 1: 5.5 mg/L of oxygen is class III; without the oxygen nothing is said."""
    world = IndexWorld(tmp_path, "w01001", "w01009", "w01010", "w21003")
    world.hour(0, {"w01001": "7.2", "w01009": "5.5", "w01010": "31.0", "w21003": "0.12"})
    world.hour(1, {"w01001": "7.2", "w01010": "31.0", "w21003": "0.12"})
    world.close(2)
    assert world.text("2061", 0).endswith("WQ-Avg=3,WQ-Flag=N")
    assert world.text("2061", 1).endswith("WQ-Flag=B")


def test_a_profile_of_indices_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    head = 'title = "x"\ntitle_zh = "y"\nsources = ["z"]\n'
    for text, problem in (
        ('sends = ["2051"]\n[index]\naqi = "AQI"\n', "needs hour data"),
        ('[index.iaqi]\na34001 = "X"\n', "unknown a34001"),
        ('[index.mean_8h]\na99999 = "X"\n', "unknown a99999"),
    ):
        path.write_text(head + text)
        with pytest.raises(Hj212ProfileError, match=problem):
            load_hj212_profile(str(path))


async def test_a_platform_gets_the_index_of_an_hour(tmp_path: Path) -> None:
    platform = Hj212Platform()
    await platform.start()
    path = tmp_path / "index.toml"
    path.write_text(PROFILE.format(edition="2026"))
    uplink = config(platform, profile=str(path), points={"hall/co2": "a05024"})
    clock = MovingClock()
    async with running(tmp_path, uplink, clock) as (outbox, _):
        await put(outbox, clock, 400, 4000)  # 17:00:00 to 18:00:00; far above the last breakpoint
        await until(lambda: cps(platform, "2061"))
    await platform.stop()
    (hour,) = cps(platform, "2061")
    assert hour.startswith("DataTime=20251009170000;a05024-Min=")
    assert hour.endswith(
        ";AQI-Avg=500,AQI-Flag=N;FIRST-Data=a05024,FIRST-Flag=N;I25-Flag=B;O8-Flag=B;WQ-Flag=B"
    )
