"""Keeps who may log in to the console: names, roles, and passwords as Argon2id makes them.

The file is JSON and only its owner may read it. ``tianfu-gateway web user`` writes it; a running
agent reads it again when it has changed, so that who is removed is out at once.
"""

import logging
import os
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from msgspec import Meta, Struct

from gateway_agent.directories import replace_file
from gateway_agent.errors import OperatorError
from gateway_agent.keys import KeyFileError, create_key_file, read_secret
from gateway_agent.rare_log import RareLog

from .file_mark import FileMark

log = logging.getLogger(__name__)

MAX_USERS: Final = 16  # a file of keys has 4 KiB
MIN_PASSWORD: Final = 8  # characters
MAX_PASSWORD: Final = 256

UserName: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,31}\Z")]
Role: TypeAlias = Literal["viewer", "operator"]


class WebUser(Struct, frozen=True, kw_only=True):
    """Who may log in. A viewer changes nothing."""

    name: UserName
    role: Role
    password: Annotated[str, Meta(pattern=r"^\$argon2id\$v=19\$", max_length=200)]

    def __repr__(self) -> str:
        return f"WebUser({self.name!r}, {self.role!r})"


class _UserFile(Struct, frozen=True, kw_only=True):
    users: Annotated[tuple[WebUser, ...], Meta(max_length=MAX_USERS)]


def hash_of(password: str) -> str:
    """Return what the file keeps of a password: 19 MiB and two passes, for small gateways."""
    made = Argon2id(salt=os.urandom(16), length=32, iterations=2, lanes=1, memory_cost=19 << 10)
    return made.derive_phc_encoded(password.encode())


def is_password(password: str, kept: str) -> bool:
    """Return whether ``password`` is the one whose hash was kept. It takes about 40 ms."""
    try:
        Argon2id.verify_phc_encoded(password.encode("utf-8", "surrogatepass"), kept)
    except (InvalidKey, ValueError):
        return False
    return True


def read_users(path: Path) -> dict[str, WebUser]:
    """Return the users of a file by name. KeyFileError."""
    try:
        file = msgspec.json.decode(read_secret(path), type=_UserFile)
    except ValueError as error:
        raise KeyFileError(
            f"{path}: expected the users of the console, got something else ({error}); make the"
            " file anew with `tianfu-gateway web user add`"
        ) from error
    return {user.name: user for user in file.users}


def need_users(path: Path) -> dict[str, WebUser]:
    """Return the users of a file that must have one. KeyFileError."""
    users = read_users(path)
    if not users:
        raise KeyFileError(f"{path}: expected a user; add one with `tianfu-gateway web user add`")
    return users


def add_user(path: Path, name: str, role: Role, password: str) -> None:
    """Add a user, or give one another role and password. OperatorError: why not."""
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise OperatorError(
            f"expected a password of {MIN_PASSWORD} to {MAX_PASSWORD} characters,"
            f" got one of {len(password)}"
        )
    users = read_users(path) if path.exists() else {}
    made = {"name": name, "role": role, "password": hash_of(password)}
    try:
        users[name] = msgspec.convert(made, WebUser)
    except msgspec.ValidationError as error:
        raise OperatorError(f"expected a name of letters and digits, got {name!r}") from error
    if len(users) > MAX_USERS:
        raise OperatorError(f"{path}: expected at most {MAX_USERS} users; remove one first")
    _write(path, users)


def remove_user(path: Path, name: str) -> None:
    """Remove a user. OperatorError: there is none of this name."""
    users = read_users(path)
    if users.pop(name, None) is None:
        known = ", ".join(users) or "there are none"
        raise OperatorError(f"{path}: expected one of its users ({known}), got {name!r}")
    _write(path, users)


def _write(path: Path, users: dict[str, WebUser]) -> None:
    data = msgspec.json.encode(_UserFile(users=tuple(users.values()))) + b"\n"
    if not path.exists():
        create_key_file(path, data, 0o600)
        return
    try:
        replace_file(path, data)
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be written: {error.strerror}") from error


class UserBook:
    """The users of a running agent. A file that cannot be read has none: nobody gets in."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mark: FileMark | None = None
        self._users: dict[str, WebUser] = {}
        self._log = RareLog(log)

    @property
    def users(self) -> dict[str, WebUser]:
        """Return the users as the file has them now."""
        mark = FileMark.of(self._path)
        if mark is None or mark != self._mark:
            try:
                self._users, self._mark = read_users(self._path), mark
            except KeyFileError as error:
                self._users, self._mark = {}, None
                self._log.warning(f"nobody can log in to the console: {error}")
        return self._users
