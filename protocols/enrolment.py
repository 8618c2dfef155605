"""How a node's key travels from the station to a gateway: sealed to the gateway's public key.

HPKE (RFC 9180) in base mode: X25519, HKDF-SHA256, ChaCha20-Poly1305. Node and key id are bound
into it, so a sealed key cannot be passed off as that of another node. Whoever has the public key
can seal; that the key is the node's own shows in its signed samples.
"""

import base64
import binascii
import hashlib
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke, serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from protocols.wire.errors import PeerError
from protocols.wire.node_key import NodeKeyFile, parse

MAX_SEALED: Final = 1024  # bytes

_SUITE: Final = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)
_INFO: Final = "tianfu-edge enrolment 1"


class EnrolmentError(Exception):
    """A key cannot be sealed or opened; the text never shows it."""


def recipient_id(key: X25519PublicKey) -> str:
    """Return the id of a recipient's key, as it stands in the log: 16 hex digits."""
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:16]


def read_recipient(pem: bytes) -> X25519PublicKey:
    """Read the public file that `tianfu-gateway keygen enroll` made. EnrolmentError."""
    if b"PRIVATE KEY" in pem:
        raise EnrolmentError("expected a public key, got a private one; it must stay where it is")
    try:
        key = serialization.load_pem_public_key(pem)
    except ValueError as error:
        raise EnrolmentError("expected a public key in PEM form, got something else") from error
    if not isinstance(key, X25519PublicKey):
        raise EnrolmentError(
            f"expected a key of `tianfu-gateway keygen enroll`, got {type(key).__name__}"
        )
    return key


def seal(key_file: bytes, uid: str, recipient: X25519PublicKey) -> str:
    """Seal the content of a node's key file. EnrolmentError if it is not that of this node."""
    key_id = _checked(key_file, uid).key_id
    return base64.b64encode(_SUITE.encrypt(key_file, recipient, _info(uid, key_id))).decode()


def open_sealed(sealed: object, uid: str, key_id: int, key: X25519PrivateKey) -> bytes:
    """Return the content of the node's key file. EnrolmentError."""
    try:
        if not isinstance(sealed, str) or len(sealed) > 2 * MAX_SEALED:
            raise EnrolmentError(f"node {uid}: expected a sealed key, got {type(sealed).__name__}")
        content = _SUITE.decrypt(base64.b64decode(sealed, validate=True), key, _info(uid, key_id))
    except (InvalidTag, ValueError, binascii.Error) as error:
        raise EnrolmentError(
            f"node {uid}: expected key {key_id} as it was sealed, got another content: the file is "
            "damaged or was changed; copy the station log again"
        ) from error
    if _checked(content, uid).key_id != key_id:
        raise EnrolmentError(f"node {uid}: expected key {key_id}, got another; flash it again")
    return content


def _checked(content: bytes, uid: str) -> NodeKeyFile:
    try:
        file = parse(content)
    except PeerError as error:
        raise EnrolmentError(f"node {uid}: the key file {error.message}") from error
    if file.uid is None or file.uid.hex() != uid:
        raise EnrolmentError(f"node {uid}: expected its own key file, got that of another node")
    return file


def _info(uid: str, key_id: int) -> bytes:
    return f"{_INFO}|{uid}|{key_id}".encode()
