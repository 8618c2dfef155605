"""Receipts: the collector's signed word that it has committed a stream up to a sequence number.

A COSE_Sign1 whose payload is the array ``[gateway, stream, contiguous_to, head, server_ms]``. The
gateway may prune what a receipt covers, and only if ``head`` is its own chain head there.
"""

from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from protocols.identity import IDENTIFIER_RULE, is_identifier
from protocols.wire.errors import BAD_VALUE, UNKNOWN, LocalError, PeerError

from . import cbor
from .chain import GENESIS, HEAD_BYTES
from .cose import CONTENT_TYPE, KID, Sign1, key_id, parse_sign1, sign1, verify1
from .fields import MAX_NUMBER, array, blob, identifier, integer, mapping, wrong

RECEIPT_TYPE: Final = "application/vnd.tianfu.receipt+cbor"
MAX_RECEIPT_BYTES: Final = 512
_MAX_PAYLOAD: Final = 256


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


def sign_receipt(receipt: Receipt, key: Ed25519PrivateKey) -> bytes:
    """Encode and sign. LocalError(BAD_VALUE) for a field outside its range."""
    if not is_identifier(receipt.gateway):
        raise LocalError(BAD_VALUE, "gateway of a receipt", -1, IDENTIFIER_RULE, receipt.gateway)
    for value in (receipt.stream, receipt.contiguous_to, receipt.server_ms):
        if not 0 <= value <= MAX_NUMBER:
            raise LocalError(BAD_VALUE, "number in a receipt", -1, f"0 to {MAX_NUMBER}", value)
    if len(receipt.head) != HEAD_BYTES:
        raise LocalError(BAD_VALUE, "head of a receipt", -1, HEAD_BYTES, len(receipt.head))
    if receipt.contiguous_to == 0 and receipt.head != GENESIS:
        raise LocalError(
            BAD_VALUE, "head of a receipt for nothing", -1, GENESIS.hex(), receipt.head
        )
    payload = cbor.encode(
        [receipt.gateway, receipt.stream, receipt.contiguous_to, receipt.head, receipt.server_ms]
    )
    return sign1({3: RECEIPT_TYPE, KID: key_id(key.public_key())}, payload, key)


def open_receipt(data: bytes | bytearray | memoryview, key: Ed25519PublicKey) -> Receipt:
    """Read a receipt signed by ``key``, the collector's.

    PeerError: TOO_LONG, TRUNCATED, BAD_VALUE, BAD_ORDER; UNKNOWN (signed with a key of another
    kid); BAD_TAG (the signature).
    """
    message = parse_receipt(data)
    own = key_id(key)
    if message.protected[KID] != own:
        got = blob(message.protected[KID], "kid", message.protected_at, 0, 64)
        raise PeerError(UNKNOWN, "kid of the receipt", message.protected_at, own.hex(), got.hex())
    verify1(message, key)
    return read_receipt(message)


def parse_receipt(data: bytes | bytearray | memoryview) -> Sign1:
    """The message of a receipt, its headers checked; its signature and its content are not."""
    message = parse_sign1(bytes(data), _MAX_PAYLOAD)
    at = message.protected_at
    mapping(message.unprotected, "unprotected header", at)
    if message.unprotected:
        raise wrong("unprotected header", at, "empty", sorted(map(str, message.unprotected)))
    if message.protected.get(CONTENT_TYPE) != RECEIPT_TYPE:
        got = repr(message.protected.get(CONTENT_TYPE))[:80]
        raise wrong("content type", at, RECEIPT_TYPE, got)
    if message.protected.keys() != {1, CONTENT_TYPE, KID}:
        raise wrong("protected header", at, "labels 1, 3, 4", sorted(map(str, message.protected)))
    blob(message.protected[KID], "kid", at, 8, 8)
    return message


def read_receipt(message: Sign1) -> Receipt:
    """The content of a verified message."""
    at = message.payload_at
    try:
        item = cbor.decode(message.payload, _MAX_PAYLOAD, "receipt")
    except PeerError as error:
        if error.offset >= 0:
            error.offset += at
        raise
    gateway, stream, contiguous_to, head, server_ms = array(item, "receipt", at, 5, 5)
    receipt = Receipt(
        identifier(gateway, "gateway", at),
        integer(stream, "stream", at),
        integer(contiguous_to, "contiguous_to", at),
        blob(head, "head", at, HEAD_BYTES, HEAD_BYTES),
        integer(server_ms, "server_ms", at),
    )
    if receipt.contiguous_to == 0 and receipt.head != GENESIS:
        raise wrong("head", at, "32 zero bytes where contiguous_to is 0", receipt.head.hex())
    return receipt
