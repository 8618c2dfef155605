"""Remembers who has logged in: a bounded number of sessions that end by themselves."""

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from .users import UserBook, WebUser

LASTS_S: Final = 8 * 3600.0
MAX_OF_USER: Final = 8  # the oldest ends when one more begins


@dataclass(frozen=True, slots=True)
class LogInSession:
    """Somebody who has logged in. ``token`` has to come with whatever changes something."""

    user: WebUser
    token: str
    ends: float


class Sessions:
    """The sessions of one console. Secrets are kept as digests only."""

    def __init__(self, book: UserBook, now: Callable[[], float] = time.monotonic) -> None:
        self._book = book
        self._now = now
        self._open: OrderedDict[bytes, LogInSession] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, user: WebUser, secret: str = "") -> tuple[str, LogInSession]:
        """Return the secret of a new session, and the session."""
        secret = secret or secrets.token_urlsafe(32)
        session = LogInSession(user, secrets.token_urlsafe(32), self._now() + LASTS_S)
        own = [key for key, item in self._open.items() if item.user.name == user.name]
        for key in own[: max(0, len(own) + 1 - MAX_OF_USER)]:
            del self._open[key]
        self._open[_digest(secret)] = session
        return secret, session

    def of(self, secret: str) -> LogInSession | None:
        """Return the session of a secret; None if it is over or there is none.

        It is over too if the user was removed, or has another password or role.
        """
        key = _digest(secret)
        session = self._open.get(key)
        if session is not None and not self.is_open(session):
            del self._open[key]
            return None
        return session

    def is_open(self, session: LogInSession) -> bool:
        """Return whether a session goes on."""
        return (
            any(item is session for item in self._open.values())
            and self._now() < session.ends
            and self._book.users.get(session.user.name) == session.user
        )

    def end(self, secret: str) -> None:
        """End the session of a secret."""
        self._open.pop(_digest(secret), None)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
