"""The indices of a period as HJ 212 items, for a platform that agreed on codes for them.

HJ 212-2017 annex B has no code of an index, so the profile's table ``[index]`` names what a
platform takes. An hour (2061) and a day (2031) have them, computed from the hour means that are
kept and re-sent when one of these changes. Where there is none, the item has a flag and no value.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Final

from gateway_agent.indices.air import HJ633_2012, HJ633_2026
from gateway_agent.indices.air_report import (
    CO,
    NO2,
    O3,
    PM2_5,
    PM10,
    SO2,
    AirReport,
    daily_report,
    hourly_report,
)
from gateway_agent.indices.rolling import HOURS_OF_DAY, HOURS_OF_O3, mean_of_hours
from gateway_agent.indices.water import DISSOLVED_OXYGEN, PH, water_class
from gateway_agent.uplink.units import REFERENCE_K, gas_converted
from protocols.uplink.hj212 import HOUR_MS, Item

from .aggregates import Aggregates
from .codes import CODES, JUDGED, written
from .period import MISSING, NORMAL, AggregatePeriod
from .profile import Hj212Profile

_HOUR: Final = "2061"
_DAY: Final = "2031"
_EDITIONS: Final = {"2026": HJ633_2026, "2012": HJ633_2012}
_AIR: Final = dict(zip((SO2, NO2, CO, O3, PM10, PM2_5), JUDGED, strict=True))
_WATER: Final = {
    "w01001": PH,
    "w01009": DISSOLVED_OXYGEN,
    "w01018": "chemical oxygen demand",
    "w01019": "permanganate index",
    "w21003": "ammonia nitrogen",
    "w21011": "total phosphorus",
}


class IndexItems:
    """Computes the items of one platform from its aggregates."""

    def __init__(self, profile: Hj212Profile, aggregates: Aggregates) -> None:
        self._profile = profile
        self._index = profile.index
        self._aggregates = aggregates

    def of(self, period: AggregatePeriod) -> Iterator[Item]:
        """Yield the items behind those of the codes of a period."""
        index = self._index
        if period.cn not in (_HOUR, _DAY) or not index.is_wanted:
            return
        if index.aqi or index.primary or index.iaqi:
            yield from self._air(period)
        for hours, names in ((HOURS_OF_O3, index.mean_8h), (HOURS_OF_DAY, index.mean_24h)):
            for code, wire in names.items() if period.cn == _HOUR else ():
                mean = mean_of_hours(self._hours(code, period), hours)
                digits = self._profile.code(code).digits
                yield self._item(wire, "Avg", None if mean is None else written(mean, digits))
        if index.water_class:
            found = self._class_of_water(period)
            yield self._item(index.water_class, "Avg", None if found is None else str(found))

    def _air(self, period: AggregatePeriod) -> Iterator[Item]:
        index, edition = self._index, _EDITIONS[self._index.edition]

        def hours(pollutant: str) -> list[Decimal | None]:
            code = _AIR[pollutant]
            return [self._stated(code, mean) for mean in self._hours(code, period)]

        make = hourly_report if period.cn == _HOUR else daily_report
        report: AirReport = make(hours, edition)
        if index.aqi:
            yield self._item(index.aqi, "Avg", _text(report.aqi))
        if index.primary:
            names = "|".join(self._profile.wire_name(_AIR[name]) for name in report.primary)
            yield self._item(index.primary, "Data", None if report.aqi is None else names or "-")
        for code, wire in index.iaqi.items():
            pollutant = next(name for name, of in _AIR.items() if of == code)
            yield self._item(wire, "Avg", _text(report.individual[pollutant]))

    def _hours(self, code: str, period: AggregatePeriod) -> Sequence[Decimal | None]:
        """Return the means of the 24 hours that end with the period."""
        first = period.end_ms - HOURS_OF_DAY * HOUR_MS
        starts = range(first, period.end_ms, HOUR_MS)
        return [self._mean(code, self._aggregates.find(_HOUR, start)) for start in starts]

    def _mean(self, code: str, period: AggregatePeriod | None) -> Decimal | None:
        if period is None or code not in self._aggregates.codes:
            return None
        return self._aggregates.mean(period, code)

    def _stated(self, code: str, mean: Decimal | None) -> Decimal | None:
        """Return a mean by mass, gases at 298.15 K, which was read in GB 3095-2026."""
        if mean is None:
            return None
        row, wanted = self._profile.code(code), CODES[code]
        kelvin = Decimal(str(self._profile.kelvin))
        mass = gas_converted(mean, row.unit, wanted.unit, row.molar_mass, kelvin)
        return mass if row.molar_mass is None else mass * kelvin / REFERENCE_K

    def _class_of_water(self, period: AggregatePeriod) -> int | None:
        """Return the class (GB 3838-2002, table 1); None where one of the factors has no mean."""
        codes = [code for code in _WATER if code in self._aggregates.codes]
        means = {_WATER[code]: self._mean(code, period) for code in codes}
        measured = {factor: mean for factor, mean in means.items() if mean is not None}
        found = water_class(measured) if len(measured) == len(means) else None
        return None if found is None else found.number

    def _item(self, wire: str, part: str, text: str | None) -> Item:
        flags = self._profile.flags
        flag = (f"{wire}-Flag", MISSING if text is None else NORMAL)
        if text is None:
            return (flag,)
        value = (f"{wire}-{part}", text)
        return (value, flag) if flags == "always" else (value,)


def _text(index: int | None) -> str | None:
    return None if index is None else str(index)
