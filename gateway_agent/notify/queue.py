"""A notice of an alarm's change, and the bounded queue in which notices wait for one receiver.

A notice overtakes nothing and is overtaken by nothing here: telemetry never enters these queues.
What finds no room, or is refused for good, is counted and named; the change itself is in the signed
stream in any case.
"""

import asyncio
from collections import deque
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from gateway_agent.alarms.rules import Severity


class Notice(Struct, frozen=True, omit_defaults=True):
    """One change of an alarm's state, as receivers get it in JSON."""

    id: str  # the same in every attempt: a receiver takes one with a known id for a repetition
    gateway: str
    alarm: str  # its name in the configuration
    about: str  # the device, or "gateway"
    severity: Severity
    state: str  # normal, unacknowledged, acknowledged, returned or shelved
    before: str  # the state before
    time_ms: int | None = None  # Unix time; absent while nobody vouches for the clock
    by: str = ""  # who changed it; absent: the gateway
    text: str = ""  # what to do, from the configuration
    lost: int = 0  # notices before this one that this receiver will never get


class NoticeQueue:
    """The notices for one receiver; the oldest that waits gives way when it is full."""

    def __init__(self, size: int) -> None:
        self._waiting: deque[Notice] = deque()
        self._sending: list[Notice] = []
        self._size = size
        self._some = asyncio.Event()
        self._named = 0  # lost ones that the notices being sent have the number of
        self.unnamed = 0  # lost ones that no receiver has heard of
        self.lost = 0  # since the start
        self.changes = 0  # of what is kept for the next start

    def __len__(self) -> int:
        return len(self._sending) + len(self._waiting)

    @property
    def kept(self) -> list[Notice]:
        """Return what nobody has taken yet, the oldest first."""
        return [*self._sending, *self._waiting]

    def put(self, *notices: Notice) -> None:
        """Take notices, in order."""
        for notice in notices:
            if len(self._waiting) >= self._size:
                self._waiting.popleft()
                self._lose(1)
            self._waiting.append(notice)
            self.changes += 1
        if self._waiting:
            self._some.set()

    def restore(self, notices: Sequence[Notice], lost: int) -> None:
        """Put back what waited before a restart, and how many were lost then."""
        self.unnamed += lost
        self.put(*notices)

    def hand_over(self, other: "NoticeQueue") -> None:
        """Let another queue go on with what waits here, and with what was lost.

        Whoever sends from this one may still end what it has taken: it gets nothing more.
        """
        other.lost += self.lost
        other.restore(self.kept, self.unnamed)
        self._waiting.clear()

    async def take(self, most: int) -> list[Notice]:
        """Wait for notices and return up to ``most`` of the oldest, the same until they are done.

        The first has the number of those that were lost before it.
        """
        while not self._sending:
            self._some.clear()
            while self._waiting and len(self._sending) < most:
                self._sending.append(self._waiting.popleft())
            if not self._sending:
                await self._some.wait()
        self._named = self.unnamed
        first, *others = self._sending
        return [replace(first, lost=first.lost + self._named), *others]

    def done(self, lost: int = 0) -> None:
        """Forget what was taken: the receiver has it; somebody of it will never have ``lost``."""
        self.lost += lost
        self.unnamed -= self._named
        self._sending, self._named = [], 0
        self.changes += 1

    def refused(self) -> None:
        """Forget what was taken: its receiver will never have it."""
        self._lose(len(self._sending))
        self._sending, self._named = [], 0

    def _lose(self, count: int) -> None:
        self.lost += count
        self.unnamed += count
        self.changes += 1
