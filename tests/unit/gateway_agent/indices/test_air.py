"""The air quality index: examples, the rules around it, and a year of Chengdu recomputed apart.

``chengdu_2015_pm2_5.csv``: PM2.5 at the US consulate in ug/m3, one day a line, from "PM2.5 Data of
Five Chinese Cities" (UCI, DOI 10.24432/C52K58, Song Xi Chen, CC BY 4.0); a value that is missing
was not measured.
"""

import csv
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from gateway_agent.indices.air import (
    CO_24H,
    DAILY,
    HJ633_2012,
    HJ633_2026,
    HOURLY,
    NO2_24H,
    O3_8H,
    PM2_5_24H,
    PM10_24H,
    SO2_1H,
    SO2_24H,
    Edition,
    air_quality,
    individual_index,
    level_of,
)
from gateway_agent.indices.rolling import largest_8_hours, mean_of_hours

YEAR = Path(__file__).with_name("chengdu_2015_pm2_5.csv")


@pytest.mark.parametrize(
    ("column", "concentration", "index"),
    [
        (PM2_5_24H, "18", 26),
        (PM2_5_24H, "35", 50),
        (PM2_5_24H, "36", 52),
        (PM2_5_24H, "50", 80),
        (PM2_5_24H, "60", 100),
        (PM2_5_24H, "75", 114),
        (PM2_5_24H, "115", 150),
        (PM2_5_24H, "501", 500),
        (PM10_24H, "120", 100),
        (PM10_24H, "150", 112),
        (SO2_24H, "475", 150),
        (SO2_1H, "801", 200),
        (O3_8H, "161", 101),
        (O3_8H, "900", 300),
        (CO_24H, "2.1", 53),
        (NO2_24H, "41", 52),
        (PM2_5_24H, "0", 0),
        # Rounded half to even before anything else.
        (PM2_5_24H, "35.5", 52),
        (PM2_5_24H, "34.5", 49),
        (CO_24H, "2.05", 50),
    ],
)
def test_individual_index_of_2026(column: str, concentration: str, index: int) -> None:
    assert individual_index(column, Decimal(concentration)) == index


def test_the_edition_of_2012_has_other_columns_for_particles_and_no_index_past_a_short_one() -> (
    None
):
    assert individual_index(PM2_5_24H, Decimal(75), HJ633_2012) == 100
    assert individual_index(PM10_24H, Decimal(150), HJ633_2012) == 100
    assert individual_index(SO2_1H, Decimal(801), HJ633_2012) is None
    assert individual_index(O3_8H, Decimal(801), HJ633_2012) is None


@pytest.mark.parametrize(
    ("column", "concentration", "index"),
    [
        (PM2_5_24H, "-0.2", 0),  # the zero of an instrument drifts
        (PM2_5_24H, "-0.5", 0),
        (PM2_5_24H, "-0.6", None),
        (CO_24H, "-0.04", 0),
        (CO_24H, "-0.1", None),
    ],
)
def test_what_is_below_zero_has_no_index_unless_it_rounds_to_zero(
    column: str, concentration: str, index: int | None
) -> None:
    assert individual_index(column, Decimal(concentration)) == index


def test_a_missing_pollutant_leaves_an_index_only_above_100() -> None:
    all_six = dict.fromkeys(DAILY, 40) | {PM2_5_24H: 80}
    assert air_quality(all_six, DAILY) == (80, (PM2_5_24H,))
    particles = {PM2_5_24H: 100, PM10_24H: 60}
    assert air_quality(particles, DAILY) == (None, ()), "the missing gas could be the largest"
    assert air_quality(particles | {PM2_5_24H: 101}, DAILY) == (101, (PM2_5_24H,))
    assert air_quality({}, HOURLY) == (None, ())
    assert air_quality(dict.fromkeys(DAILY, 50), DAILY) == (50, ()), "primary only above 50"
    assert air_quality(dict.fromkeys(DAILY, 0), DAILY) == (1, ()), "an index is 1 to 500"
    two = dict.fromkeys(DAILY, 40) | {PM2_5_24H: 70, O3_8H: 70}
    assert set(air_quality(two, DAILY).primary) == {PM2_5_24H, O3_8H}


@pytest.mark.parametrize(
    ("index", "chinese"),
    [(50, "优"), (51, "良"), (150, "轻度污染"), (301, "严重污染"), (500, "严重污染")],
)
def test_levels(index: int, chinese: str) -> None:
    assert level_of(index).chinese == chinese


def days() -> Iterator[list[int | None]]:
    """Yield the hours of each day of the year."""
    with YEAR.open(encoding="ascii", newline="") as file:
        for row in list(csv.reader(file))[1:]:
            yield [int(value) if value else None for value in row[1:]]


def apart(micrograms: int, two_thousand_twelve: bool) -> int:
    """IAQI of whole ug/m3 of PM2.5 in integers alone, from the text of table 1."""
    good = 75 if two_thousand_twelve else 60
    steps = [(35, 50), (good, 100), (115, 150), (150, 200), (250, 300), (350, 400), (500, 500)]
    before, index = 0, 0
    for to, worth in steps:
        if micrograms <= to:
            return index - (-(micrograms - before) * (worth - index) // (to - before))
        before, index = to, worth
    return 500


def rounded_mean(values: list[int]) -> int:
    """The mean of integers, half to even, in integers."""
    whole, rest = divmod(sum(values), len(values))
    return whole + (2 * rest > len(values) or (2 * rest == len(values) and whole % 2 == 1))


@pytest.mark.parametrize("edition", [HJ633_2026, HJ633_2012], ids=lambda edition: edition.name)
def test_a_year_of_chengdu_is_what_an_independent_computation_gives(edition: Edition) -> None:
    hours = measured = with_index = 0
    for day in days():
        for value in day:
            hours += 1
            if value is not None:
                measured += 1
                expected = apart(value, edition is HJ633_2012)
                assert individual_index(PM2_5_24H, Decimal(value), edition) == expected
        found = [value for value in day if value is not None]
        mean = mean_of_hours([None if v is None else Decimal(v) for v in day], 24)
        if len(found) < 20:
            assert mean is None
            continue
        with_index += 1
        assert mean is not None
        expected = apart(rounded_mean(found), edition is HJ633_2012)
        assert individual_index(PM2_5_24H, mean, edition) == expected
    # Counted in the file with awk.
    assert (hours, measured, with_index) == (8760, 8649, 358)


def test_eight_hours_need_six_of_them() -> None:
    day: list[Decimal | None] = [Decimal(10)] * 24
    assert largest_8_hours(day) == 10
    day[8:16] = [Decimal(90)] * 8
    assert largest_8_hours(day) == 90
    day[8:11] = [None] * 3
    assert mean_of_hours(day[:16], 8) is None
    assert largest_8_hours(day) == Decimal(90 * 5 + 10) / 6, "of the eight hours to 17:00, six"
    assert largest_8_hours([None] * 24) is None
