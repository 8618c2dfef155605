"""What an hourly and a daily report say of the air: HJ 633 from the means of the last 24 hours.

An hour is judged by its own means and the columns of one hour, a day by the mean of its 24 hours,
for O3 by the largest mean of 8 hours. A mean with too many holes is none, and its index is none: no
value is carried forward, weighted or estimated (no NowCast). HJ 633-2026 was read in its text.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from .air import (
    CO_1H,
    CO_24H,
    DAILY,
    HOURLY,
    NO2_1H,
    NO2_24H,
    O3_1H,
    O3_8H,
    PM2_5_24H,
    PM10_24H,
    SO2_1H,
    SO2_24H,
    AirQuality,
    Edition,
    air_quality,
    individual_index,
)
from .rolling import HOURS_OF_DAY, largest_8_hours, mean_of_hours

SO2: Final = "SO2"
NO2: Final = "NO2"
CO: Final = "CO"
O3: Final = "O3"
PM10: Final = "PM10"
PM2_5: Final = "PM2.5"
#: Each pollutant with its column in an hourly and in a daily report.
_COLUMNS: Final = {
    SO2: (SO2_1H, SO2_24H),
    NO2: (NO2_1H, NO2_24H),
    CO: (CO_1H, CO_24H),
    O3: (O3_1H, O3_8H),
    PM10: (PM10_24H, PM10_24H),
    PM2_5: (PM2_5_24H, PM2_5_24H),
}
POLLUTANTS: Final = tuple(_COLUMNS)

#: Returns the means of 24 hours of a pollutant in ug/m3 (CO: mg/m3), None for an hour without one.
#: The last is the hour of an hourly report, or the last hour of the day of a daily one.
HourMeans = Callable[[str], Sequence[Decimal | None]]


class AirReport(NamedTuple):
    """The index, its primary pollutants, and the individual index of each; None: there is none."""

    aqi: int | None
    primary: tuple[str, ...]
    individual: Mapping[str, int | None]


def hourly_report(hours: HourMeans, edition: Edition) -> AirReport:
    """Return what the last hour gives."""
    return _report({name: hours(name)[-1] for name in POLLUTANTS}, 0, edition)


def daily_report(hours: HourMeans, edition: Edition) -> AirReport:
    """Return what the day of 24 hours gives."""
    means = {
        name: largest_8_hours(hours(name))
        if name == O3
        else mean_of_hours(hours(name), HOURS_OF_DAY)
        for name in POLLUTANTS
    }
    return _report(means, 1, edition)


def _report(means: Mapping[str, Decimal | None], which: int, edition: Edition) -> AirReport:
    individual = {
        name: None if mean is None else individual_index(_COLUMNS[name][which], mean, edition)
        for name, mean in means.items()
    }
    by_column = {_COLUMNS[name][which]: index for name, index in individual.items()}
    found: AirQuality = air_quality(by_column, DAILY if which else HOURLY)
    primary = tuple(name for name in POLLUTANTS if _COLUMNS[name][which] in found.primary)
    return AirReport(found.aqi, primary, individual)
