"""Orders: what an operator signs for one gateway, and the gateway's signed reply.

An order is a COSE_Sign1 with the operator's key; its payload is the array of :data:`ORDER`. The
gateway takes a counter once, takes none that is not above the last of the same key, and none after
``not_after_ms``. A counter is the Unix time in ms at which the order was made. A reply is a
COSE_Sign1 with the gateway's key that names the order by operator's key id and counter.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from protocols.wire.errors import UNKNOWN

from . import cbor
from .cbor import Item
from .checks import (
    IDENTIFIER,
    Bytes,
    FieldCheck,
    Integer,
    Mismatch,
    OrNull,
    Text,
    Word,
    array,
    wrong,
)
from .compression import decompress
from .cose import ALG, CONTENT_TYPE, KID, KID_BYTES, Sign1, key_id, parse_sign1, sign1, verify1
from .errors import FormatError
from .layout import FormatField, Layout

ORDER_TYPE: Final = "application/vnd.tianfu.order+cbor"
REPLY_TYPE: Final = "application/vnd.tianfu.reply+cbor"
ORDER_ACTIONS: Final = ("get", "set", "restart", "snapshot", "configure")
OUTCOMES: Final = ("done", "refused", "failed")
MAX_LIFE_MS: Final = 24 * 3_600_000  # from an order's counter to its end
MAX_FILE: Final = 12 * 1024  # bytes of a compressed configuration
MAX_FILE_TEXT: Final = 1 << 20  # bytes of the configuration itself
MAX_ORDER_BYTES: Final = MAX_FILE + 1024
MAX_REPLY_BYTES: Final = 12 * 1024
_MAX_PAYLOAD: Final = MAX_FILE + 640
_MAX_REPLY_PAYLOAD: Final = MAX_REPLY_BYTES - 256
_MAX_VALUES: Final = 64
_KID: Final = Bytes(KID_BYTES)


@dataclass(frozen=True, slots=True)
class OperatorOrder:
    """What is ordered of ``gateway``: a command to a device, or a configuration (``file``, zstd).

    ``counter``: Unix ms at which it was made, above that of every order before it with this key.
    """

    gateway: str
    counter: int
    not_after_ms: int
    action: str
    device: str = ""
    point: str = ""
    value: str = ""
    confirm: int = 0  # 1: the operator has read what needs it
    file: bytes | None = None

    @property
    def text(self) -> str:
        """Return the configuration that it carries. FormatError: it is none."""
        data = decompress(self.file or b"", 0, 0, MAX_FILE_TEXT)
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise wrong("file", error.start, "UTF-8", data[error.start : error.start + 1]) from None


class ReplyValue(NamedTuple):
    """A value that was read: ``text`` is the number as a person writes it."""

    name: str
    unit: str
    text: str


@dataclass(frozen=True, slots=True)
class OrderReply:
    """What came of the order with this ``counter`` of the operator's key ``kid``."""

    gateway: str
    kid: bytes
    counter: int
    outcome: str
    text: str
    values: tuple[ReplyValue, ...] = ()


class _Values(FieldCheck[tuple[ReplyValue, ...]]):
    """An array of values, each an array of its name, unit and text."""

    rule = f"array of at most {_MAX_VALUES} arrays `[name, unit, text]`"

    def pack(self, value: object, field: str) -> object:
        """See :meth:`FieldCheck.pack`."""
        assert isinstance(value, tuple)
        return [[_SHORT.pack(part, field) for part in one] for one in value[:_MAX_VALUES]]

    def unpack(self, item: Item, field: str, at: int) -> tuple[ReplyValue, ...]:
        """See :meth:`FieldCheck.unpack`."""
        rows = [array(row, field, at, 3, 3) for row in array(item, field, at, 0, _MAX_VALUES)]
        return tuple(ReplyValue(*(_SHORT.unpack(part, field, at) for part in row)) for row in rows)


_SHORT: Final = Text(64)


def _order_agrees(order: OperatorOrder) -> Mismatch | None:
    if (order.file is None) == (order.action == "configure"):
        return Mismatch("a file with configure, and only then", order.action, field="file")
    if not 0 <= order.not_after_ms - order.counter <= MAX_LIFE_MS:
        expected = f"at most {MAX_LIFE_MS} after counter"
        return Mismatch(expected, order.not_after_ms, field="not_after_ms")
    return None


ORDER: Final = Layout(
    OperatorOrder,
    FormatField("gateway", IDENTIFIER, "id of the gateway that it is for"),
    FormatField("counter", Integer(1), "Unix ms; above that of every earlier order of this key"),
    FormatField("not_after_ms", Integer(1), "Unix ms; the order is refused later"),
    FormatField("action", Word(ORDER_ACTIONS), "what is ordered"),
    FormatField("device", Text(128), "name, BUS/NAME or id"),
    FormatField("point", _SHORT, "a setting or point"),
    FormatField("value", _SHORT, "a number with its unit"),
    FormatField("confirm", Integer(0, 1), "1: the operator has read what needs a confirmation"),
    FormatField("file", OrNull(Bytes(1, MAX_FILE)), "a configuration, compressed with zstd"),
    agree=_order_agrees,
)
REPLY: Final = Layout(
    OrderReply,
    FormatField("gateway", IDENTIFIER, "its id"),
    FormatField("kid", _KID, "id of the operator's key"),
    FormatField("counter", Integer(1), "of the order"),
    FormatField("outcome", Word(OUTCOMES), "refused: nothing was sent; failed: it may be done"),
    FormatField("text", Text(500), "for people"),
    FormatField("values", _Values(), "that were read"),
)


def packed_text(text: str) -> bytes:
    """Return a configuration as an order carries it."""
    return zstandard.ZstdCompressor(level=19).compress(text.encode())


def sign_order(order: OperatorOrder, key: Ed25519PrivateKey) -> bytes:
    """Encode and sign. LocalError(BAD_VALUE) for a field outside its range."""
    return _signed(cbor.encode(ORDER.pack(order, "order")), ORDER_TYPE, key)


def sign_reply(reply: OrderReply, key: Ed25519PrivateKey) -> bytes:
    """Encode and sign. LocalError(BAD_VALUE) for a field outside its range."""
    return _signed(cbor.encode(REPLY.pack(reply, "reply")), REPLY_TYPE, key)


def order_key(data: bytes) -> bytes:
    """Return the id of the key that an order names; nothing is proved yet. FormatError."""
    return _kid_of(_parsed(data, _MAX_PAYLOAD, ORDER_TYPE))


def open_order(data: bytes, key: Ed25519PublicKey) -> OperatorOrder:
    """Read an order signed by ``key``.

    FormatError: TOO_LONG, TRUNCATED, BAD_VALUE, BAD_ORDER; UNKNOWN (another kid, an action of
    another version); BAD_TAG (the signature).
    """
    message = _parsed(data, _MAX_PAYLOAD, ORDER_TYPE)
    return ORDER.unpack(_content(message, key, _MAX_PAYLOAD, "order"), "order", message.payload_at)


def open_reply(data: bytes, key: Ed25519PublicKey) -> OrderReply:
    """Read a reply signed by ``key``, the gateway's. FormatError as :func:`open_order`."""
    message = _parsed(data, _MAX_REPLY_PAYLOAD, REPLY_TYPE)
    content = _content(message, key, _MAX_REPLY_PAYLOAD, "reply")
    return REPLY.unpack(content, "reply", message.payload_at)


def _signed(payload: bytes, kind: str, key: Ed25519PrivateKey) -> bytes:
    return sign1({CONTENT_TYPE: kind, KID: key_id(key.public_key())}, payload, key)


def _parsed(data: bytes, most: int, kind: str) -> Sign1:
    message = parse_sign1(data, most)
    at = message.protected_at
    if message.unprotected:
        raise wrong("unprotected header", at, "empty", sorted(map(str, message.unprotected)))
    if message.protected.keys() != {ALG, CONTENT_TYPE, KID}:
        raise wrong("protected header", at, "labels 1, 3, 4", sorted(map(str, message.protected)))
    if message.protected[CONTENT_TYPE] != kind:
        raise wrong("content type", at, kind, repr(message.protected[CONTENT_TYPE])[:80])
    return message


def _kid_of(message: Sign1) -> bytes:
    return _KID.unpack(message.protected[KID], "kid", message.protected_at)


def _content(message: Sign1, key: Ed25519PublicKey, most: int, what: str) -> Item:
    """Return what a message signed by ``key`` holds. FormatError."""
    kid, own = _kid_of(message), key_id(key)
    if kid != own:
        raise FormatError(UNKNOWN, "kid", message.protected_at, own.hex(), kid.hex())
    verify1(message, key)
    try:
        return cbor.decode(message.payload, most, what)
    except FormatError as error:
        raise error.moved(message.payload_at) from None
