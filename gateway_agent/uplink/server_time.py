"""Receipts bound wall time for a gateway that has no other source of it.

A collector signs its Unix time into each receipt. A receipt that covers a batch was signed after
that batch was first sent and before it came back, so wall time is known to within the round trip,
given that the collector's clock is right. Records that had no time get it from the anchors of later
batches.
"""

from typing import Final, Protocol

from gateway_agent.clock import FLOOR_MS
from gateway_agent.store.window import Slice
from protocols.uplink import CLOCK_SERVER, Receipt

MAX_ROUND_MS: Final = 60_000  # an answer that took longer is no measurement


class LearningClock(Protocol):
    """What is taught; see :class:`gateway_agent.clock.SystemClock`."""

    def boot_ms(self) -> int:
        """Return the milliseconds since boot."""

    def learn(self, boot_ms: int, wall_ms: int, unc_ms: int, state: int) -> None:
        """Take an anchor of this boot, if it is better than what is known."""


class ServerTime:
    """Follow one batch at a time from its first publication to the receipt that covers it.

    ``stream`` and ``last``: where the outbox stood when the process began. A receipt for records up
    to there may have been signed long ago, for a process before this one.
    """

    def __init__(self, clock: LearningClock, stream: int, last: int) -> None:
        self._clock = clock
        self._stream = stream
        self._last = last
        self._sent: tuple[int, int, int] | None = None  # stream, last record, boot time in ms

    def sending(self, piece: Slice) -> None:
        """Note that a batch is published for the first time, now."""
        is_new = piece.stream != self._stream or piece.last > self._last
        now = self._clock.boot_ms()
        if self._sent is not None and now - self._sent[2] <= MAX_ROUND_MS:
            return
        if is_new:
            self._sent = piece.stream, piece.last, now

    def receipted(self, receipt: Receipt) -> None:
        """Take the time of a valid receipt that came now."""
        if self._sent is None:
            return
        stream, last, sent_ms = self._sent
        if receipt.stream != stream or receipt.contiguous_to < last:
            return
        self._sent = None
        now = self._clock.boot_ms()
        half = (now - sent_ms + 1) // 2
        if now - sent_ms <= MAX_ROUND_MS and receipt.server_ms >= FLOOR_MS:
            self._clock.learn(now, receipt.server_ms + half, half + 1, CLOCK_SERVER)
