"""Frames of SL 427-2021 and SZY206-2016, the protocols of water resources monitoring.

From implementations, not from the text. ::

    68 | length 1 | 68 | control 1 | address 5 | function (AFN) 1 | data | CRC-8 | 16

The length counts from control to the end of data. The CRC-8 has the polynomial E5, starts at 0 and
goes over the same bytes. Numbers are BCD with the low byte first.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from protocols.uplink.errors import BAD_CHECKSUM, FormatError
from protocols.uplink.resync import FEW_DAMAGED, ResyncReader
from protocols.wire.errors import BAD_VALUE, TRUNCATED, LocalError

START: Final = 0x68
END: Final = 0x16
_POLYNOMIAL: Final = 0xE5
_ENVELOPE: Final = 5  # 68 L 68 in front, CRC and 16 behind
_SHORTEST: Final = 7  # control, address, function
MAX_DATA_BYTES: Final = 0xFF - _SHORTEST
_LONGEST: Final = 0xFF + _ENVELOPE

# Functions (AFN).
LINK: Final = 0x02
NOW: Final = 0xB0  # the centre asks for what is measured now, and the answer
SELF_REPORT: Final = 0xC0
ALARM: Final = 0x81
#: What sets something in a station: 10 to 4F.
SETTING: Final = range(0x10, 0x50)

_UP: Final = 0x80
_KIND: Final = 0x0F


@dataclass(frozen=True, slots=True)
class Quantity:
    """What the low four bits of the control byte say a report holds: numbers of this form."""

    kind: int
    name: str
    unit: str
    size: int
    decimals: int


QUANTITIES: Final = {
    row.kind: row
    for row in (
        Quantity(1, "rain", "mm", 3, 1),
        Quantity(2, "level", "m", 4, 3),
        Quantity(3, "flow", "m3/s", 5, 3),
        Quantity(4, "speed", "m/s", 3, 3),
    )
}
_SIGN: Final = 0xF  # high digit of a negative number


@dataclass(frozen=True, slots=True)
class Sl427Frame:
    """One frame. ``control``: bit 7 up, bits 3 to 0 the kind of data; ``address``: five bytes."""

    control: int
    address: bytes
    function: int
    data: bytes

    @property
    def is_up(self) -> bool:
        """Whether it goes from a station to its centre."""
        return bool(self.control & _UP)


def _row(crc: int) -> int:
    for _ in range(8):
        crc = (crc << 1 ^ _POLYNOMIAL) & 0xFF if crc & 0x80 else crc << 1
    return crc


_TABLE: Final = bytes(map(_row, range(256)))


def crc8(data: bytes) -> int:
    """Return the CRC-8: polynomial E5, start 0, highest bit first; F7 for ``123456789``."""
    crc = 0
    for byte in data:
        crc = _TABLE[crc ^ byte]
    return crc


def encode_sl427(frame: Sl427Frame) -> bytes:
    """Return the bytes of a frame. LocalError: a field that the format cannot carry."""
    if len(frame.address) != 5 or len(frame.data) > MAX_DATA_BYTES:
        expected = f"5 bytes and at most {MAX_DATA_BYTES}"
        got = f"{len(frame.address)} and {len(frame.data)}"
        raise LocalError(BAD_VALUE, "address and data", -1, expected, got)
    inner = bytes((frame.control,)) + frame.address + bytes((frame.function,)) + frame.data
    return bytes((START, len(inner), START)) + inner + bytes((crc8(inner), END))


class Sl427Reader(ResyncReader[Sl427Frame]):
    """Cuts a stream of bytes into frames; out of step, it looks for the next 68 L 68."""

    def next_frame(self) -> Sl427Frame | None:
        """See :class:`ResyncReader`. Starts right behind one that is none are none with it."""
        buffer = self._buffer
        at = buffer.find(START)
        self._drop(at if at >= 0 else len(buffer))
        if self._is_none(0):
            got = buffer[:3].hex(" ").upper()
            most = min(len(buffer), _LONGEST)
            self._drop(next((at for at in range(1, most) if not self._is_none(at)), most))
            raise FormatError(BAD_VALUE, "frame", 0, "68 length 68, and 16 where it ends", got)
        if len(buffer) < 3 or len(buffer) < (size := buffer[1] + _ENVELOPE):
            return None
        inner, crc = bytes(buffer[3 : size - 2]), buffer[size - 2]
        if not self._budget.covers(len(inner)):
            self._drop(size)
            raise FormatError(BAD_CHECKSUM, "CRC", size - 2, FEW_DAMAGED, "more")
        computed = crc8(inner)
        if crc != computed:
            self._drop(1)
            raise FormatError(BAD_CHECKSUM, "CRC", size - 2, f"{computed:02X}", f"{crc:02X}")
        self._take(size)
        return Sl427Frame(inner[0], inner[1:6], inner[6], inner[7:])

    def _is_none(self, at: int) -> bool:
        """Return whether no frame begins there, which shows without its CRC."""
        buffer, held = self._buffer, len(self._buffer) - at
        if held < 3:
            return held > 0 and buffer[at] != START
        length = buffer[at + 1]
        if buffer[at] != START or buffer[at + 2] != START or length < _SHORTEST:
            return True
        return held >= length + _ENVELOPE and buffer[at + length + _ENVELOPE - 1] != END


def address_of(county: str, station: int) -> bytes:
    """Return the address: six digits of the county (GB/T 2260), and the number of the station.

    LocalError: a county that is not six digits, a station outside 1 to 60000.
    """
    if len(county) != 6 or not county.isdecimal() or not 1 <= station <= 60000:
        expected = "six digits, and 1 to 60000"
        raise LocalError(BAD_VALUE, "address", -1, expected, f"{county!r}, {station}")
    return bytes.fromhex(county) + station.to_bytes(2, "little")


def read_number(frame: Sl427Frame) -> tuple[Quantity, Decimal, bytes]:
    """Return what a report holds: its quantity, the first number, and the bytes behind it.

    Behind it stand totals, alarms (2 bytes) and state (2 bytes); which of them differs from
    implementation to implementation. FormatError: a quantity that is not read here, too few bytes,
    digits that are none.
    """
    quantity = QUANTITIES.get(frame.control & _KIND)
    if quantity is None:
        known = ", ".join(f"{kind:X}" for kind in QUANTITIES)
        raise FormatError(BAD_VALUE, "kind", 0, known, f"{frame.control & _KIND:X}")
    if len(frame.data) < quantity.size:
        raise FormatError(TRUNCATED, quantity.name, 7, f"{quantity.size} bytes", len(frame.data))
    data = frame.data[: quantity.size]
    text = data[::-1].hex()
    is_negative = text[0] == f"{_SIGN:x}"
    digits = text[is_negative:]
    if not digits.isdecimal():
        raise FormatError(BAD_VALUE, quantity.name, 7, "BCD digits", data.hex().upper())
    number = Decimal(digits).scaleb(-quantity.decimals)
    return quantity, -number if is_negative else number, frame.data[quantity.size :]


def write_number(quantity: Quantity, value: Decimal) -> bytes:
    """Return a number as a report holds it. LocalError: more digits than it has room for."""
    number = int(value.scaleb(quantity.decimals).to_integral_value())
    digits = f"{abs(number):0{2 * quantity.size}d}"
    if len(digits) > 2 * quantity.size or (number < 0 and digits[0] != "0"):
        raise LocalError(BAD_VALUE, quantity.name, -1, f"{quantity.size} bytes", str(value))
    data = bytearray(bytes.fromhex(digits)[::-1])
    if number < 0:
        data[-1] |= _SIGN << 4
    return bytes(data)
