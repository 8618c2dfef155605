"""The hourly report of a station (SL 651-2014, 6.6.4.7): twelve values of 5 minutes and the rest.

It is made of what was reported, so a restart or an outage in the hour changes nothing in it. What
was not reported is FF in the series.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from protocols.uplink.sl651 import ElementGroup, Observation, number_group

from .history import KEEP_MS, ReportHistory

HOURLY: Final = 0x34
HOUR_MS: Final = 3_600_000
_FIVE_MINUTES_MS: Final = 300_000
_VALUES: Final = 12
# The element of a report, the series that it is in an hour, and its bytes and step (annex C).
_SERIES: Final = {
    0x22: (0xF4, 1, Decimal("0.1")),
    0x39: (0xF5, 2, Decimal("0.01")),
    0x3B: (0xF5, 2, Decimal("0.01")),
}
#: Elements of which one has to be reported: rain of 5 minutes, a river's or an upstream level.
OF_AN_HOUR: Final = tuple(_SERIES)
#: Minutes between two reports of which every fifth minute is one.
FITTING_MINUTES: Final = (1, 5)


def hours_due(history: ReportHistory, station: str, ended_ms: int) -> list[int]:
    """Return when the hours ended that a report at ``ended_ms`` completes, or found undone.

    Hours go in their order: all after the newest that went are undone, however long ago that was.
    OSError: the history cannot be read.
    """
    newest = ended_ms // HOUR_MS * HOUR_MS
    last = history.last_hour(station, newest)
    first = newest - HOUR_MS if last is None else max(last + HOUR_MS, newest - KEEP_MS)
    return list(range(first, newest + 1, HOUR_MS))


def hour_of(
    history: ReportHistory, station: str, identifiers: Iterable[int], end_ms: int
) -> tuple[Observation, ...]:
    """Return what was observed in the hour that ended then; nothing if nothing was. OSError."""
    first_ms = end_ms - HOUR_MS + _FIVE_MINUTES_MS
    groups: list[ElementGroup] = []
    rest: list[ElementGroup] = []
    names: set[int] = set()
    for identifier in identifiers:
        found = history.between(station, identifier, first_ms, end_ms)
        if end_ms in found:
            rest.append(number_group(identifier, found[end_ms]))
        series = _SERIES.get(identifier)
        if series is not None and found and series[0] not in names:
            names.add(series[0])
            moments = range(first_ms, end_ms + 1, _FIVE_MINUTES_MS)
            data = b"".join(_number(found.get(at), series[1], series[2]) for at in moments)
            groups.append(ElementGroup(series[0], len(data) << 3, data))
    observations = []
    for at_ms, seen in ((first_ms, groups), (end_ms, rest)):
        if seen:
            at = datetime.fromtimestamp(at_ms / 1000, UTC)
            observations.append(Observation(at, tuple(seen)))
    return tuple(observations)


def _number(value: Decimal | None, size: int, step: Decimal) -> bytes:
    """Return a number of a series; FF in every byte for what is missing or has no room."""
    steps = -1 if value is None else int((value / step).to_integral_value())
    if not 0 <= steps < (1 << 8 * size) - 1:
        return b"\xff" * size
    return steps.to_bytes(size)
