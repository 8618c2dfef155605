"""Read Ed25519 keys from PEM without what reads every form of every key.

That would take 1.4 MiB of a gateway's memory for as long as it runs; it is loaded for a file of
another form only.
"""

import base64
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

# What is before the 32 bytes of an Ed25519 key (RFC 8410, 7 and 4).
_PRIVATE_DER: Final = bytes.fromhex("302e020100300506032b657004220420")
_PUBLIC_DER: Final = bytes.fromhex("302a300506032b6570032100")


def private_of(data: bytes) -> object:
    """Return the key in a PEM file. Any exception: there is none."""
    raw = _raw_key(data, b"PRIVATE", _PRIVATE_DER)
    if raw is not None:
        return Ed25519PrivateKey.from_private_bytes(raw)
    from cryptography.hazmat.primitives import serialization

    return serialization.load_pem_private_key(data, None)


def public_of(data: bytes) -> object:
    """Return the key in a PEM file. Any exception: there is none."""
    raw = _raw_key(data, b"PUBLIC", _PUBLIC_DER)
    if raw is not None:
        return Ed25519PublicKey.from_public_bytes(raw)
    from cryptography.hazmat.primitives import serialization

    return serialization.load_pem_public_key(data)


def _raw_key(data: bytes, kind: bytes, der: bytes) -> bytes | None:
    """Return the 32 bytes of an Ed25519 key in the form of RFC 8410; None: it has another."""
    label = kind + b" KEY-----"
    begin, _, rest = data.partition(b"-----BEGIN " + label + b"\n")
    body, end, _ = rest.partition(b"\n-----END " + label)
    if begin.strip() or not end:
        return None
    try:
        content = base64.b64decode(body, validate=True)
    except ValueError:
        return None
    return content[-32:] if content[:-32] == der else None
