"""The key pair that node keys are sealed to: X25519, made by ``keygen enroll``, used by ``enroll``.

The private half stays on the gateway (or the collector); the public one goes to the stations. The
files have the form and the rights of the other key files (:mod:`gateway_agent.keys`).
"""

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from protocols.enrolment import recipient_id

from .keys import KeyFileError, create_key_file, public_path, read_secret


def generate_enrolment_key(path: Path) -> X25519PrivateKey:
    """Make the key with both files. KeyFileError if one exists."""
    public = public_path(path)
    if public.exists():
        raise KeyFileError(f"{public}: expected a name that is free; keys are never overwritten")
    key = X25519PrivateKey.generate()
    line = f"key id: {recipient_id(key.public_key())}\n".encode()
    private_pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public_pem = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    create_key_file(path, private_pem + line, 0o600)
    create_key_file(public, public_pem + line, 0o644)
    return key


def load_enrolment_key(path: Path) -> X25519PrivateKey:
    """Read the private key. KeyFileError: absent, readable by others, damaged, of another kind."""
    data = read_secret(path)
    remedy = "make one with `tianfu-gateway keygen enroll --out FILE`"
    try:
        key = serialization.load_pem_private_key(data, None)
    except Exception as error:  # the library raises more for damaged DER than it documents
        raise KeyFileError(f"{path}: expected a private key in PEM form; {remedy}") from error
    if not isinstance(key, X25519PrivateKey):
        raise KeyFileError(f"{path}: expected a key for enrolment, got another kind; {remedy}")
    _, mark, line = data.rpartition(b"\nkey id: ")
    if mark and line.strip() != recipient_id(key.public_key()).encode():
        raise KeyFileError(f"{path}: the file is damaged; restore it from its copy, or {remedy}")
    return key
