"""Writes of registers, plain and signed with a node's key: what the node's own check reads back.

The node's half, with the layout and its reasons, is :mod:`protocols.wire.signed_write`.
"""

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from protocols.wire.errors import BAD_VALUE, LocalError
from protocols.wire.hmac import HmacSha256
from protocols.wire.modbus.pdu import WRITE_MANY
from protocols.wire.registers import SIGNED_ADDRESS
from protocols.wire.signed_write import MAX_VALUES, tag

from .request import FIXED, AnswerShape, Request

_MAX_WORDS: Final = 123  # Application Protocol V1.1b3, section 6.12


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

    LocalError for less than 1 or more than ``MAX_VALUES`` values, or one that is no u16.
    """
    signed = struct.pack(">IIH", *counter, register) + _packed(values, MAX_VALUES)
    block = signed + tag(mac, unit, uid, signed)
    return write_request(unit, SIGNED_ADDRESS, struct.unpack(f">{len(block) // 2}H", block))


def _packed(values: Sequence[int], most: int) -> bytes:
    if not 1 <= len(values) <= most:
        raise LocalError(BAD_VALUE, "registers of a write", -1, f"1 to {most}", len(values))
    for value in values:
        if not 0 <= value <= 0xFFFF:
            raise LocalError(BAD_VALUE, "value of a register", -1, "0 to 65535", value)
    return struct.pack(f">{len(values)}H", *values)
