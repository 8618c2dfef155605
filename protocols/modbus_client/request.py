"""Requests of a Modbus client, encoded, and how their answers differ from others.

Modbus Application Protocol V1.1b3, sections 6.1 to 6.4 and 6.21; RTU frames after Modbus over
Serial Line V1.02, section 2.5.1.
"""

import struct
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from protocols.wire.crc import crc16
from protocols.wire.errors import BAD_VALUE, LocalError
from protocols.wire.modbus.pdu import (
    ENCAPSULATED,
    EXCEPTION,
    MAX_READ,
    READ_DEVICE_ID,
    READ_HOLDING,
    READ_INPUT,
)

#: Values of ``AnswerShape.data_bytes`` that are no number of bytes.
VARIABLE: Final = -1  # the length of the answer stands in the answer
LATE: Final = -2  # the answer has the transaction id of an earlier request
WRONG_ID: Final = -4  # the answer has a transaction id that no request had
FIXED: Final = -3  # the answer repeats function, address and quantity of the request (a write)

# Functions that read bits; no node serves them.
READ_COILS: Final = 0x01
READ_DISCRETE: Final = 0x02
BIT_FUNCTIONS: Final = (READ_COILS, READ_DISCRETE)
READ_FUNCTIONS: Final = (READ_HOLDING, READ_INPUT, *BIT_FUNCTIONS)  # answers have a byte count
MAX_READ_BITS: Final = 2000  # coils in one answer (section 6.1)

# Functions that only third-party devices have (6.5, 6.11, 6.16).
WRITE_COIL: Final = 0x05
WRITE_COILS: Final = 0x0F
MASK_WRITE: Final = 0x16

REGISTERS: Final = 65536  # of one table of a device
REPEATED: Final = 6  # bytes of a repeated request: unit, function, address, quantity
_REPEATED_MASK: Final = 8  # of FC 16: both masks


class Read(NamedTuple):
    """What one read request asks for: ``words`` registers from ``address`` on.

    ``function`` is READ_HOLDING or READ_INPUT; with READ_COILS and READ_DISCRETE ``words`` counts
    bits.
    """

    function: int
    address: int
    words: int

    @property
    def data_bytes(self) -> int:
        """Return how many bytes of data the answer has."""
        return (self.words + 7) // 8 if self.function in BIT_FUNCTIONS else 2 * self.words

    def sized(self, data_bytes: int) -> "Read":
        """Return the read from the same address whose answer has ``data_bytes`` bytes of data."""
        bits = self.function in BIT_FUNCTIONS
        return self._replace(words=8 * data_bytes if bits else data_bytes // 2)


class AnswerShape(NamedTuple):
    """What tells one answer from another on a serial line: unit, function, bytes of data."""

    unit: int
    function: int
    data_bytes: int


@dataclass(frozen=True, slots=True)
class Request:
    """One request, encoded once and sent many times.

    ``pdu`` is function and data, ``adu`` the RTU frame around it. ``read`` is what it reads, None
    for a request that reads no registers.
    """

    shape: AnswerShape  # of its answer
    pdu: bytes
    read: Read | None
    asked: int = -1  # the unit that is asked, where the answers come from another one
    adu: bytes = field(init=False)
    header: bytes = field(init=False)  # how its answer begins in RTU
    refusal: bytes = field(init=False)  # how an exception answer begins

    def __post_init__(self) -> None:
        unit, function, data_bytes = self.shape
        if self.asked < 0:
            object.__setattr__(self, "asked", unit)
        frame = bytes((self.asked,)) + self.pdu
        object.__setattr__(self, "adu", frame + crc16(frame).to_bytes(2, "little"))
        header = bytes((unit,)) + frame[1 : _REPEATED_MASK if function == MASK_WRITE else REPEATED]
        if data_bytes != FIXED:
            third = READ_DEVICE_ID if data_bytes == VARIABLE else data_bytes
            header = bytes((unit, function, third))
        object.__setattr__(self, "header", header)
        object.__setattr__(self, "refusal", bytes((unit, function | EXCEPTION)))


def read_request(unit: int, read: Read, answer_unit: int | None = None) -> Request:
    """Return the request for registers, coils or discrete inputs of ``unit``.

    ``answer_unit``: its answers carry this unit instead, as some gateway boxes have it.
    LocalError for a function that reads none of them, for less than 1 or more than 125 registers
    (2,000 coils), and for addresses beyond 65,535.
    """
    function, address, words = read
    if function not in READ_FUNCTIONS:
        raise LocalError(BAD_VALUE, "function of a read", -1, "1 to 4", function)
    most = MAX_READ_BITS if function in BIT_FUNCTIONS else MAX_READ
    if not 1 <= words <= most:
        raise LocalError(BAD_VALUE, "registers of a read", -1, f"1 to {most}", words)
    if not 0 <= address <= REGISTERS - words:
        expected = f"0 to {REGISTERS - words} for {words} registers"
        raise LocalError(BAD_VALUE, "address of a read", -1, expected, address)
    shape = AnswerShape(unit if answer_unit is None else answer_unit, function, read.data_bytes)
    return Request(shape, struct.pack(">BHH", function, address, words), read, unit)


def asked_for(frame: bytes | bytearray) -> AnswerShape | None:
    """Return the answer that a read request asks for: unit, function, address, quantity.

    None for bytes that are no such request.
    """
    if len(frame) < REPEATED or frame[1] not in READ_FUNCTIONS:
        return None
    quantity = frame[4] << 8 | frame[5]
    if not 1 <= quantity <= (MAX_READ_BITS if frame[1] in BIT_FUNCTIONS else MAX_READ):
        return None
    return AnswerShape(frame[0], frame[1], Read(frame[1], 0, quantity).data_bytes)


def identify_request(unit: int, access: int, object_id: int) -> Request:
    """Return the request for the device identification (function 2B/0E) from ``object_id`` on.

    ``access``: 1 basic, 2 regular, 3 extended, 4 one object.
    """
    pdu = bytes((ENCAPSULATED, READ_DEVICE_ID, access, object_id))
    return Request(AnswerShape(unit, ENCAPSULATED, VARIABLE), pdu, None)
