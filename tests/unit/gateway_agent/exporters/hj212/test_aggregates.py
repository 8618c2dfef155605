"""Minute, hour and day values by the rules of annex C, with values computed by hand."""

from collections import defaultdict
from decimal import Decimal
from random import Random

import pytest

from gateway_agent.uplink.hj212.aggregates import Aggregates, lengths_of
from gateway_agent.uplink.hj212.codes import CODES
from gateway_agent.uplink.hj212.period import (
    MAX_RANGES,
    AggregatePeriod,
    CodeReading,
    PeriodCell,
    period_start,
)
from protocols.uplink.hj212 import body_text, parse_data_time

START = parse_data_time("20160801084000")
KINDS = {"2051": 600_000, "2061": 3_600_000, "2031": 86_400_000}


def made(*codes: str, every_ms: int = 60_000, kinds: dict[str, int] | None = None) -> Aggregates:
    """Return aggregates with a reading expected each minute."""
    rows = [CODES[code] for code in codes]
    return Aggregates(kinds or KINDS, rows, dict.fromkeys(codes, every_ms))


def feed(
    to: Aggregates, code: str, values: list[str | None], at: int = START, flag: str = "N"
) -> None:
    """Add a reading each minute."""
    for minute, value in enumerate(values):
        number = None if value is None else Decimal(value)
        to.add(CodeReading(code, at + 60_000 * minute, number, flag, 1, minute + 1))


def text(to: Aggregates, cn: str, start: int = START) -> str:
    """Return the body of a period as it goes on the wire."""
    return body_text(to.body(to.periods[cn, start]))


def test_the_example_of_the_standard() -> None:
    """Annex C.16: 17.5 L/s in ten minutes are 10.5 m3, DataTime is the start."""
    to = made("w00000", "w01001")
    feed(
        to,
        "w00000",
        ["16.4", "17.0", "17.5", "16.9", "17.2", "17.9", "18.0", "17.0", "17.0", "20.1"],
    )
    feed(to, "w01001", ["7.1", "7.2", "7.5", "7.8", "7.4", "7.6", "7.6", "7.6", "7.6", "7.6"])
    to.close(START + 600_000)
    assert text(to, "2051") == (
        "DataTime=20160801084000;"
        "w00000-Cou=10.5,w00000-Min=16.4,w00000-Avg=17.5,w00000-Max=20.1,w00000-Flag=N;"
        "w01001-Min=7.10,w01001-Avg=7.50,w01001-Max=7.80,w01001-Flag=N"
    )


@pytest.mark.parametrize(("cn", "total"), [("2061", "63.0"), ("2031", "1512.0")])
def test_totals_of_an_hour_and_a_day(cn: str, total: str) -> None:
    """Annexes C.17 and C.18."""
    to = made("w00000", every_ms=KINDS[cn])
    to.add(CodeReading("w00000", START, Decimal("17.5"), "N", 1, 1))
    start = period_start(START, KINDS[cn])
    to.close(start + KINDS[cn])
    assert f"w00000-Cou={total}," in text(to, cn, start)


def test_what_the_flow_carried() -> None:
    """40 mg/L at 10 L/s, then 20 mg/L at 30 L/s: 500 mg/s as a mean, 0.3 kg in 600 s."""
    to = made("w00000", "w01018", every_ms=300_000)
    for minute, flow, load in ((0, "10", "40"), (5, "30", "20")):
        at = START + minute * 60_000
        to.add(CodeReading("w00000", at, Decimal(flow), "N", 1, 1))
        to.add(CodeReading("w01018", at, Decimal(load), "N", 1, 2))
    to.close(START + 600_000)
    assert "w01018-Cou=0.300,w01018-Min=20.0,w01018-Avg=30.0" in text(to, "2051")


def test_a_flow_that_fell_silent_carries_nothing() -> None:
    """Three of its periods after the last flow a load has no total; its mean goes on."""
    to = made("w00000", "w01018", every_ms=60_000)
    to.add(CodeReading("w00000", START, Decimal(10), "N", 1, 1))
    for minute, load in ((3, "40"), (4, "400"), (9, "400")):
        at = START + minute * 60_000
        to.add(CodeReading("w01018", at, Decimal(load), "N", 1, 1 + minute))
    cell = to.periods["2051", START].cells["w01018"]
    assert (cell.carried, cell.carriers, cell.total) == (Decimal(400), 1, Decimal(840))
    to.add(CodeReading("w01018", START + 600_000, Decimal(40), "N", 1, 11))
    to.close(START + 1_200_000)
    assert "w01018-Cou" not in text(to, "2051", START + 600_000)


@pytest.mark.parametrize(
    ("flags", "expected", "air", "water"),
    [
        ("NNNN", 4, "N", "N"),
        ("NNND", 4, "N", "D"),
        ("NNDD", 4, "D", "D"),
        ("NNN", 4, "N", "B"),
        ("NN", 4, "B", "B"),
        ("NNNC", 4, "N", "C"),
        ("NTTB", 4, "D", "T"),
        ("", 4, "B", "B"),
        ("", 0, "B", "B"),
        ("DDDD", 4, "D", "D"),
        ("NNNNNN", 4, "N", "N"),
    ],
)
def test_flags(flags: str, expected: int, air: str, water: str) -> None:
    """Annex C, tables 16 to 18: 75 % of gas, every one of water."""
    cell = PeriodCell()
    for flag in flags:
        cell.add(Decimal(1) if flag == "N" else None, flag, None)
    assert cell.flag(expected, is_water=False) == air
    assert cell.flag(expected, is_water=True) == water


def test_only_normal_readings_count() -> None:
    to = made("a34004")
    feed(to, "a34004", ["10"] * 8)
    to.add(CodeReading("a34004", START + 500_000, Decimal(999), "T", 1, 9))
    to.close(START + 600_000)
    assert text(to, "2051").endswith("a34004-Min=10,a34004-Avg=10,a34004-Max=10,a34004-Flag=N")


def test_a_hole_is_said_and_no_value_is_made_up() -> None:
    to = made("a34004", "a34002")
    feed(to, "a34004", ["10"] * 3)
    to.close(START + 1_200_000)
    assert text(to, "2051") == (
        "DataTime=20160801084000;a34004-Min=10,a34004-Avg=10,a34004-Max=10,a34004-Flag=B;"
        "a34002-Flag=B"
    )
    assert text(to, "2051", START + 600_000) == (
        "DataTime=20160801085000;a34004-Flag=B;a34002-Flag=B"
    )


def test_periods_are_beijings() -> None:
    moment = parse_data_time("20260301000000")
    assert period_start(moment - 1, KINDS["2031"]) == parse_data_time("20260228000000")
    assert period_start(moment, KINDS["2031"]) == moment
    assert period_start(moment + 3_599_999, KINDS["2061"]) == moment


def test_a_late_reading_corrects_and_a_closed_period_is_sent_again() -> None:
    to = made("a34004")
    feed(to, "a34004", ["10"] * 9)
    to.close(START + 599_999)
    assert list(to.unsent()) == []
    to.close(START + 600_000)
    (period,) = to.unsent()
    assert (period.cn, period.revision) == ("2051", 0)
    period.sent = 0
    assert list(to.unsent()) == []
    to.add(CodeReading("a34004", START + 570_000, Decimal(20), "N", 1, 40))
    (again,) = to.unsent()
    assert again is period
    assert again.revision == 1
    assert "a34004-Avg=11,a34004-Max=20" in text(to, "2051")
    assert again.ranges == [[1, 1, 9], [1, 40, 40]]


def test_a_period_that_is_not_held_comes_back() -> None:
    to = made("a34004", kinds={"2051": 600_000})
    feed(to, "a34004", ["10"] * 10)
    to.close(START + 600_000)
    (period,) = to.unsent()
    period.sent = 0
    to.forget(START + 600_001)
    assert to.periods == {}
    to._earlier = lambda cn, start: period if (cn, start) == ("2051", START) else None
    to.add(CodeReading("a34004", START + 1, Decimal(21), "N", 1, 99))
    assert list(to.unsent()) == [period]
    assert "a34004-Avg=11" in text(to, "2051")


def test_unsent_periods_are_never_forgotten() -> None:
    to = made("a34004", kinds={"2051": 600_000})
    feed(to, "a34004", ["10"] * 10)
    to.close(START + 600_000)
    to.forget(START + 10**10)
    assert len(list(to.unsent())) == 1


def test_a_long_outage_is_closed_in_bounded_steps() -> None:
    to = made("a34004", kinds={"2051": 60_000})
    feed(to, "a34004", ["10"])
    looks = 1
    while to.close(START + 5_000 * 60_000):
        looks += 1
    assert looks == 3
    assert len(list(to.unsent())) == 5_000


def test_the_records_behind_a_period_are_bounded() -> None:
    to = made("a34004", kinds={"2051": 600_000})
    for number in range(3_000):
        to.add(CodeReading("a34004", START, Decimal(1), "N", 1, number * 3))
    (period,) = to.periods.values()
    assert len(period.ranges) <= MAX_RANGES
    covered = [number for _, first, last in period.ranges for number in range(first, last + 1)]
    assert set(range(0, 9_000, 3)) <= set(covered)


def test_any_order_gives_what_a_plain_recomputation_gives() -> None:
    """Readings of two days, shuffled, against sums by hour."""
    random = Random(212)
    readings = [
        CodeReading("a34002", START + n * 60_000, Decimal(random.randrange(500)), "N", 1, n)
        for n in range(2880)
    ]
    hours = defaultdict(list)
    for reading in readings:
        hours[(reading.unix_ms + 28_800_000) // 3_600_000].append(reading.value)
    random.shuffle(readings)
    to = made("a34002")
    to.closed_to = {"2061": START - 2_400_000}
    for reading in readings:
        to.add(reading)
    to.close(START + 10**9)
    for hour, values in hours.items():
        period = to.periods["2061", hour * 3_600_000 - 28_800_000]
        cell = period.cells["a34002"]
        assert cell.total == sum(v for v in values if v is not None)
        assert (cell.least, cell.greatest) == (min(values), max(values))  # type: ignore[type-var] # none is None
        assert cell.flags == {"N": len(values)}


def test_another_length_begins_at_the_next_full_hour() -> None:
    to = made("a34004", kinds={"2051": 600_000})
    feed(to, "a34004", ["10"])
    to.change_length("2051", 1_800_000, START)
    hour = parse_data_time("20160801090000")
    feed(to, "a34004", ["10"], at=START + 600_000)
    feed(to, "a34004", ["10"], at=hour + 700_000)
    to.close(hour + 1_800_000)
    assert sorted(start for _, start in to.periods) == [START, START + 600_000, hour]
    assert to.periods["2051", hour].end_ms == hour + 1_800_000


def test_which_kinds_are_sent() -> None:
    assert lengths_of(["2011", "2061", "2051"], 5) == {"2051": 300_000, "2061": 3_600_000}


def test_flags_as_the_platform_wants_them() -> None:
    to = made("a34004", "a34002", every_ms=600_000)
    feed(to, "a34004", ["10"])
    to.close(START + 600_000)
    period = to.periods["2051", START]
    assert "Flag" in body_text(to.body(period, flags="never"))  # nothing else says of a34002 why
    assert body_text(to.body(period, flags="abnormal", name=lambda code: code.upper())) == (
        "DataTime=20160801084000;A34004-Min=10,A34004-Avg=10,A34004-Max=10;A34002-Flag=B"
    )


def test_a_backlog_is_held_in_the_file_and_read_in_its_turn() -> None:
    """Twenty closed minutes, of which two are held and one is on its way; a late reading comes."""
    file: dict[tuple[str, int], AggregatePeriod] = {}
    kinds = {"2051": 60_000}
    to = Aggregates(
        kinds, [CODES["a01001"]], {"a01001": 60_000}, lambda cn, start: file.get((cn, start))
    )
    feed(to, "a01001", ["20"] * 20)
    to.close(START + 20 * 60_000)
    file.update({(one.cn, one.start_ms): one for one in to.take_changed()})
    starts = [START + 60_000 * minute for minute in range(20)]
    to.put_away(2, {("2051", starts[7])})
    assert sorted(start for _, start in to.periods) == [*starts[:2], starts[7]]
    assert to.unsent_since("2051", 1) == 1
    for start in starts[:2]:
        to.periods["2051", start].sent = 0
        to.changed.add(("2051", start))
    to.take_changed()
    assert to.unsent_since("2051", 1) == 3
    late = CodeReading("a01001", starts[9], Decimal(30), "N", 1, 99)
    to.add(late)
    assert to.periods["2051", starts[9]].revision == 1
    assert [one.start_ms for one in to.unsent_before(starts[5])] == starts[2:4]
    assert [one.start_ms for one in to.unsent()] == starts[2:]
    for period in to.unsent():
        period.sent = period.revision
        to.changed.add(("2051", period.start_ms))
    to.take_changed()
    assert not list(to.unsent())
    assert to.unsent_since("2051", 1) is None
