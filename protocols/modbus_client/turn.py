"""One request through a running gateway: what the agent's socket and a tool on site both keep to.

The agent owns its lines, so a technician's tool asks it for a turn on one: a connection to the unix
domain socket ``SOCKET_NAME`` in its state directory carries one line of JSON each way,
:class:`TurnQuestion` and :class:`TurnAnswer`. Only the functions of nodes of ours are passed on.
"""

import struct
from typing import Final

from msgspec import Struct

from protocols.wire.errors import BAD_VALUE, PeerError
from protocols.wire.modbus.pdu import (
    ENCAPSULATED,
    MAX_READ,
    READ_DEVICE_ID,
    READ_HOLDING,
    READ_INPUT,
    READ_WRITE,
    WRITE_MANY,
)
from protocols.wire.registers import SIGNED_ADDRESS
from protocols.wire.site import BY_UID
from protocols.wire.uid import UID_BYTES

from .request import (
    FIXED,
    REGISTERS,
    AnswerShape,
    Read,
    Request,
    identify_request,
    read_request,
)

SOCKET_NAME: Final = "bus.sock"
MAX_QUESTION: Final = 1024
MAX_ANSWER: Final = 2048
ANSWER_S: Final = 20.0  # in which the agent answers, or is taken for dead
UNITS: Final = range(1, 248)  # never 0, which all units take and none answers

_MAX_WRITE: Final = 123  # registers, Application Protocol V1.1b3, 6.12
_MAX_READ_WRITE: Final = 121  # that are written while others are read, 6.17
_FUNCTIONS: Final = "read 03 or 04, write 10, read and write 17, or identification 2B 0E"


class TurnQuestion(Struct, frozen=True):
    """A request to one unit on a bus of the gateway.

    Without a PDU nothing is sent, and the answer has the speed of the bus.
    """

    bus: str
    unit: int = 0
    pdu: str = ""  # hex
    baudrate: int = 0  # 0: the speed of the bus


class TurnAnswer(Struct, frozen=True):
    """The answer of the unit, which may be an exception, or why there is none."""

    pdu: str = ""  # hex
    silence: str = ""  # it was asked, and no good answer came: the reason
    noise_bytes: int = 0  # that came in its place
    error: str = ""  # it was not asked: the reason
    baudrate: int = 0  # of the bus


def request_of(unit: int, pdu: bytes, answer_unit: int | None = None) -> Request:
    """Return the request with this PDU, checked whole. PeerError for any other than a node's.

    ``answer_unit``: see :func:`.request.read_request`.
    """
    if unit not in UNITS:
        raise PeerError(BAD_VALUE, "unit of a turn", -1, "1 to 247", unit)
    function = pdu[0] if pdu else -1
    if function in (READ_HOLDING, READ_INPUT) and len(pdu) == 5:
        _, address, words = struct.unpack(">BHH", pdu)
        _check("registers of a read", words, MAX_READ, address)
        return read_request(unit, Read(function, address, words), answer_unit)
    shape = AnswerShape(unit if answer_unit is None else answer_unit, function, FIXED)
    if function == WRITE_MANY and len(pdu) >= 6:
        _, address, words, size = struct.unpack_from(">BHHB", pdu)
        _check("registers of a write", words, _MAX_WRITE, address)
        _check_size(pdu, 6, words, size)
        return Request(shape, pdu, None, unit)
    if function == READ_WRITE and len(pdu) >= 10:
        _, first, wanted, address, words, size = struct.unpack_from(">BHHHHB", pdu)
        _check("registers of a read", wanted, MAX_READ, first)
        _check("registers of a write", words, _MAX_READ_WRITE, address)
        _check_size(pdu, 10, words, size)
        return Request(shape._replace(data_bytes=2 * wanted), pdu, None, unit)
    if function == ENCAPSULATED and len(pdu) == 4 and pdu[1] == READ_DEVICE_ID:
        request = identify_request(unit, pdu[2], pdu[3])
        return Request(request.shape._replace(unit=shape.unit), pdu, None, unit)
    raise PeerError(BAD_VALUE, "PDU of a turn", 0, _FUNCTIONS, pdu[:5].hex(" ") or "nothing")


def written(pdu: bytes) -> tuple[int, int] | None:
    """Return the first register that a checked PDU writes and how many; None if it only reads."""
    at = {WRITE_MANY: 1, READ_WRITE: 5}.get(pdu[0])
    if at is None:
        return None
    first, words = struct.unpack_from(">HH", pdu, at)
    return first, words


def is_write(question: TurnQuestion) -> bool:
    """Return whether a question writes, whatever else is wrong with it."""
    return question.pdu[:2] in (f"{WRITE_MANY:02x}", f"{READ_WRITE:02x}")


def signed_register(question: TurnQuestion) -> int | None:
    """Return the first register that a signed write means; None if the question is none."""
    try:
        pdu = bytes.fromhex(question.pdu)
        change = written(pdu)
    except (ValueError, IndexError, struct.error):
        return None
    begin = {SIGNED_ADDRESS: 0, BY_UID: UID_BYTES}.get(change[0]) if change is not None else None
    if begin is None:
        return None
    block = pdu[(6 if pdu[0] == WRITE_MANY else 10) + begin :]
    return int.from_bytes(block[8:10]) if len(block) >= 10 else None


def _check(what: str, words: int, most: int, address: int) -> None:
    if not 1 <= words <= most or address + words > REGISTERS:
        raise PeerError(BAD_VALUE, what, -1, f"1 to {most}, up to 65535", f"{address} + {words}")


def _check_size(pdu: bytes, begin: int, words: int, size: int) -> None:
    if size != 2 * words or len(pdu) != begin + size:
        raise PeerError(BAD_VALUE, "data of a write", begin, 2 * words, len(pdu) - begin)
