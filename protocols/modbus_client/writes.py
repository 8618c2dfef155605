"""Writes to third-party devices (Application Protocol V1.1b3, 6.5, 6.6, 6.11, 6.12, 6.16, 6.17).

Writes to nodes of ours are signed: :mod:`.signed_write`.
"""

import struct
from collections.abc import Sequence
from typing import Final

from protocols.wire.errors import BAD_VALUE, LocalError
from protocols.wire.modbus.pdu import READ_WRITE, WRITE_MANY, WRITE_ONE

from .request import (
    FIXED,
    MASK_WRITE,
    REGISTERS,
    WRITE_COIL,
    WRITE_COILS,
    AnswerShape,
    Request,
)

MAX_REGISTERS: Final = 121  # of FC 17, the fewest of all
_ON: Final = 0xFF00


def coil_request(unit: int, address: int, on: bool, answer_unit: int | None = None) -> Request:
    """Return the request (FC 05) that switches one coil."""
    return _fixed(unit, struct.pack(">BHH", WRITE_COIL, address, _ON if on else 0), answer_unit)


def coils_request(
    unit: int, address: int, on: Sequence[bool], answer_unit: int | None = None
) -> Request:
    """Return the request (FC 0F) that switches coils from ``address`` on."""
    bits = sum(1 << index for index, is_on in enumerate(on) if is_on)
    data = bits.to_bytes((len(on) + 7) // 8, "little")
    pdu = struct.pack(">BHHB", WRITE_COILS, address, len(on), len(data)) + data
    return _fixed(unit, pdu, answer_unit)


def register_request(
    unit: int, address: int, data: bytes, answer_unit: int | None = None
) -> Request:
    """Return the request (FC 06) that writes the two bytes of one register."""
    return _fixed(unit, struct.pack(">BH", WRITE_ONE, address) + data[:2], answer_unit)


def registers_request(
    unit: int, address: int, data: bytes, answer_unit: int | None = None
) -> Request:
    """Return the request (FC 10) that writes the bytes of registers. LocalError: too many."""
    words = _words(address, data)
    pdu = struct.pack(">BHHB", WRITE_MANY, address, words, len(data)) + data
    return _fixed(unit, pdu, answer_unit)


def mask_request(
    unit: int, address: int, keep: int, bits: int, answer_unit: int | None = None
) -> Request:
    """Return the request (FC 16) that keeps the bits ``keep`` of a register and sets ``bits``."""
    return _fixed(unit, struct.pack(">BHHH", MASK_WRITE, address, keep, bits), answer_unit)


def read_write_request(
    unit: int, address: int, data: bytes, answer_unit: int | None = None
) -> Request:
    """Return the request (FC 17) that writes registers and reads them. LocalError: too many."""
    words = _words(address, data)
    head = struct.pack(">BHHHHB", READ_WRITE, address, words, address, words, len(data))
    shape = AnswerShape(unit if answer_unit is None else answer_unit, READ_WRITE, len(data))
    return Request(shape, head + data, None, unit)


def _words(address: int, data: bytes) -> int:
    words = len(data) // 2
    if not 1 <= words <= MAX_REGISTERS or address + words > REGISTERS:
        expected = f"1 to {MAX_REGISTERS}, up to 65535"
        raise LocalError(BAD_VALUE, "registers of a write", -1, expected, f"{address} + {words}")
    return words


def _fixed(unit: int, pdu: bytes, answer_unit: int | None) -> Request:
    answers = unit if answer_unit is None else answer_unit
    return Request(AnswerShape(answers, pdu[0], FIXED), pdu, None, unit)
