"""The body of a report of SL 651 (section 6.6): who measured, when, and the element groups.

::

    serial number 2 | sent 6 BCD | F1F1 station 5, class 1 | F0F0 observed 5 BCD | element groups

An ``F0F0`` between two groups begins what was observed at another time. After the element ``04``
(time step) a series (function 31) repeats the data of its one element up to the end of the body.
Times are Beijing time.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from protocols.uplink.beijing import BEIJING
from protocols.uplink.errors import FormatError
from protocols.wire.errors import BAD_VALUE, TRUNCATED, LocalError

from .elements import EXTENDED, ElementGroup, group_length, read_groups, write_group
from .frame import STATION_BYTES

STATION_MARK: Final = b"\xf1\xf1"
_TIME_MARK: Final = b"\xf0\xf0"
_SERIAL_AND_TIME: Final = 8
_OBSERVED_AT: Final = _SERIAL_AND_TIME + 2 + STATION_BYTES + 1
_TIME_BYTES: Final = 5
_FIRST_GROUP: Final = _OBSERVED_AT + 2 + _TIME_BYTES

#: Letters of the class of a station (annex A).
STATION_CLASSES: Final = {
    "P": "rain",
    "H": "river",
    "K": "reservoir",
    "Z": "gate",
    "D": "pump",
    "T": "tide",
    "M": "soil moisture",
    "G": "groundwater",
    "Q": "water quality",
    "I": "intake",
    "O": "outfall",
}


@dataclass(frozen=True, slots=True)
class Observation:
    """What was observed at one time: ``at`` to the minute, and its groups in their order."""

    at: datetime
    groups: tuple[ElementGroup, ...]


@dataclass(frozen=True, slots=True)
class StationReport:
    """A report: ``serial`` 0 to 65535, when it was sent, by which station, and what was observed.

    ``series``: of function 31, the data that its last element repeats.
    """

    serial: int
    sent: datetime
    station: bytes
    station_class: str
    observations: tuple[Observation, ...]
    series: tuple[bytes, ...] = ()


def write_serial(serial: int, sent: datetime) -> bytes:
    """Return the eight bytes that each body begins with. LocalError: a serial over two bytes."""
    if not 0 <= serial <= 0xFFFF:
        raise LocalError(BAD_VALUE, "serial number", -1, "0 to 65535", serial)
    return serial.to_bytes(2) + bytes.fromhex(sent.astimezone(BEIJING).strftime("%y%m%d%H%M%S"))


def read_serial(body: bytes) -> tuple[int, datetime]:
    """Return the serial number and the time of sending that a body begins with. FormatError."""
    if len(body) < _SERIAL_AND_TIME:
        raise FormatError(TRUNCATED, "body", 0, f"{_SERIAL_AND_TIME} bytes or more", len(body))
    return int.from_bytes(body[:2]), _time(body[2:_SERIAL_AND_TIME], "time of sending", 2)


def write_report(report: StationReport) -> bytes:
    """Return the body of a report. LocalError: a field that the format cannot carry."""
    if len(report.station) != STATION_BYTES or len(report.station_class) != 1:
        raise LocalError(
            BAD_VALUE, "station", -1, "5 bytes and a letter", f"{report.station.hex()}"
        )
    parts = [
        write_serial(report.serial, report.sent),
        STATION_MARK,
        report.station,
        report.station_class.encode("ascii"),
    ]
    for observation in report.observations:
        at = observation.at.astimezone(BEIJING)
        parts += [_TIME_MARK, bytes.fromhex(at.strftime("%y%m%d%H%M"))]
        parts += [write_group(group) for group in observation.groups]
    return b"".join((*parts, *report.series))


def read_report(body: bytes, is_series: bool = False) -> StationReport:
    """Return the report in a body; ``is_series``: it is of function 31.

    FormatError: a mark that is missing, a time that is none, a group that ends behind the body.
    """
    serial, sent = read_serial(body)
    _expect_mark(body, _SERIAL_AND_TIME, STATION_MARK, "station")
    _expect_mark(body, _OBSERVED_AT, _TIME_MARK, "time of observation")
    if len(body) < _FIRST_GROUP:
        raise FormatError(TRUNCATED, "time of observation", _OBSERVED_AT, _FIRST_GROUP, len(body))
    station = body[_SERIAL_AND_TIME + 2 : _OBSERVED_AT - 1]
    station_class = body[_OBSERVED_AT - 1 : _OBSERVED_AT].decode("latin-1")
    observations: list[Observation] = []
    at, start = _OBSERVED_AT, _FIRST_GROUP
    series: tuple[bytes, ...] = ()
    while True:
        moment = _time(body[at + 2 : start], "time of observation", at + 2)
        end = len(body) if is_series else _next_time(body, start)
        groups, series = _groups(body[start:end], start, is_series)
        observations.append(Observation(moment, groups))
        if end == len(body):
            break
        at, start = end, end + 2 + _TIME_BYTES
    return StationReport(serial, sent, station, station_class, tuple(observations), series)


def _groups(
    data: bytes, offset: int, is_series: bool
) -> tuple[tuple[ElementGroup, ...], tuple[bytes, ...]]:
    if not is_series:
        return tuple(read_groups(data, offset)), ()
    groups: list[ElementGroup] = []
    used = 0
    # The time step and the element that repeats; what follows has no identifier any more.
    for group in read_groups(data, offset):
        groups.append(group)
        used += len(write_group(group))
        if len(groups) == 2:
            break
    rest, size = data[used:], len(groups[-1].data) if groups else 0
    if rest and (not size or len(rest) % size):
        raise FormatError(TRUNCATED, "series", offset + used, f"a multiple of {size}", len(rest))
    return tuple(groups), tuple(rest[at : at + size] for at in range(0, len(rest), size or 1))


def _next_time(body: bytes, start: int) -> int:
    """Return where the next time of observation begins, from group to group; else the end."""
    at = start
    while at < len(body):
        if body[at : at + 2] == _TIME_MARK and len(body) - at >= 2 + _TIME_BYTES:
            return at
        head = 3 if body[at] == EXTENDED else 2
        definition = body[at + head - 1 : at + head]
        at += head + (group_length(body[at], definition[0]) if definition else 0)
    return len(body)


def _expect_mark(body: bytes, at: int, mark: bytes, field: str) -> None:
    found = body[at : at + len(mark)]
    if found != mark:
        raise FormatError(
            BAD_VALUE, field, at, mark.hex().upper(), found.hex().upper() or "the end"
        )


def _time(data: bytes, field: str, offset: int) -> datetime:
    text = data.hex()
    form = "%y%m%d%H%M%S" if len(data) > _TIME_BYTES else "%y%m%d%H%M"
    try:
        if not text.isdecimal():
            raise ValueError
        return datetime.strptime(text, form).replace(tzinfo=BEIJING)
    except ValueError:
        raise FormatError(BAD_VALUE, field, offset, "a time in BCD", text.upper()) from None
