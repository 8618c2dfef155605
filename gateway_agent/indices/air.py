"""The air quality index of HJ 633, editions of 2026 (in force from 2026-03-01) and 2012.

Concentrations are rounded first (GB/T 8170, half to even), an individual index (IAQI) is the linear
interpolation between two breakpoints of table 1, rounded up, and the index (AQI) is the largest.
Breakpoints and rules of 2026 were read in the published text; of the 2012 edition the two columns
that differ. All arithmetic is exact: a float would put a value on a breakpoint on its wrong side.
"""

import math
from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from typing import Final, NamedTuple

INDICES: Final = (0, 50, 100, 150, 200, 300, 400, 500)
WORST: Final = 500

# Names of the columns of table 1: the pollutant, and over how many hours it was averaged.
SO2_24H: Final = "SO2 24 h"
SO2_1H: Final = "SO2 1 h"
NO2_24H: Final = "NO2 24 h"
NO2_1H: Final = "NO2 1 h"
CO_24H: Final = "CO 24 h"
CO_1H: Final = "CO 1 h"
O3_8H: Final = "O3 8 h"
O3_1H: Final = "O3 1 h"
PM10_24H: Final = "PM10 24 h"
PM2_5_24H: Final = "PM2.5 24 h"

#: What an hourly report is made of. PM of one hour is judged by the breakpoints of 24 hours.
HOURLY: Final = (SO2_1H, NO2_1H, CO_1H, O3_1H, PM10_24H, PM2_5_24H)
#: What a daily report is made of; O3 is the largest mean of 8 hours of the day.
DAILY: Final = (SO2_24H, NO2_24H, CO_24H, O3_8H, PM10_24H, PM2_5_24H)

_Column = tuple[int, ...]
_2026: Final[Mapping[str, _Column]] = {
    SO2_24H: (0, 50, 150, 475, 800, 1600, 2100, 2620),
    SO2_1H: (0, 150, 500, 650, 800),
    NO2_24H: (0, 40, 80, 180, 280, 565, 750, 940),
    NO2_1H: (0, 100, 200, 700, 1200, 2340, 3090, 3840),
    CO_24H: (0, 2, 4, 14, 24, 36, 48, 60),
    CO_1H: (0, 5, 10, 35, 60, 90, 120, 150),
    O3_8H: (0, 100, 160, 215, 265, 800),
    O3_1H: (0, 160, 200, 300, 400, 800, 1000, 1200),
    PM10_24H: (0, 50, 120, 250, 350, 420, 500, 600),
    PM2_5_24H: (0, 35, 60, 115, 150, 250, 350, 500),
}
_2012: Final[Mapping[str, _Column]] = {
    **_2026,
    PM10_24H: (0, 50, 150, 250, 350, 420, 500, 600),
    PM2_5_24H: (0, 35, 75, 115, 150, 250, 350, 500),
}


class Edition(NamedTuple):
    """Table 1 of an edition of HJ 633. ``has_caps``: above a short column its last index counts."""

    name: str
    columns: Mapping[str, _Column]
    has_caps: bool


HJ633_2026: Final = Edition("HJ 633-2026", _2026, has_caps=True)
HJ633_2012: Final = Edition("HJ 633-2012", _2012, has_caps=False)


class Level(NamedTuple):
    """A level of table 2: its number, names, and colour as red, green and blue."""

    number: int
    name: str
    chinese: str
    colour: tuple[int, int, int]


_LEVELS: Final = (
    (50, Level(1, "excellent", "优", (0, 228, 0))),
    (100, Level(2, "good", "良", (255, 255, 0))),
    (150, Level(3, "lightly polluted", "轻度污染", (255, 126, 0))),
    (200, Level(4, "moderately polluted", "中度污染", (255, 0, 0))),
    (300, Level(5, "heavily polluted", "重度污染", (153, 0, 76))),
    (WORST, Level(6, "severely polluted", "严重污染", (126, 0, 35))),
)


class AirQuality(NamedTuple):
    """An index with its primary pollutants, the columns of the largest IAQI above 50.

    ``aqi`` is None (``NA`` in a report) where a pollutant is missing and the others do not pass
    100: the missing one could be the largest (HJ 633-2026, 5.3).
    """

    aqi: int | None
    primary: tuple[str, ...]


def individual_index(
    column: str, concentration: Decimal, edition: Edition = HJ633_2026
) -> int | None:
    """Return the IAQI of a concentration in ug/m3 (CO: mg/m3), 0 to 500.

    None: the edition has no index for it (2012: SO2 of an hour above 800, O3 of 8 hours above 800),
    or it is negative, also rounded; what a drift of the zero puts just below 0 counts as 0.
    """
    is_co = column in (CO_24H, CO_1H)
    rounded = concentration.quantize(Decimal("0.1" if is_co else "1"), ROUND_HALF_EVEN)
    if rounded < 0:
        return None
    points = edition.columns[column]
    for at in range(1, len(points)):
        if rounded <= points[at]:
            low, high = points[at - 1], points[at]
            share = (Fraction(rounded) - low) / (high - low)
            step = INDICES[at] - INDICES[at - 1]
            return math.ceil(INDICES[at - 1] + share * step)
    if len(points) == len(INDICES):
        return WORST
    return INDICES[len(points) - 1] if edition.has_caps else None


def air_quality(indices: Mapping[str, int | None], columns: Sequence[str]) -> AirQuality:
    """Return the AQI of the IAQI that there are; ``columns``: those that the report is made of.

    The rule for missing pollutants is that of 2026 for either edition.
    """
    found = {column: indices.get(column) for column in columns}
    present = {column: index for column, index in found.items() if index is not None}
    if not present:
        return AirQuality(None, ())
    largest = max(present.values())
    if len(present) < len(columns) and largest <= 100:
        return AirQuality(None, ())
    primary = tuple(c for c, index in present.items() if index == largest) if largest > 50 else ()
    return AirQuality(max(1, largest), primary)


def level_of(index: int) -> Level:
    """Return the level of an AQI of 1 to 500."""
    return next(level for highest, level in _LEVELS if index <= highest)
