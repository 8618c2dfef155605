"""Receipts: the collector's signed statement how far it has committed a stream.

A COSE_Sign1 whose payload is the array ``[gateway, stream, contiguous_to, head, server_ms]``. The
gateway may prune what a receipt covers, and only if ``head`` is its own chain head there.
"""

from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from protocols.wire.errors import UNKNOWN

from . import cbor
from .chain import GENESIS, HEAD_BYTES
from .checks import IDENTIFIER, Bytes, Integer, Mismatch, wrong
from .cose import ALG, CONTENT_TYPE, KID, KID_BYTES, Sign1, key_id, parse_sign1, sign1, verify1
from .errors import FormatError
from .layout import FormatField, Layout

RECEIPT_TYPE: Final = "application/vnd.tianfu.receipt+cbor"
MAX_RECEIPT_BYTES: Final = 512
_MAX_PAYLOAD: Final = 256
_KID: Final = Bytes(KID_BYTES)


@dataclass(frozen=True, slots=True)
class Receipt:
    """Records 1 to ``contiguous_to`` of ``stream`` are committed; ``head`` is the chain there.

    ``contiguous_to`` 0 with head GENESIS: nothing of this stream yet. ``server_ms``: the
    collector's Unix time in ms.
    """

    gateway: str
    stream: int
    contiguous_to: int
    head: bytes
    server_ms: int


def _receipt_agrees(receipt: Receipt) -> Mismatch | None:
    if receipt.contiguous_to == 0 and receipt.head != GENESIS:
        expected = "32 zero bytes where contiguous_to is 0"
        return Mismatch(expected, receipt.head.hex(), field="head")
    return None


RECEIPT: Final = Layout(
    Receipt,
    FormatField("gateway", IDENTIFIER, "its id"),
    FormatField("stream", Integer(), "number of the stream"),
    FormatField("contiguous_to", Integer(), "records 1 to this one are committed; 0: none yet"),
    FormatField("head", Bytes(HEAD_BYTES), "chain head after record `contiguous_to`"),
    FormatField("server_ms", Integer(), "the collector's Unix time in ms"),
    agree=_receipt_agrees,
)


def sign_receipt(receipt: Receipt, key: Ed25519PrivateKey) -> bytes:
    """Encode and sign. LocalError(BAD_VALUE) for a field outside its range."""
    payload = cbor.encode(RECEIPT.pack(receipt, "receipt"))
    return sign1({CONTENT_TYPE: RECEIPT_TYPE, KID: key_id(key.public_key())}, payload, key)


def open_receipt(data: bytes | bytearray | memoryview, key: Ed25519PublicKey) -> Receipt:
    """Read a receipt signed by ``key``, the collector's.

    FormatError: TOO_LONG, TRUNCATED, BAD_VALUE, BAD_ORDER; UNKNOWN (signed with a key of another
    kid); BAD_TAG (the signature).
    """
    message = parse_receipt(data)
    own = key_id(key)
    if message.protected[KID] != own:
        at = message.protected_at
        got = _KID.unpack(message.protected[KID], "kid", at)
        raise FormatError(UNKNOWN, "kid", at, own.hex(), got.hex())
    verify1(message, key)
    return read_receipt(message)


def parse_receipt(data: bytes | bytearray | memoryview) -> Sign1:
    """Take a receipt apart and check its headers; signature and content are not checked yet."""
    message = parse_sign1(bytes(data), _MAX_PAYLOAD)
    at = message.protected_at
    if message.unprotected:
        raise wrong("unprotected header", at, "empty", sorted(map(str, message.unprotected)))
    if message.protected.get(CONTENT_TYPE) != RECEIPT_TYPE:
        got = repr(message.protected.get(CONTENT_TYPE))[:80]
        raise wrong("content type", at, RECEIPT_TYPE, got)
    if message.protected.keys() != {ALG, CONTENT_TYPE, KID}:
        raise wrong("protected header", at, "labels 1, 3, 4", sorted(map(str, message.protected)))
    _KID.unpack(message.protected[KID], "kid", at)
    return message


def read_receipt(message: Sign1) -> Receipt:
    """Return the content of a verified message. FormatError."""
    at = message.payload_at
    try:
        item = cbor.decode(message.payload, _MAX_PAYLOAD, "receipt")
    except FormatError as error:
        raise error.moved(at) from None
    return RECEIPT.unpack(item, "receipt", at)
