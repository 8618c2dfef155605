"""What a centre asks of a station (M4), and the bodies that answer it (SL 651-2014, 6.6.4).

A request that is not valid gets no answer (6.3.1.2 d), so a reader here raises FormatError and a
station stays silent. Clauses, and tables C.3, D.1 and D.4, are those of the approval draft.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from enum import IntEnum
from typing import Final, NamedTuple

from protocols.uplink.beijing import BEIJING
from protocols.uplink.errors import FormatError
from protocols.wire.errors import BAD_VALUE, TRUNCATED

from .elements import (
    ELEMENTS,
    EXTENDED,
    ElementGroup,
    number_group,
    write_group,
)
from .report import STATION_MARK


class StationFunction(IntEnum):
    """Functions of annex B that a centre asks a station for, with the clauses of their bodies."""

    PICTURE = 0x36  # 6.6.4.9
    REAL_TIME = 0x37  # 6.6.4.10
    PERIOD = 0x38  # 6.6.4.11
    ELEMENTS_NOW = 0x3A  # 6.6.4.13
    SET_BASIC = 0x40  # 6.6.4.14
    READ_BASIC = 0x41  # 6.6.4.15
    SET_RUNNING = 0x42  # 6.6.4.16
    READ_RUNNING = 0x43  # 6.6.4.17
    VERSION = 0x45  # 6.6.4.19
    STATE = 0x46  # 6.6.4.20
    SET_CLOCK = 0x4A  # 6.6.4.24
    EVENTS = 0x50  # 6.6.4.30
    CLOCK = 0x51  # 6.6.4.31


#: What a centre wants changed, switched or erased (annex B).
CHANGING_FUNCTIONS: Final = frozenset(
    (
        StationFunction.SET_BASIC,
        StationFunction.SET_RUNNING,
        StationFunction.SET_CLOCK,
        *(0x47, 0x48, 0x49, 0x4B, 0x4C, 0x4D, 0x4E, 0x4F),
    )
)


class StationParameter(IntEnum):
    """Parameters of tables D.1 and D.4 that a station here has."""

    CENTRES = 0x01
    ADDRESS = 0x02
    WORD = 0x03
    WAY_OF_WORK = 0x0C
    REPORT_HOURS = 0x20
    SAMPLING_S = 0x23


class StationCount(IntEnum):
    """Events of table 82 that a station here counts, by their number there, 1 to 32."""

    SENT = 16
    RECEIVED = 17
    NOT_SENT = 18


_EVENTS: Final = 32

_STEP: Final = 0x04
_STEP_DEFINITION: Final = 0x18
_STATE: Final = 0x45
_PICTURE_MARK: Final = b"\xf3\xf3"
_HOUR_BYTES: Final = 4
_STEP_BYTES: Final = 3
_CENTRES_HELD: Final = 4
#: Most values of one series: 31 days of five minutes.
MAX_SERIES: Final = 8928


class PeriodQuestion(NamedTuple):
    """Which values of one element are asked for: one at each ``step`` from ``begin`` on."""

    begin: datetime
    end: datetime
    step: timedelta
    identifier: int


def read_period_question(body: bytes) -> PeriodQuestion:
    """Read what stands behind serial and time of a question 38 (table 44). FormatError."""
    needs = 2 * _HOUR_BYTES + 2 + _STEP_BYTES + 1
    if len(body) < needs:
        raise FormatError(TRUNCATED, "period", 8, f"{needs} bytes or more", len(body))
    begin, end = _hour(body[:4], 8), _hour(body[4:8], 12)
    if body[8:10] != bytes((_STEP, _STEP_DEFINITION)):
        raise FormatError(BAD_VALUE, "time step", 16, "0418", body[8:10].hex().upper())
    step = _step(body[10:13])
    if end < begin:
        raise FormatError(BAD_VALUE, "end", 12, f"{begin:%y%m%d%H} or later", f"{end:%y%m%d%H}")
    found = read_identifiers(body[13:])
    if len(found) != 1:
        raise FormatError(BAD_VALUE, "elements", 21, "one in HEX/BCD coding", len(found))
    return PeriodQuestion(begin, end, step, found[0])


def _hour(data: bytes, offset: int) -> datetime:
    text = data.hex()
    try:
        if not text.isdecimal():
            raise ValueError
        return datetime.strptime(text, "%y%m%d%H").replace(tzinfo=BEIJING)
    except ValueError:
        raise FormatError(BAD_VALUE, "time", offset, "YYMMDDHH in BCD", text.upper()) from None


def _step(data: bytes) -> timedelta:
    """Read days, hours and minutes (table C.3); one of them is not 0."""
    text = data.hex()
    if text.isdecimal():
        days, hours, minutes = (int(text[at : at + 2]) for at in (0, 2, 4))
        step = timedelta(days=days, hours=hours, minutes=minutes)
        if step:
            return step
    raise FormatError(BAD_VALUE, "time step", 18, "DDHHMM in BCD above 0", text.upper())


def read_identifiers(body: bytes) -> tuple[int, ...]:
    """Read the identifiers that a question names (tables 48 and 52), each once.

    An identifier has two bytes, the second of which defines the data (6.6.3.2). Centres are seen
    that send the first alone; where all bytes cannot be pairs, each is read as one. FormatError:
    nothing is named.
    """
    pairs: list[int] = []
    at = 0
    while at < len(body):
        size = 2 if body[at] == EXTENDED else 1
        identifier = int.from_bytes(body[at : at + size])
        at += size
        if not _is_definition_of(identifier, body[at : at + 1]):
            return _alone(body)
        pairs.append(identifier)
        at += 1
    return _some(pairs)


def _is_definition_of(identifier: int, data: bytes) -> bool:
    """Whether a byte defines data as an identifier has it, of an element or a parameter."""
    if not data:
        return False
    element = ELEMENTS.get(identifier)
    definitions = {_PARAMETERS[identifier]} if identifier in _PARAMETERS else set()
    if element is not None:
        definitions.add((element.digits + 1) // 2 << 3 | element.decimals)
    return data[0] in definitions or not definitions


def _alone(body: bytes) -> tuple[int, ...]:
    found: list[int] = []
    at = 0
    while at < len(body):
        size = 2 if body[at] == EXTENDED else 1
        found.append(int.from_bytes(body[at : at + size]))
        at += size
    return _some(found)


def _some(found: list[int]) -> tuple[int, ...]:
    if not found:
        raise FormatError(TRUNCATED, "identifiers", 8, "one or more", 0)
    return tuple(dict.fromkeys(found))


_PARAMETERS: Final[dict[int, int]] = {
    StationParameter.CENTRES: _CENTRES_HELD << 3,
    StationParameter.ADDRESS: 5 << 3,
    StationParameter.WORD: 2 << 3,
    StationParameter.WAY_OF_WORK: 1 << 3,
    StationParameter.REPORT_HOURS: 1 << 3,
    StationParameter.SAMPLING_S: 2 << 3,
}


def read_sampling(body: bytes) -> int:
    """Read from what is behind serial and time of 42 how many seconds are between two samples.

    FormatError: it sets something else, or something else too.
    """
    head = bytes((StationParameter.SAMPLING_S, _PARAMETERS[StationParameter.SAMPLING_S]))
    digits = body[2:].hex()
    if body[:2] != head or len(body) != 4 or not digits.isdecimal() or not int(digits):
        got = body[:8].hex().upper()
        raise FormatError(BAD_VALUE, "parameter", 8, "2310 and 1 to 9999 s in BCD", got)
    return int(digits)


def parameter(identifier: int, data: bytes) -> ElementGroup:
    """Return a parameter of the station as a group."""
    return ElementGroup(identifier, _PARAMETERS[identifier], data)


def parameters_body(station: bytes, parameters: Iterable[ElementGroup]) -> bytes:
    """Return what answers 41 and 43, or 40 and 42 when it was changed (tables 51 and 53)."""
    return STATION_MARK + station + b"".join(write_group(group) for group in parameters)


def version_body(station: bytes, version: str) -> bytes:
    """Return what answers 45 (table 57)."""
    text = version.encode("ascii", "replace")[:255]
    return STATION_MARK + station + bytes((len(text),)) + text


def state_body(station: bytes, bits: int) -> bytes:
    """Return what answers 46: 32 bits of table 58 (table 60)."""
    return STATION_MARK + station + bytes((_STATE, 4 << 3)) + bits.to_bytes(4)


def events_body(station: bytes, counts: Mapping[int, int]) -> bytes:
    """Return what answers 50: how often each event of table 82 was, 65535 at most (table 84)."""
    numbers = (min(counts.get(event, 0), 0xFFFF) for event in range(1, _EVENTS + 1))
    return STATION_MARK + station + b"".join(number.to_bytes(2) for number in numbers)


def picture_body(station: bytes, station_class: str, at: datetime, picture: bytes) -> bytes:
    """Return a picture behind serial and time, reported or asked for (table 40)."""
    seen = bytes.fromhex(at.astimezone(BEIJING).strftime("%y%m%d%H%M"))
    head = STATION_MARK + station + station_class.encode("ascii") + b"\xf0\xf0" + seen
    return head + _PICTURE_MARK + picture


def series_groups(
    identifier: int, step: timedelta, values: Sequence[Decimal | None]
) -> tuple[tuple[ElementGroup, ...], tuple[bytes, ...]]:
    """Return the groups of a series and the data that follows them (6.6.4.4 c and d).

    All data has the length of the longest; a value that is missing is FF in every byte.
    LocalError: an element that holds no number, or a value that it has no room for.
    """
    minutes = int(step.total_seconds()) // 60
    digits = f"{minutes // 1440:02}{minutes // 60 % 24:02}{minutes % 60:02}"
    groups = [number_group(identifier, value) for value in values]
    size = max(len(group.data) for group in groups)
    data = tuple(
        group.data.rjust(size, b"\xff" if value is None else b"\0")
        if value is None or value >= 0
        else b"\xff" + group.data[1:].rjust(size - 1, b"\0")
        for value, group in zip(values, groups, strict=True)
    )
    first = ElementGroup(identifier, size << 3 | groups[0].decimals, data[0])
    return (ElementGroup(_STEP, _STEP_DEFINITION, bytes.fromhex(digits)), first), data[1:]
