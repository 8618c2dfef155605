"""Lets people in who have the password, and slows down whoever guesses.

One password is checked at a time. After five wrong ones an address waits, twice as long each time;
after twenty for one name everybody waits for that name, but never so long that its owner is kept
out. What is remembered is bounded.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import Final

from gateway_agent.rare_log import RareLog

from .users import MAX_PASSWORD, UserBook, WebUser, hash_of, is_password

log = logging.getLogger(__name__)

FREE_OF_ADDRESS: Final = 5  # wrong passwords before an address has to wait
FREE_OF_NAME: Final = 20
LONGEST_OF_ADDRESS_S: Final = 300.0
LONGEST_OF_NAME_S: Final = 30.0
MAX_ADDRESSES: Final = 1024
MAX_WAITING: Final = 4  # people whose password is checked next
FORGET_S: Final = 900.0


class LogInError(Exception):
    """It was not the password, or there is no such user: which, is not disclosed."""


class TooManyLogIns(Exception):
    """Too many were wrong: ask again in ``wait_s``."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"too many wrong passwords: wait {wait_s:.0f} s")
        self.wait_s = wait_s


class Failures:
    """Counts failures by key, and returns how long each key has to wait."""

    def __init__(self, free: int, longest_s: float, now: Callable[[], float]) -> None:
        self._free = free
        self._longest_s = longest_s
        self._now = now
        self._found: OrderedDict[str, tuple[int, float]] = OrderedDict()  # count, newest

    def __len__(self) -> int:
        return len(self._found)

    def wait_s(self, key: str) -> float:
        """Return how long ``key`` has to wait; 0: not at all."""
        count, newest = self._found.get(key, (0, 0.0))
        age = self._now() - newest
        if count < self._free or age >= FORGET_S:
            return 0.0
        return max(0.0, min(self._longest_s, 2.0 ** min(20, count - self._free + 1)) - age)

    def add(self, key: str) -> None:
        """Count a failure."""
        count, newest = self._found.pop(key, (0, 0.0))
        if self._now() - newest >= FORGET_S:
            count = 0
        self._found[key] = count + 1, self._now()
        while len(self._found) > MAX_ADDRESSES:
            self._found.popitem(last=False)

    def clear(self, key: str) -> None:
        """Forget the failures of ``key``."""
        self._found.pop(key, None)


class LogInDesk:
    """Checks passwords."""

    def __init__(self, book: UserBook, now: Callable[[], float] = time.monotonic) -> None:
        self._book = book
        self._addresses = Failures(FREE_OF_ADDRESS, LONGEST_OF_ADDRESS_S, now)
        self._names = Failures(FREE_OF_NAME, LONGEST_OF_NAME_S, now)
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._log = RareLog(log, now=now)
        self._nobody = ""  # a hash that takes as long as that of a user

    async def log_in(self, name: str, password: str, address: str) -> WebUser:
        """Return the user. LogInError, or TooManyLogIns."""
        if self._waiting >= MAX_WAITING:
            raise TooManyLogIns(1.0)
        self._waiting += 1
        try:
            async with self._turn:
                return await self._check(name, password, _network(address))
        finally:
            self._waiting -= 1

    async def _check(self, name: str, password: str, network: str) -> WebUser:
        user = self._book.users.get(name)
        wait_s = max(self._addresses.wait_s(network), self._names.wait_s(name) if user else 0.0)
        if wait_s > 0:
            self._log.warning(f"console: log-in from {network} refused: too many wrong passwords")
            raise TooManyLogIns(wait_s)
        if not self._nobody:
            self._nobody = await asyncio.to_thread(hash_of, "nobody")
        kept = self._nobody if user is None else user.password
        is_right = await asyncio.to_thread(is_password, password[: MAX_PASSWORD + 1], kept)
        if user is not None and is_right:
            self._addresses.clear(network)
            self._names.clear(name)
            log.info("console: %s (%s) has logged in from %s", user.name, user.role, network)
            return user
        self._addresses.add(network)
        if user is not None:
            self._names.add(name)
        # A name that is none may be a password typed into the wrong field: it is not written.
        who = name if user is not None else "an unknown name"
        self._log.warning(f"console: wrong log-in for {who} from {network}")
        raise LogInError("wrong name or password")


def _network(address: str) -> str:
    """Return an address, or what one household has of IPv6."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return "?"
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        if not found.is_loopback:
            return f"{IPv6Address(int(found) >> 64 << 64)}/64"
    return str(found)
