"""Takes all raw values of a poll out of the answers at once.

One ``struct`` call reads the numbers. Those whose bytes are in another order, or that share
registers, are put in order by one lookup of positions and read by a second call. Single bits are
read as the binary digits of one large number. So a value costs what an element of a tuple does.
"""

import struct
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import NamedTuple, TypeVar

T = TypeVar("T")

# From the digits of bin() to numbers.
_DIGITS = bytes.maketrans(b"01", b"\0\1")


class ByteSlot(NamedTuple):
    """The bytes of one raw value in the answers, joined: their positions and ``struct`` code.

    ``bit``: the slot is this bit of one byte (0 the lowest), and has no code.
    """

    positions: tuple[int, ...]
    code: str
    block: int
    bit: int = -1


class Unpacker:
    """Takes the raw values of all slots out of the joined answers."""

    def __init__(self, slots: Sequence[ByteSlot], length: int) -> None:
        straight, crooked = _sorted_out(slots)
        distinct = straight + crooked
        self._unpack = struct.Struct(_with_pads(straight, length)).unpack
        self._reorder: Callable[[bytes], tuple[int, ...]] | None = None
        if crooked:
            self._reorder = picker([at for slot in crooked for at in slot.positions])
            codes = "".join(slot.code for slot in crooked)
            self._unpack_crooked = struct.Struct(">" + codes).unpack
        of_bits = sorted({slot.positions[0] for slot in slots if slot.bit >= 0})
        self._bytes_of_bits: Callable[[bytes], tuple[int, ...]] | None = None
        if of_bits:
            self._bytes_of_bits = picker(of_bits)
        at = {slot: index for index, slot in enumerate(distinct)}
        for slot in slots:
            if slot.bit >= 0:  # the digits of each byte begin with the highest bit
                byte = of_bits.index(slot.positions[0])
                at[slot] = len(distinct) + 8 * byte + 7 - slot.bit
        indexes = [at[slot] for slot in slots]
        total = len(distinct) + 8 * len(of_bits)
        self._pick = None if indexes == list(range(total)) else picker(indexes)

    def values(self, data: bytes) -> tuple[object, ...]:
        """Return one raw value per slot."""
        raw: tuple[object, ...] = self._unpack(data)
        if self._reorder is not None:
            raw += self._unpack_crooked(bytes(self._reorder(data)))
        if self._bytes_of_bits is not None:
            digits = bin(int.from_bytes((1, *self._bytes_of_bits(data)), "big"))[3:]
            raw += tuple(digits.encode().translate(_DIGITS))
        return raw if self._pick is None else self._pick(raw)


def picker(indexes: Sequence[int]) -> Callable[[Sequence[T]], tuple[T, ...]]:
    """Return the function that takes these elements out of a sequence."""
    if len(indexes) == 1:
        (only,) = indexes
        return lambda items: (items[only],)
    return itemgetter(*indexes) if indexes else lambda _: ()


def _sorted_out(slots: Sequence[ByteSlot]) -> tuple[list[ByteSlot], list[ByteSlot]]:
    """Return the slots that one pass over the bytes can read, and those that it cannot."""
    straight: list[ByteSlot] = []
    crooked: list[ByteSlot] = []
    end = 0
    for slot in sorted({slot for slot in slots if slot.bit < 0}):
        first, size = slot.positions[0], len(slot.positions)
        if first >= end and slot.positions == tuple(range(first, first + size)):
            straight.append(slot)
            end = first + size
        else:
            crooked.append(slot)
    return straight, crooked


def _with_pads(slots: Sequence[ByteSlot], length: int) -> str:
    """Return the format that skips what is between the slots."""
    format, at = ">", 0
    for slot in slots:
        format += f"{slot.positions[0] - at}x{slot.code}"
        at = slot.positions[-1] + 1
    return f"{format}{length - at}x"
