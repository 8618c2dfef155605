"""Read the outbox once for all exporters that are at about the same place.

After an outage every exporter goes through the same records. What one has just read is kept for
the others for a short while: to read a piece means to prove its hashes again.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from gateway_agent.store.window import Slice
from gateway_agent.store.writer import OutboxWriter

MAX_RECORDS: Final = 1000  # of one piece
MAX_BYTES: Final = 256 * 1024
_MAX_PIECES: Final = 32  # 8 MiB of records at the most
_KEEP_S: Final = 10.0  # a piece has the clock anchor of when it was read


class SharedReads:
    """The newest pieces that were read; use it from one event loop."""

    def __init__(self, outbox: OutboxWriter, now: Callable[[], float]) -> None:
        """``now``: seconds of a monotonic clock."""
        self._outbox = outbox
        self._now = now
        self._pieces: deque[tuple[float, Slice]] = deque(maxlen=_MAX_PIECES)
        self._reading = asyncio.Lock()  # who waits for it finds what was read meanwhile

    async def after(self, stream: int, seq: int) -> Slice | None:
        """Return records that follow record ``seq``; None if there is none.

        Where the outbox has another stream by now they are of that one. Of ``prev`` and ``head``
        nothing is said: the records may be the rest of a piece.
        """
        async with self._reading:
            now = self._now()
            while self._pieces and self._pieces[0][0] < now - _KEEP_S:
                self._pieces.popleft()
            for _, piece in reversed(self._pieces):
                if piece.stream == stream and piece.first <= seq + 1 <= piece.last:
                    skipped = seq + 1 - piece.first
                    return piece._replace(first=seq + 1, records=piece.records[skipped:])
            found = await self._outbox.kept_slice(seq, MAX_RECORDS, MAX_BYTES)
            if found is not None and found.anchor.wall_ms is not None:
                self._pieces.append((now, found))
            return found
