"""COSE_Sign1 (RFC 9052 section 4.2) with Ed25519: the envelope of batches and receipts.

Written: tag 18, alg -19 (``Ed25519``, RFC 9864) in the protected header, payload attached. Read:
alg -19 and its deprecated predecessor -8 (``EdDSA``), which mean the same for an Ed25519 key.

A message is read in two steps, because the key is found through the header: :func:`parse_sign1`
checks the structure, :func:`verify1` the signature. The content of a parsed message must not be
used before the second step.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping
from typing import Final, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Struct

from protocols.wire.errors import (
    BAD_TAG,
    BAD_VALUE,
    TOO_LONG,
    UNKNOWN,
    LocalError,
)

from . import cbor
from .checks import array, mapping, wrong
from .errors import FormatError

ALG_ED25519: Final = -19  # RFC 9864
ALG_EDDSA: Final = -8  # RFC 9053 section 2.2, deprecated by RFC 9864

# Header labels (RFC 9052 section 3.1).
ALG: Final = 1
CRIT: Final = 2
CONTENT_TYPE: Final = 3
KID: Final = 4

KID_BYTES: Final = 8
SIGNATURE_BYTES: Final = 64

MAX_PROTECTED_BYTES: Final = 64 * 1024
MAX_UNPROTECTED_BYTES: Final = 4 * 1024
# What a message may be without its payload.
MAX_OVERHEAD_BYTES: Final = MAX_PROTECTED_BYTES + MAX_UNPROTECTED_BYTES + 100

Header: TypeAlias = "dict[int | str, cbor.Item]"
KeyLookup: TypeAlias = Callable[[str, bytes], Ed25519PublicKey | None]


class Sign1(Struct, frozen=True):
    """A parsed message. ``*_at`` are the offsets of the contents of its byte strings."""

    protected: Header
    protected_bytes: bytes
    unprotected: Header
    payload: bytes
    signature: bytes
    protected_at: int
    payload_at: int
    signature_at: int


def key_id(key: Ed25519PublicKey) -> bytes:
    """Return the ``kid`` of a key: the first 8 bytes of SHA-256 over its 32 raw bytes."""
    return hashlib.sha256(key.public_bytes_raw()).digest()[:KID_BYTES]


def sig_structure(protected_bytes: bytes, payload: bytes, external_aad: bytes = b"") -> bytes:
    """Return the bytes that a signature covers (RFC 9052 section 4.4).

    An empty protected header counts as a zero-length string there, however it was sent.
    """
    if protected_bytes == b"\xa0":
        protected_bytes = b""
    return cbor.encode(["Signature1", protected_bytes, external_aad, payload])


def sign1(protected: Mapping[int | str, object], payload: bytes, key: Ed25519PrivateKey) -> bytes:
    """Sign and encode; ``protected`` without alg, which is added.

    LocalError(BAD_VALUE) if ``protected`` names an alg itself or does not fit
    MAX_PROTECTED_BYTES.
    """
    if ALG in protected:
        raise LocalError(BAD_VALUE, "protected header", -1, "no alg", protected[ALG])
    header = cbor.encode({ALG: ALG_ED25519, **protected})
    if len(header) > MAX_PROTECTED_BYTES:
        raise LocalError(TOO_LONG, "protected header", -1, MAX_PROTECTED_BYTES, len(header))
    signature = key.sign(sig_structure(header, payload))
    return (
        b"\xd2\x84" + cbor.encode(header) + b"\xa0" + cbor.encode(payload) + cbor.encode(signature)
    )


def parse_sign1(
    data: bytes,
    max_payload: int,
    strict: bool = True,
    understood: Collection[int | str] = (),
) -> Sign1:
    """Take a message apart; its signature is not checked.

    ``max_payload``: the most bytes its payload may have. ``strict``: deterministic CBOR throughout
    (what this project sends); without it any definite-length encoding is read. ``understood``:
    header labels the caller gives meaning to beyond alg, content type and kid; a ``crit`` header
    naming any other label is refused (RFC 9052 section 3.1).

    FormatError: TOO_LONG, TRUNCATED, BAD_VALUE, BAD_ORDER, UNKNOWN (tag, critical header).
    """
    if len(data) > max_payload + MAX_OVERHEAD_BYTES:
        most = max_payload + MAX_OVERHEAD_BYTES
        raise FormatError(TOO_LONG, "COSE message", most, f"at most {most} bytes", len(data))
    tag, at = _head(data, 0, 6, "COSE_Sign1 tag", strict)
    if tag != cbor.COSE_SIGN1:
        raise FormatError(UNKNOWN, "COSE tag", 0, cbor.COSE_SIGN1, tag)
    count, at = _head(data, at, 4, "COSE_Sign1", strict)
    if count != 4:
        raise wrong("COSE_Sign1", 1, "array of 4", f"array of {count}")
    protected_bytes, protected_end = _bytes(
        data, at, "protected header", MAX_PROTECTED_BYTES, strict
    )
    protected_at = protected_end - len(protected_bytes)
    protected = _protected(protected_bytes, protected_at, strict)
    unprotected_item, at = cbor.read(
        data[: protected_end + MAX_UNPROTECTED_BYTES], protected_end, strict
    )
    unprotected = mapping(unprotected_item, "unprotected header", protected_end)
    payload, at = _bytes(data, at, "payload", max_payload, strict)
    payload_at = at - len(payload)
    signature, end = _bytes(data, at, "signature", SIGNATURE_BYTES, strict)
    if len(signature) != SIGNATURE_BYTES:
        raise wrong("signature", at, f"{SIGNATURE_BYTES} bytes", f"{len(signature)} bytes")
    if end != len(data):
        raise FormatError(TOO_LONG, "bytes after the COSE message", end, end, len(data))
    _check_headers(protected, unprotected, protected_at, understood)
    return Sign1(
        protected,
        protected_bytes,
        unprotected,
        payload,
        signature,
        protected_at,
        payload_at,
        end - SIGNATURE_BYTES,
    )


def verify1(message: Sign1, key: Ed25519PublicKey, external_aad: bytes = b"") -> None:
    """Raise FormatError unless the message is signed by ``key``.

    UNKNOWN: the protected header names no algorithm, or one that is not Ed25519. BAD_TAG: the
    signature does not verify.
    """
    algorithm = message.protected.get(ALG)
    if type(algorithm) is not int or algorithm not in (ALG_ED25519, ALG_EDDSA):
        raise FormatError(UNKNOWN, "alg", message.protected_at, "-19 or -8", algorithm)
    signed = sig_structure(message.protected_bytes, message.payload, external_aad)
    try:
        key.verify(message.signature, signed)
    except InvalidSignature:
        raise FormatError(
            BAD_TAG,
            "signature",
            message.signature_at,
            f"signature of key {key_id(key).hex()}",
            message.signature[:8].hex() + "...",
            "signature does not verify: a byte was changed, or another key signed",
        ) from None


def _head(data: bytes, at: int, major: int, what: str, strict: bool) -> tuple[int, int]:
    if at < len(data) and data[at] >> 5 != major:
        raise wrong(what, at, f"CBOR major type {major}", f"{data[at] >> 5}")
    return cbor.read_head(data, at, strict)


def _bytes(data: bytes, at: int, what: str, longest: int, strict: bool) -> tuple[bytes, int]:
    length, _ = _head(data, at, 2, what, strict)
    if length > longest:
        raise FormatError(TOO_LONG, what, at, f"at most {longest} bytes", length)
    item, end = cbor.read(data, at, strict)
    assert isinstance(item, bytes)  # of the major type that _head looked for
    return item, end


def _protected(encoded: bytes, at: int, strict: bool) -> Header:
    if not encoded:
        return {}
    try:
        item = cbor.decode(encoded, MAX_PROTECTED_BYTES, "protected header", strict)
    except FormatError as error:
        raise error.moved(at) from None
    return mapping(item, "protected header", at)


def _check_headers(
    protected: Header, unprotected: Header, at: int, understood: Collection[int | str]
) -> None:
    twice = sorted(map(str, protected.keys() & unprotected.keys()))
    if twice:
        raise wrong("header label", at, "protected or unprotected", f"{twice[0]} in both")
    if CRIT in unprotected:
        raise wrong("crit", at, "in the protected header", "unprotected")
    if CRIT not in protected:
        return
    for label in array(protected[CRIT], "crit", at, 1, 16):
        if type(label) is not int and type(label) is not str:
            raise wrong("crit", at, "labels", repr(label))
        if label not in protected:
            raise wrong("crit", at, f"label {label} in the protected header", "absent")
        if label not in (ALG, CONTENT_TYPE, KID) and label not in understood:
            raise FormatError(UNKNOWN, "critical header", at, "a label known here", label)
