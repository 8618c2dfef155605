"""The calibration that a technician left in a node, as a record of the stream.

The node's event ``calibration`` has the point; lots, day, hand and coefficients are in registers of
the node (:mod:`protocols.wire.site`). They are read before the event counts as read, so that one is
never in the stream without the other. The event is sealed by the node, the registers are not: what
they hold is as good as the line, and the coefficients show in the samples from then on.
"""

import datetime as dt
import struct
from collections.abc import Iterable, Sequence
from typing import Final

from gateway_agent.config import Device
from protocols.modbus_client import Read, read_request
from protocols.text_of_others import printable
from protocols.uplink import Action
from protocols.wire.errors import PeerError
from protocols.wire.modbus.pdu import READ_HOLDING
from protocols.wire.registers import EVENT_CALIBRATION, Point
from protocols.wire.sample import Event, decode_events
from protocols.wire.site import NO_SETTING, RECORD, RECORD_POINTS, RECORD_WORDS, TEXT_BYTES

from .bus_errors import RefusedError
from .master import Master

_STORED: Final = 2  # what an event says of its point: the record is in the node
_EPOCH: Final = dt.date(1970, 1, 1)
_NUMBERS: Final = struct.Struct(">7H")


class CalibrationReader:
    """Reads the records of calibrations of one node, whose map has ``points``."""

    def __init__(self, device: Device, points: Sequence[Point]) -> None:
        self._device = device
        self._points = points

    async def read(self, master: Master, frame: bytes, event_seq: int) -> dict[int, Action]:
        """Return what was done, by number of the event, for those above ``event_seq``.

        ``frame``: an event frame, its tag not checked. BusError: it is to be asked for again.
        """
        try:
            _, events = decode_events(frame)
        except PeerError:
            return {}
        done: dict[int, Action] = {}
        for event in events:
            if event.number > event_seq and _is_stored(event):
                done[event.number] = await self._one(master, event.arg >> 8)
        return done

    async def _one(self, master: Master, index: int) -> Action:
        known = index < len(self._points)
        name = self._points[index].name if known else f"point {index}"
        request = read_request(
            self._device.unit,
            Read(READ_HOLDING, RECORD + min(index, RECORD_POINTS - 1), RECORD_WORDS),
            self._device.answer_unit,
        )
        try:
            content = await master.read(request)
        except RefusedError as error:
            if error.is_busy or error.is_silence:
                raise
            detail = f"{name}: the node does not show its record: {error.detail}"
            return Action("calibration", "", index, detail)
        scale = 10.0 ** self._points[index].exp10 if known else 1.0
        return _action(name, index, scale, content)


def new_actions(done: dict[int, Action], events: Iterable[Event]) -> list[Action]:
    """Return what was done in those events that were taken, their tag having been checked."""
    return [done[event.number] for event in events if event.number in done]


def _is_stored(event: Event) -> bool:
    return event.code == EVENT_CALIBRATION and event.arg & 0xFF == _STORED


def _action(name: str, index: int, scale: float, content: bytes) -> Action:
    first, days, *coefficients, slope = _NUMBERS.unpack_from(content)
    begin = _NUMBERS.size
    texts = [
        printable(content[at : at + TEXT_BYTES].rstrip(b"\0").decode("latin-1"))
        for at in range(begin, begin + 3 * TEXT_BYTES, TEXT_BYTES)
    ]
    day = (_EPOCH + dt.timedelta(days=days)).isoformat()
    if first == NO_SETTING:
        distance, level, zero, _ = coefficients
        what = f"distance {distance} at level {level}: zero {zero}; gauge {texts[0]}"
    else:
        pairs = zip(coefficients[::2], coefficients[1::2], texts[:2], strict=True)
        what = ", ".join(f"{value * scale:g} = raw {raw} (lot {lot})" for raw, value, lot in pairs)
        what += f"; slope {slope / 10:g} %"
    return Action("calibration", texts[2], index, f"{name} on {day}: {what}")
