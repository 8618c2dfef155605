"""The data of a self-report (C0) and of an answer (B0) of SL 427; from implementations.

::

    number | of flow: total 5 | alarms 2 | state 2 | time

Numbers are BCD with the low byte first, AA in every byte where nothing was measured. Alarms and
state have the low byte first. The time is second, minute, hour, day, month, year in BCD and the
minutes that the report may be on its way, 0 for any (SL 427-2021); SZY206-2016 has no month and no
year there.
"""

from datetime import datetime
from decimal import Decimal
from enum import IntFlag
from typing import Final

from protocols.uplink.beijing import BEIJING
from protocols.wire.errors import BAD_VALUE, LocalError

from .frame import QUANTITIES, Quantity, write_number

_MISSING: Final = b"\xaa"
_FLOW: Final = 3
_TOTAL_BYTES: Final = 5
#: Length of the time in SL 427-2021 and in SZY206-2016 (from implementations).
TIME_BYTES: Final = (7, 5)


class Alarms(IntFlag):
    """Alarms that a station here has; a pump that stands still, where there is none."""

    FLOW_METER = 1 << 5
    PUMP_STOPPED = 1 << 6
    LEVEL_METER = 1 << 7


def state_bits(is_confirmed: bool) -> int:
    """Return the state: self-report (0) or with confirmation (1), pump off, door closed."""
    return int(is_confirmed) | 1 << 4 | 1 << 5


def now_data(quantity: Quantity, value: Decimal | None) -> bytes:
    """Return what answers B0: the number, of flow with its total, which is not measured."""
    number = _MISSING * quantity.size if value is None else write_number(quantity, value)
    return number + (_MISSING * _TOTAL_BYTES if quantity.kind == _FLOW else b"")


def report_data(
    quantity: Quantity,
    value: Decimal | None,
    alarms: Alarms,
    state: int,
    at: datetime,
    time_bytes: int,
) -> bytes:
    """Return the data of a self-report. LocalError: a number or a time with no room for it."""
    if time_bytes not in TIME_BYTES or quantity.kind not in QUANTITIES:
        raise LocalError(BAD_VALUE, "time", -1, "7 or 5 bytes", time_bytes)
    form = "%S%M%H%d%m%y" if time_bytes == 7 else "%S%M%H%d"
    moment = bytes.fromhex(at.astimezone(BEIJING).strftime(form)) + b"\0"
    bits = int(alarms).to_bytes(2, "little") + state.to_bytes(2, "little")
    return now_data(quantity, value) + bits + moment
