"""What a platform commanded becomes an action record in the signed stream, the refused too.

Whoever reads the stream sees who changed what and when, beside the readings that it changed. A
platform that commands without end fills no outbox: what goes past the limit is counted, and the
next record names the count.
"""

import asyncio
from collections import deque
from typing import Final, Literal

from protocols.text_of_others import printable
from protocols.uplink import MAX_ACTION_DETAIL, MAX_OPERATOR_LENGTH, Action

from .feed import ExportContext

MOST: Final = 60  # records in SPAN_MS
SPAN_MS: Final = 600_000
_DURABLE_S: Final = 10.0


class CommandAudit:
    """The commands of one platform; ``by``: who it is, as ``hj212: city``."""

    def __init__(self, by: str, context: ExportContext) -> None:
        self.by = by[:MAX_OPERATOR_LENGTH]
        self._context = context
        self._times: deque[int] = deque()
        self._left_out = 0
        self._waiting = 0
        self._durable = asyncio.Event()

    def record(self, outcome: Literal["done", "refused", "failed"], text: str) -> None:
        """Put one command into the stream."""
        now = self._context.clock.boot_ms()
        while self._times and now - self._times[0] >= SPAN_MS:
            self._times.popleft()
        if len(self._times) >= MOST:
            self._left_out += 1
            return
        self._times.append(now)
        detail = printable(text)
        if self._left_out:
            detail = f"{self._left_out} more before it are not in the stream; {detail}"
            self._left_out = 0
        action = Action(f"command-{outcome}", self.by, 0, detail[:MAX_ACTION_DETAIL])
        self._waiting += 1
        self._durable.clear()
        self._context.note(self._context.gateway, action, self._committed)

    def _committed(self) -> None:
        self._waiting -= 1
        if not self._waiting:
            self._durable.set()

    async def durable(self) -> None:
        """Return when every record is on the medium; OSError if it takes none."""
        if not self._waiting:
            return
        try:
            async with asyncio.timeout(_DURABLE_S):
                await self._durable.wait()
        except TimeoutError:
            raise OSError("the record of a command cannot be stored") from None
