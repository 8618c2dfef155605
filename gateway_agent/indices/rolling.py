"""Means over the last hours, from hourly means: 24 hours, 8 hours, the largest 8 hours of a day.

A mean is given where enough of its hours were measured: 20 of 24, 6 of 8 (GB 3095-2012, table 4;
the edition of 2026 was not read for it).
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

HOURS_OF_DAY: Final = 24
HOURS_OF_O3: Final = 8
_ENOUGH: Final = {HOURS_OF_DAY: 20, HOURS_OF_O3: 6}


def mean_of_hours(values: Sequence[Decimal | None], hours: int) -> Decimal | None:
    """Return the mean of the last ``hours`` of ``values`` (one an hour, None: not measured).

    ``hours``: 8 or 24. None: too few of them were measured.
    """
    found = [value for value in values[-hours:] if value is not None]
    if len(found) < _ENOUGH[hours]:
        return None
    return sum(found, Decimal(0)) / len(found)


def largest_8_hours(day: Sequence[Decimal | None]) -> Decimal | None:
    """Return the largest mean of 8 hours that ends in a day of 24 hours, the first at 08:00.

    None: there is none. ``day``: the means of its hours, the first from 00:00 to 01:00.
    """
    ends = range(HOURS_OF_O3, len(day) + 1)
    means = [mean_of_hours(day[:end], HOURS_OF_O3) for end in ends]
    return max((mean for mean in means if mean is not None), default=None)
