"""The checksum of HJ 212, which is no CRC-16/MODBUS, and how to see which kind a sender used.

HJ 212-2017 annex A shifts the register right by eight *before* it takes the next byte, so the low
half of the register is lost each time: the state is eight bits, and only ``HJ_VALUES``, 256 of
65536 values, can come out. A received value outside them was made by another algorithm. Nothing
that matters may rest on this checksum: see the signed records.
"""

from enum import Enum
from typing import Final

from protocols.wire.crc import python_crc16

_POLY: Final = 0xA001
_START: Final = 0xFFFF


class ChecksumKind(Enum):
    """Which algorithm fills the last four digits of a frame."""

    HJ = "hj"  # annex A of HJ 212-2017
    MODBUS = "modbus"  # CRC-16/MODBUS: seen in implementations, in no text


def _after(state: int) -> int:
    for _ in range(8):
        state = (state >> 1) ^ _POLY if state & 1 else state >> 1
    return state


_TABLE: Final = tuple(_after(state) for state in range(256))
HJ_VALUES: Final = frozenset(_TABLE)


def hj_checksum(data: bytes) -> int:
    """Return the checksum of HJ 212-2017 annex A over ``data``."""
    table = _TABLE
    register = _START
    for byte in data:
        register = table[(register >> 8) ^ byte]
    return register


def checksum(data: bytes, kind: ChecksumKind) -> int:
    """Return the checksum of this kind over ``data``."""
    return hj_checksum(data) if kind is ChecksumKind.HJ else python_crc16(data)
