"""Somebody who hears a Modbus RTU line and takes no part: which frame is whose, without a master.

A request and its answer look alike on a line. What follows a request of the same unit and function
is its answer; everything else is tried as a request first.
"""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Final

from protocols.modbus_client.frames import (
    SHORTEST_FRAME,
    FrameContent,
    content_of,
    frame_length,
)
from protocols.wire.crc import crc16
from protocols.wire.modbus.adu import MAX_FRAME
from protocols.wire.modbus.pdu import EXCEPTION

MAX_HELD: Final = 2 * MAX_FRAME  # bytes that may become a frame; the oldest above are damaged
#: Adapters hand over what came up to 16 ms later, so a shorter silence ends nothing.
QUIET_MS: Final = 40


class Heard(StrEnum):
    """What a frame on the line is."""

    REQUEST = "request"
    ANSWER = "answer"
    EXCEPTION = "exception"
    DAMAGED = "damaged"  # its CRC is wrong, or it is no frame at all


@dataclass(frozen=True, slots=True)
class HeardFrame:
    """One frame. ``content`` is None of a damaged one; ``at_ms`` is when its end was heard."""

    at_ms: int
    kind: Heard
    data: bytes
    content: FrameContent | None = None

    def describe(self) -> str:
        """Return what it says in words."""
        if self.content is not None:
            return self.content.describe()
        return f"{len(self.data)} bytes, CRC wrong or no frame: {self.data[:12].hex(' ')}" + (
            " ..." if len(self.data) > 12 else ""
        )

    def to_dict(self) -> dict[str, object]:
        """Return a table for JSON: the bytes as hex, what the frame does not have left out."""
        fields: dict[str, object] = {
            "at_ms": self.at_ms,
            "kind": str(self.kind),
            "data": self.data.hex(),
            "crc_ok": self.content is not None,
        }
        if self.content is not None:
            fields |= asdict(self.content) | {"name": self.content.name}
        return {name: value for name, value in fields.items() if value is not None}


class BusListener:
    """Takes what comes and returns frames; memory is ``MAX_HELD`` bytes, whatever comes."""

    def __init__(self) -> None:
        self._held = b""
        self._asked: bytes | None = None  # the request whose answer has not come
        self._last_ms = 0

    def feed(self, data: bytes, now_ms: int) -> list[HeardFrame]:
        """Take bytes; return what is whole now. Without bytes it notices a silence."""
        found: list[HeardFrame] = []
        if now_ms - self._last_ms >= QUIET_MS:
            found += self._take(now_ms, silence=True)
        if data:
            self._last_ms = now_ms
            self._held += data
            found += self._take(now_ms, silence=False)
        return found

    def _take(self, now_ms: int, silence: bool) -> list[HeardFrame]:
        found: list[HeardFrame] = []
        start = 0
        while start < len(self._held):
            size, is_request = self._frame_at(start, silence)
            if not size:
                start += 1
                continue
            if start:
                found.append(self._damaged(start, now_ms))
            found.append(self._valid(size, is_request, now_ms))
            start = 0
        over = len(self._held) if silence else len(self._held) - MAX_HELD
        if over > 0:
            found.append(self._damaged(over, now_ms))
            self._asked = None
        return found

    def _frame_at(self, start: int, silence: bool) -> tuple[int, bool]:
        """Return the length of the valid frame that begins there and if it asks; 0: there is none.

        A frame of unknown length is known by the silences around it.
        """
        rest = self._held[start : start + MAX_FRAME]
        if len(rest) < SHORTEST_FRAME:
            return 0, False
        asked = self._asked
        answers = asked is not None and (rest[0], rest[1] & ~EXCEPTION) == (asked[0], asked[1])
        for is_request in (False, True) if answers else (True, False):
            size = frame_length(rest, is_request)
            if size and crc16(rest[:size]) == 0:
                return size, is_request
        if silence and start == 0 and rest == self._held and crc16(rest) == 0:
            return len(rest), not answers
        return 0, False

    def _valid(self, size: int, is_request: bool, now_ms: int) -> HeardFrame:
        data, self._held = self._held[:size], self._held[size:]
        self._asked = data if is_request and data[0] else None  # nobody answers unit 0
        content = content_of(data, is_request)
        kind = Heard.REQUEST if is_request else Heard.ANSWER
        if content.exception is not None:
            kind = Heard.EXCEPTION
        return HeardFrame(now_ms, kind, data, content)

    def _damaged(self, size: int, now_ms: int) -> HeardFrame:
        data, self._held = self._held[:size], self._held[size:]
        return HeardFrame(now_ms, Heard.DAMAGED, data)
