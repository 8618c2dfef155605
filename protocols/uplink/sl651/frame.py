"""Frames of SL 651 in HEX/BCD coding (SL 651-2014, section 6.2), as they stand on the line.

::

    7E7E | address 6 | password 2 | function 1 | direction and length 2 | start 1
         | [packets in all, number of this one: 3] | body | end 1 | CRC 2

The address is centre (1), station (5) upward, and station, centre downward. The length counts
what stands between start and end. The CRC is CRC-16/MODBUS over all bytes before it, with the high
byte first. Only the HEX/BCD coding is read here; the ASCII coding begins with 01.
"""

import re
from dataclasses import dataclass
from typing import Final

from protocols.uplink.errors import BAD_CHECKSUM, FormatError
from protocols.uplink.resync import FEW_DAMAGED, ResyncReader
from protocols.wire.crc import crc16
from protocols.wire.errors import BAD_VALUE, TRUNCATED, LocalError

HEAD: Final = b"\x7e\x7e"
# A frame, and "7E" behind it, and the next: 7E 7E7E. The head is the last two of the run.
_HEAD: Final = re.compile(HEAD + b"(?!\x7e)")
STATION_BYTES: Final = 5
#: The length has twelve bits.
MAX_BODY_BYTES: Final = 0xFFF
#: What a frame has beside its body.
FRAME_BYTES: Final = 17
_HEADER_BYTES: Final = 14  # up to and with the start character
_PACKET_BYTES: Final = 3

# Start of the body.
STX: Final = 0x02
SYN: Final = 0x16  # one of several packets (M3)
# End of a body that goes up.
ETX: Final = 0x03  # the last: the station may leave the line
ETB: Final = 0x17  # more follow
# End of a body that goes down.
ENQ: Final = 0x05  # the centre asks
ACK: Final = 0x06  # received, and more is expected
EOT: Final = 0x04  # received, the station may leave the line
NAK: Final = 0x15  # send the named packets again
ESC: Final = 0x1B  # received, the station stays on the line for 10 minutes

UPWARD_ENDS: Final = (ETX, ETB)
DOWNWARD_ENDS: Final = (ENQ, ACK, EOT, NAK, ESC)

_DOWN: Final = 0x8


@dataclass(frozen=True, slots=True)
class Sl651Frame:
    """One frame: its addresses, function and body.

    ``centre``: 1 to 255, 0 where a centre has none. ``station``: 5 bytes, of hydrology ``00`` and
    eight BCD digits. ``password``: two bytes. ``number`` and ``total``: which of how many packets,
    0 of 0 for a frame of its own. ``is_unmarked``: the frame goes down, as its end shows, but its
    sender left the direction at "up" (seen in implementations).
    """

    centre: int
    station: bytes
    password: bytes
    function: int
    body: bytes
    end: int
    is_down: bool = False
    number: int = 0
    total: int = 0
    is_unmarked: bool = False


def encode_frame(frame: Sl651Frame) -> bytes:
    """Return the bytes of a frame. LocalError: a field that the format cannot carry."""
    packet = b""
    if frame.total:
        if not 1 <= frame.number <= frame.total <= 0xFFF:
            raise LocalError(
                BAD_VALUE, "packet", -1, f"1 to {frame.total} of at most 4095", frame.number
            )
        packet = (frame.total << 12 | frame.number).to_bytes(_PACKET_BYTES)
    length = len(packet) + len(frame.body)
    ends = DOWNWARD_ENDS if frame.is_down else UPWARD_ENDS
    for field, is_right, expected, got in (
        ("centre", 0 <= frame.centre <= 0xFF, "0 to 255", frame.centre),
        ("station", len(frame.station) == STATION_BYTES, "5 bytes", len(frame.station)),
        ("password", len(frame.password) == 2, "2 bytes", len(frame.password)),
        ("function", 0 <= frame.function <= 0xFF, "0 to 255", frame.function),
        ("body", length <= MAX_BODY_BYTES, f"at most {MAX_BODY_BYTES} bytes", length),
        ("end", frame.end in ends, _characters(ends), f"{frame.end:02X}"),
    ):
        if not is_right:
            raise LocalError(BAD_VALUE, field, -1, expected, got)
    centre = bytes((frame.centre,))
    is_marked = frame.is_down and not frame.is_unmarked
    address = frame.station + centre if frame.is_down else centre + frame.station
    data = b"".join(
        (
            HEAD,
            address,
            frame.password,
            bytes((frame.function,)),
            (_DOWN * is_marked << 12 | length).to_bytes(2),
            bytes((SYN if packet else STX,)),
            packet,
            frame.body,
            bytes((frame.end,)),
        )
    )
    return data + crc16(data).to_bytes(2)


class Sl651Reader(ResyncReader[Sl651Frame]):
    """Cuts a stream of bytes into frames; out of step, it looks for the next 7E7E.

    A single 7E behind a frame, which some senders append, is no noise.
    """

    def next_frame(self) -> Sl651Frame | None:
        """See :class:`ResyncReader`."""
        buffer = self._buffer
        self._skip_to_head()
        if len(buffer) < _HEADER_BYTES:
            return None
        direction, length = buffer[11] >> 4, (buffer[11] & 0xF) << 8 | buffer[12]
        start = buffer[13]
        if direction not in (0, _DOWN):
            raise self._refused(BAD_VALUE, "direction", 11, "0 (up) or 8 (down)", f"{direction:X}")
        if start not in (STX, SYN):
            raise self._refused(BAD_VALUE, "start", 13, _characters((STX, SYN)), f"{start:02X}")
        if start == SYN and length < _PACKET_BYTES:
            raise self._refused(BAD_VALUE, "length", 11, f"{_PACKET_BYTES} or more", length)
        total_bytes = FRAME_BYTES + length
        if len(buffer) < total_bytes:
            return None
        end = buffer[total_bytes - 3]
        is_down = end in DOWNWARD_ENDS
        if end not in DOWNWARD_ENDS + UPWARD_ENDS or (direction == _DOWN and not is_down):
            ends = DOWNWARD_ENDS if direction == _DOWN else DOWNWARD_ENDS + UPWARD_ENDS
            raise self._refused(BAD_VALUE, "end", total_bytes - 3, _characters(ends), f"{end:02X}")
        if not self._budget.covers(total_bytes):
            self._drop(total_bytes)
            raise FormatError(BAD_CHECKSUM, "CRC", total_bytes - 2, FEW_DAMAGED, "more")
        data = bytes(buffer[:total_bytes])
        computed, received = crc16(data, total_bytes - 2), int.from_bytes(data[-2:])
        if computed != received:
            raise self._refused(
                BAD_CHECKSUM, "CRC", total_bytes - 2, f"{computed:04X}", f"{received:04X}"
            )
        total = number = 0
        body = data[_HEADER_BYTES:-3]
        if start == SYN:
            packet = int.from_bytes(body[:_PACKET_BYTES])
            total, number, body = packet >> 12, packet & 0xFFF, body[_PACKET_BYTES:]
            if not 1 <= number <= total:
                raise self._refused(BAD_VALUE, "packet", 14, f"1 to {total}", number)
        self._take(total_bytes)
        station, centre = (data[2:7], data[7]) if is_down else (data[3:8], data[2])
        is_unmarked = is_down and direction != _DOWN
        return Sl651Frame(
            centre, station, data[8:10], data[10], body, end, is_down, number, total, is_unmarked
        )

    def silence(self) -> FormatError | None:
        """Drop what is held, because nothing followed it; return what was missing of a frame."""
        held = len(self._buffer)
        self._take(held)
        if held <= 1:
            return None
        self.noise_bytes += held
        return FormatError(TRUNCATED, "frame", held, "the rest of it", "silence")

    def _skip_to_head(self) -> None:
        """Let go of what stands before the next 7E7E; a last 7E may be the first half of one."""
        buffer = self._buffer
        found = _HEAD.search(buffer)
        at = found.start() if found else len(buffer) - (buffer[-1:] == HEAD[:1])
        self.noise_bytes += at - (at == 1 and buffer[0] == HEAD[0])
        self._take(at)

    def _refused(
        self, code: int, field: str, offset: int, expected: str, got: object
    ) -> FormatError:
        self._drop(len(HEAD))
        return FormatError(code, field, offset, expected, got)


def _characters(values: tuple[int, ...]) -> str:
    return " or ".join(f"{value:02X}" for value in values)
