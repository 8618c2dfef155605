"""States of treatment equipment and their hours of a day: annex C.15 and C.19, values by hand."""

from decimal import Decimal
from pathlib import Path

import pytest

from gateway_agent.uplink.hj212.aggregates import Aggregates
from gateway_agent.uplink.hj212.codes import CODES
from gateway_agent.uplink.hj212.period import CodeReading
from hil.platform.hj212_platform import Hj212Platform
from protocols.uplink import ProfileTemplate, Record, Stamp
from protocols.uplink.hj212 import body_text, parse_data_time
from tests.unit.gateway_agent.exporters.export_world import DEVICE, until
from tests.unit.gateway_agent.store_help import WALL_MS

from .exporter_world import MovingClock, config, cps, running

DAY_MS = 86_400_000
DAY = parse_data_time("20160801000000")
KINDS = {"2051": 600_000, "2041": DAY_MS}
EVERY_MS = 360_000  # a tenth of an hour


def day(states: str) -> str:
    """Return the 2041 of a day with these states of SB1 and one reading of pH; - is no reading."""
    every = {"SB1": EVERY_MS, "w01001": EVERY_MS}
    to = Aggregates(KINDS, [CODES["w01001"], CODES["SB1"]], every)
    to.add(CodeReading("w01001", DAY, Decimal(7), "N", 1, 1))
    for number, state in enumerate(states):
        if state != "-":
            at = DAY + number * EVERY_MS
            to.add(CodeReading("SB1", at, Decimal(state), "N", 1, number + 2))
    to.close(DAY + DAY_MS)
    assert "SB1" not in body_text(to.body(to.periods["2051", DAY]))
    return body_text(to.body(to.periods["2041", DAY]))


@pytest.mark.parametrize(
    ("states", "body"),
    [
        ("1" * 11 + "0" * 229, "SB1-RT=1.1"),  # annex C.19
        ("1" * 100 + "4" * 100 + "3" * 40, "SB1-RT=10.0"),  # an alarm is no run
        ("1" * 240, "SB1-RT=24.0"),
        ("0" * 240, "SB1-RT=0.0"),
        ("1" * 180 + "-" * 60, "SB1-RT=18.0"),  # 75 % of the day
        ("1" * 179 + "-" * 61, "SB1-RT=17.9,SB1-Flag=B"),  # a hole is said
        ("-" * 239 + "0", "SB1-RT=0.0,SB1-Flag=B"),
    ],
)
def test_the_hours_of_a_day(states: str, body: str) -> None:
    assert day(states) == f"DataTime=20160801000000;{body}"


def test_hours_hold_over_a_change_of_the_period() -> None:
    """Five hours each six minutes, then an hour each minute: 6.0, not 110 readings of a minute."""
    to = Aggregates(KINDS, [CODES["SB1"]], {"SB1": EVERY_MS})
    for number in range(50):
        to.add(CodeReading("SB1", DAY + number * EVERY_MS, Decimal(1), "N", 1, number))
    to.learn(CODES["SB1"], 60_000)
    for number in range(60):
        at = DAY + 50 * EVERY_MS + number * 60_000
        to.add(CodeReading("SB1", at, Decimal(1), "N", 1, 50 + number))
    to.close(DAY + DAY_MS)
    assert "SB1-RT=6.0" in body_text(to.body(to.periods["2041", DAY]))


def state(number: int, value: int) -> Record:
    """The state of the hall's fan, ``number`` seconds after WALL_MS."""
    stamp = Stamp(number, number + 1, WALL_MS + 1000 * number, 5, 3)
    return ProfileTemplate(DEVICE.id, [("fan", "", 0)]).record([value], stamp)


async def test_a_platform_gets_states_and_asks_for_them(tmp_path: Path) -> None:
    """C.12, C.13, C.15: 2022 stops them and is answered by 9013, 2021 starts them again."""
    platform = Hj212Platform()
    await platform.start()
    clock = MovingClock()
    uplink = config(platform, points={"hall/fan": "SB2"}, allow_control=True)
    async with running(tmp_path, uplink, clock) as (outbox, _):
        await outbox.put([state(0, 0), state(4, 1)], {})
        clock.wall_ms = WALL_MS + 5000
        await until(lambda: cps(platform, "2021"))
        assert cps(platform, "2021") == ["DataTime=20251009165324;SB2-RS=1"]
        assert not cps(platform, "2011")
        platform.asks = [("2022", ""), ("2021", "")]
        platform.drop()
        await until(lambda: any(item.cn == "9012" for item in platform.heard))
    await platform.stop()
    answers = [(item.cn, item.cp) for item in platform.heard if item.st == "91"]
    assert answers == [("9013", ""), ("9011", "QnRtn=1"), ("9012", "ExeRtn=1")]
    asked = [item for item in platform.heard if (item.cn, item.flag) == ("2021", 4)]
    assert [item.cp for item in asked] == ["DataTime=20251009165324;SB2-RS=1"]


async def test_what_is_no_state_is_not_sent(tmp_path: Path) -> None:
    platform = Hj212Platform()
    await platform.start()
    clock = MovingClock()
    async with running(tmp_path, config(platform, points={"hall/fan": "SB2"}), clock) as (
        outbox,
        tasks,
    ):
        await outbox.put([state(0, 6)], {})
        clock.wall_ms = WALL_MS + 5000
        await until(lambda: any(item.cn == "2081" for item in platform.answered))
        await until(lambda: not tasks.tasks[0].feed.behind)
    await platform.stop()
    assert not [item for item in platform.heard if item.cn == "2021"]
