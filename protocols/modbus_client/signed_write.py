"""Writes of registers, plain and signed with a node's key: what the node's own check reads back.

The node's half, with the layout and its reasons, is :mod:`protocols.wire.signed_write`.
"""

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from protocols.wire.errors import BAD_VALUE, LocalError
from protocols.wire.hmac import HmacSha256
from protocols.wire.modbus.pdu import READ_WRITE, WRITE_MANY
from protocols.wire.registers import SIGNED_ADDRESS, SITE_ADDRESS, SITE_END
from protocols.wire.sample import TAG_BYTES
from protocols.wire.signed_write import MAX_VALUES, tag
from protocols.wire.site import BY_UID, SELECT, SELECT_WORDS

from .request import FIXED, AnswerShape, Request

_MAX_WORDS: Final = 123  # Application Protocol V1.1b3, section 6.12
_MAX_SITE: Final = 100


class WriteCounter(NamedTuple):
    """The counter of the next signed write, as a node shows it at WRITE_COUNTER_ADDRESS."""

    boot_epoch: int
    number: int


def write_request(unit: int, register: int, values: Sequence[int]) -> Request:
    """Return the request (FC 10) that writes ``values`` from ``register`` on.

    LocalError for less than 1 or more than 123 values, or one that is no u16.
    """
    data = _packed(values, _MAX_WORDS)
    pdu = struct.pack(">BHHB", WRITE_MANY, register, len(values), len(data)) + data
    return Request(AnswerShape(unit, WRITE_MANY, FIXED), pdu, None)


def signed_write_request(
    unit: int,
    register: int,
    values: Sequence[int],
    mac: HmacSha256,
    uid: bytes,
    counter: WriteCounter,
) -> Request:
    """Return the request that has the node write ``values``, signed with its key.

    LocalError for less than 1 or more than ``MAX_VALUES`` values (registers of a visit: 100), or
    one that is no u16.
    """
    block = _signed(unit, register, values, mac, uid, counter)
    return write_request(unit, SIGNED_ADDRESS, struct.unpack(f">{len(block) // 2}H", block))


def write_by_uid_request(
    unit: int,
    register: int,
    values: Sequence[int],
    mac: HmacSha256 | None,
    uid: bytes,
    counter: WriteCounter,
) -> Request:
    """Return the request that only the node with this unique id takes and answers.

    It is signed if there is a ``mac``. LocalError as :func:`signed_write_request`.
    """
    block = uid + _signed(unit, register, values, mac, uid, counter)
    return write_request(unit, BY_UID, struct.unpack(f">{len(block) // 2}H", block))


def select_request(unit: int, salt: int, low: int, high: int) -> Request:
    """Return the request (FC 17) that the nodes in a window of places answer with who they are."""
    pdu = struct.pack(">BHHHHBHHH", READ_WRITE, SELECT, SELECT_WORDS, SELECT, 3, 6, salt, low, high)
    return Request(AnswerShape(unit, READ_WRITE, 2 * SELECT_WORDS), pdu, None)


def _signed(
    unit: int,
    register: int,
    values: Sequence[int],
    mac: HmacSha256 | None,
    uid: bytes,
    counter: WriteCounter,
) -> bytes:
    most = _MAX_SITE if SITE_ADDRESS <= register < SITE_END else MAX_VALUES
    signed = struct.pack(">IIH", *counter, register) + _packed(values, most)
    return signed + (bytes(TAG_BYTES) if mac is None else tag(mac, unit, uid, signed))


def _packed(values: Sequence[int], most: int) -> bytes:
    if not 1 <= len(values) <= most:
        raise LocalError(BAD_VALUE, "registers of a write", -1, f"1 to {most}", len(values))
    for value in values:
        if not 0 <= value <= 0xFFFF:
            raise LocalError(BAD_VALUE, "value of a register", -1, "0 to 65535", value)
    return struct.pack(f">{len(values)}H", *values)
