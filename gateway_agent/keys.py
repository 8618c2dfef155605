"""Key files are made once, readable by their owner alone from the first instant, never logged.

Gateway and collector: Ed25519, private key as PKCS #8 PEM, public key beside it as ``<file>.pub``
(SubjectPublicKeyInfo PEM), each followed by a line ``key id: <hex>``. Node: JSON, the very file
that the node has (:mod:`protocols.wire.node_key`). A private file that others may read is refused:
they could sign with it.

A file with a flipped bit is a key too, another one. So each file proves itself: a PEM file by its
key id, a private one also by the public one beside it, a node's by its check.
"""

import json
import logging
import os
import secrets
import stat
from pathlib import Path
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gateway_agent.errors import OperatorError
from protocols.exit_status import UNUSABLE
from protocols.uplink import key_id
from protocols.wire.errors import BAD_TAG, PeerError
from protocols.wire.node_key import (
    FORM,
    KEY_BYTES,
    MAX_KEY_ID,
    check_of,
    parse,
)

from .directories import make_directory, sync_directory
from .pem import private_of, public_of
from .tables import Problem

log = logging.getLogger(__name__)

MAX_FILE_BYTES: Final = 4096
_KEY_ID_LINE: Final = (
    b"\nkey id: "  # after the end of the PEM block, where readers of PEM ignore it
)


class KeyFileError(OperatorError):
    """A key file cannot be used or made; the text names the file, the fault and the remedy."""

    exit_status = UNUSABLE


def key_problem(path: Path, error: KeyFileError) -> Problem:
    """Make a problem of the configuration from ``error``, to be reported with all the others."""
    fault = str(error).removeprefix(f"{path}: ")
    return Problem(str(path), "", "this one", "a key file that can be used", fault)


class SharedKey(NamedTuple):
    """The key that a node shares with its gateway; ``repr`` does not show it."""

    key_id: int
    key: bytes

    def __repr__(self) -> str:
        return f"SharedKey({self.key_id}, ...)"


def public_path(path: Path) -> Path:
    """Return the file of the public half of a key."""
    return path.with_name(path.name + ".pub")


def generate_signing_key(path: Path) -> Ed25519PrivateKey:
    """Make a gateway's or collector's key with both files. KeyFileError if one exists."""
    public = public_path(path)
    if public.exists():
        raise _exists(public)
    from cryptography.hazmat.primitives import serialization

    key = Ed25519PrivateKey.generate()
    private_pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public_pem = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    line = _KEY_ID_LINE[1:] + fingerprint(key.public_key()).encode() + b"\n"
    create_key_file(path, private_pem + line, 0o600)
    create_key_file(public, public_pem + line, 0o644)
    return key


def generate_node_key(path: Path, key_number: int = 1, uid: bytes | None = None) -> SharedKey:
    """Make a node's key and its file, for the node with this unique id or for any.

    KeyFileError if it exists, or for a number not 1 to 65535.
    """
    if not 1 <= key_number <= MAX_KEY_ID:
        raise KeyFileError(f"key id: expected 1 to {MAX_KEY_ID}, got {key_number}")
    key = SharedKey(key_number, secrets.token_bytes(KEY_BYTES))
    fields: dict[str, object] = {"key_id": key.key_id, "key": key.key.hex()}
    if uid is not None:
        fields["uid"] = uid.hex()
    fields["check"] = check_of(key.key_id, key.key, uid)
    create_key_file(path, json.dumps(fields).encode() + b"\n", 0o600)
    return key


def load_private(path: Path) -> Ed25519PrivateKey:
    """Read a private key. KeyFileError: absent, readable by others, damaged, or no Ed25519 key."""
    data = read_secret(path)
    try:
        key = private_of(data)
    except Exception as error:  # the library raises more for damaged DER than it documents
        # The library's text may quote what it read; this one does not.
        raise KeyFileError(
            f"{path}: expected an unencrypted private key in PEM form, got something else; make"
            " one with `tianfu-gateway keygen gateway --out FILE`"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{path}: expected an Ed25519 key, got {type(key).__name__}")
    proven = _check_key_id(path, data, key.public_key())
    public = public_path(path)
    if public.exists():
        if fingerprint(load_public(public)) != fingerprint(key.public_key()):
            raise KeyFileError(
                f"{path}: expected the private half of {public}, got another key: one of the two"
                " files is damaged or belongs elsewhere; restore both from where they were made"
            )
    elif not proven:
        log.warning(
            "%s: nothing shows whether this key file is undamaged: it has no key id, and there is"
            " no %s; keep a copy of both halves",
            path,
            public,
        )
    return key


def load_public(path: Path) -> Ed25519PublicKey:
    """Read a public key. KeyFileError: absent, damaged, or no Ed25519 public key."""
    data = _read(path)
    if b"PRIVATE KEY" in data:
        raise KeyFileError(
            f"{path}: expected a public key, got a private one; name {public_path(path)} and keep"
            " the private file where it was made"
        )
    try:
        key = public_of(data)
    except Exception as error:  # as above
        raise KeyFileError(
            f"{path}: expected a public key in PEM form, got something else; copy the .pub file"
            " that keygen made"
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise KeyFileError(f"{path}: expected an Ed25519 key, got {type(key).__name__}")
    _check_key_id(path, data, key)
    return key


def load_node_key(path: Path, uid: bytes | None = None) -> SharedKey:
    """Read a node's key, that of the node with ``uid`` if one is given.

    KeyFileError: absent, readable by others, damaged, made for another node, or another content.
    """
    data = read_secret(path)
    try:
        file = parse(data)
    except PeerError as error:
        if error.code == BAD_TAG:
            raise _damaged(path) from None
        # The file may hold most of a key, so no part of it is repeated.
        raise KeyFileError(
            f"{path}: expected {FORM}, got something else; copy the file again, or make a new"
            " one with `tianfu-gateway keygen node --out FILE`"
        ) from None
    if uid is not None and file.uid is not None and file.uid != uid:
        raise KeyFileError(
            f"{path}: expected the key of the node with uid {uid.hex()}, got one made for uid"
            f" {file.uid.hex()}; name the file that was made for this node"
        )
    if not file.checked:
        log.warning(
            "%s: nothing shows whether this key file is undamaged: it has no check, as files made"
            " by an earlier keygen",
            path,
        )
    return SharedKey(file.key_id, file.key)


def _check_key_id(path: Path, data: bytes, key: Ed25519PublicKey) -> bool:
    """Return whether the file names its key id. KeyFileError if that of its key is another."""
    _, mark, line = data.rpartition(_KEY_ID_LINE)
    if mark and line.strip() != fingerprint(key).encode():
        raise _damaged(path)
    return bool(mark)


def _damaged(path: Path) -> KeyFileError:
    return KeyFileError(
        f"{path}: expected the key that the file was made with, got another: the file is damaged;"
        " copy it again from where it was made"
    )


def check_secret(path: Path) -> None:
    """Refuse a file that everybody may read, such as a password or a TLS key. KeyFileError.

    Its group may: Debian gives TLS keys to programs that way.
    """
    _check_mode(path, 0o007)


def fingerprint(key: Ed25519PublicKey) -> str:
    """Return the key id that stands in batches and receipts, in hex."""
    return key_id(key).hex()


def _exists(path: Path) -> KeyFileError:
    return KeyFileError(
        f"{path}: expected a name that is free, got an existing file; keys are never overwritten:"
        " choose another name, or move the old key away first"
    )


def _unreadable(path: Path, error: OSError) -> KeyFileError:
    return KeyFileError(
        f"{path}: cannot be read: {error.strerror}; keys are made with `tianfu-gateway keygen`"
    )


def create_key_file(path: Path, data: bytes, mode: int) -> None:
    """Write a new file that has ``mode`` from the instant it exists; durable when this returns.

    What root makes belongs to whom the directory belongs to: a service that reads it.
    """
    try:
        make_directory(path.parent)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, mode)
    except FileExistsError:
        raise _exists(path) from None
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be made: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            if os.geteuid() == 0:
                owner = path.parent.stat()
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        sync_directory(path.parent)
    except OSError as error:
        path.unlink(missing_ok=True)  # half a key is of no use
        raise KeyFileError(f"{path}: cannot be written: {error.strerror}") from error


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(data) > MAX_FILE_BYTES:
        raise KeyFileError(f"{path}: expected a key file, got more than {MAX_FILE_BYTES} bytes")
    return data


def read_secret(path: Path) -> bytes:
    """Read a file that its owner alone may read. KeyFileError."""
    _check_mode(path, 0o077)
    return _read(path)


def _check_mode(path: Path, refused: int) -> None:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise _unreadable(path, error) from error
    if mode & refused:
        raise KeyFileError(
            f"{path}: expected a file only its owner can read, got mode {mode:04o}; run"
            f" `chmod 600 {path}`, and make a new one if others have had access"
        )
