"""Make a new board's record store from what a technician types and the key file."""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from firmware.node.commission import CommissionError
from firmware.node.identity import KEY_FILE, NodeKey
from protocols.wire.node_key import parse
from protocols.wire.registers import SETTINGS

from . import spec as specs
from .errors import BoardError
from .folder import store_area
from .records import commission_of, store_of
from .recordstore import DATA_MAX


class ProvisionError(BoardError):
    """A board cannot be provisioned so; the text has what was expected, what came, the remedy."""


@dataclass(frozen=True, slots=True)
class Provisioned:
    """What a board is to hold. ``uid`` is None where the chip's own counts."""

    role: str
    uid: str | None
    settings: Mapping[str, int]
    key_id: int
    address: int  # of the store in the chip's memory
    store: bytes  # content of all of its sectors; holds the secret


class _OneFile:
    """A key file as the node's store, for the node's own check of it."""

    def __init__(self, path: Path, content: bytes) -> None:
        self.directory = str(path.parent)
        self._content = content

    def read(self, name: str) -> bytes:
        """Return the key, whatever its file is called here."""
        return self._content

    def write(self, name: str, data: bytes | bytearray) -> bool:
        """Write nothing."""
        return False


def read_key(path: Path) -> tuple[int, bytes]:
    """Read a node's key file: key id and content. ProvisionError, which never shows the secret."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(DATA_MAX + 1)
    except OSError as error:
        raise ProvisionError(
            f"{path}: expected a node's key, {error.strerror}: make one with "
            "`tianfu-gateway keygen node --out FILE`"
        ) from error
    if mode & 0o077:
        raise ProvisionError(
            f"{path}: expected a file that its owner alone may read, got mode {mode:04o}; whoever "
            f"read it can speak for the node: make a new one, or chmod 600 {path}"
        )
    # What is longer than a record is no key for the node, whatever it holds.
    key = NodeKey(_OneFile(path, content if len(content) <= DATA_MAX else b""))
    if key.problem:
        problem = key.problem.removeprefix(f"{path.parent}/{KEY_FILE}")
        raise ProvisionError(
            f"{path}{problem}: copy it again, or make one with `tianfu-gateway keygen node`"
        )
    return key.key_id, content


def node_key(path: Path) -> NodeKey:
    """Read a node's key file for signing. ProvisionError as of :func:`read_key`."""
    return NodeKey(_OneFile(path, read_key(path)[1]))


def setting(text: str) -> tuple[str, int]:
    """Split ``name=value``; the node's own check finds a wrong name or value."""
    name, mark, value = text.partition("=")
    try:
        if mark:
            return name, int(value, 0)
    except ValueError:
        pass
    names = ", ".join(each.name for each in SETTINGS)
    raise ProvisionError(f"{text}: expected NAME=NUMBER, with a name of {names}")


def provision(
    board: str,
    role: str,
    key: Path,
    settings: Mapping[str, int],
    uid: str | None = None,
    release: bytes = b"",
) -> Provisioned:
    """Make the store of a board with this role and the key in ``key``. BoardError.

    ``settings`` are raw values by register name (``docs/registers.md``); ``uid`` is 24 hex digits,
    by default those that the key was made for, if the key file names them. ``release`` are the
    public keys, one or two, whose updates the node takes.
    """
    if not specs.load(board).has_image:
        raise ProvisionError(
            f"{board} has no record store: its MicroPython keeps files, expected a board with an "
            "image of its own (`tianfu-node boards`)"
        )
    key_id, content = read_key(key)
    made_for = parse(content).uid
    if made_for is not None:
        if uid is not None and uid.lower() != made_for.hex():
            raise ProvisionError(
                f"uid: expected {made_for.hex()}, which {key} was made for, got {uid}: the gateway"
                " would refuse the node; each node has a key of its own"
            )
        uid = made_for.hex()
    try:
        commission = commission_of(role, settings, uid)
    except CommissionError as error:
        raise ProvisionError(str(error)) from error
    store = store_of(commission, content, release)
    return Provisioned(role, uid, dict(settings), key_id, store_area(board)[0], store)


def write_new(path: Path, content: bytes) -> None:
    """Write a file that its owner alone may read from its first instant. ProvisionError."""
    flags: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
    except FileExistsError as error:
        raise ProvisionError(
            f"{path}: is there already; it may hold another board's secret: delete it, or name "
            "another file"
        ) from error
    except OSError as error:
        raise ProvisionError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        path.unlink(missing_ok=True)  # half a store is none
        raise ProvisionError(f"{path}: cannot be written: {error.strerror}") from error
