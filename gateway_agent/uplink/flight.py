"""Decide which records are sent when, from what is in flight and receipted; without I/O.

Order is oldest first. Receipts are contiguous, so a newer batch sent before the backlog would free
nothing; live-first needs a second stream and is not done here.

* At most ``in_flight`` batches are without a receipt.
* Nothing is remembered across a connection: every new one begins after the last receipt, so a
  broker that comes back empty, or a collector that ended before its commit, costs a repetition.
* A batch that the broker did not take is sent again as two halves, and so on: some brokers limit
  the length of a packet without a word. Each batch that is taken lets the next have a record more.
* Without a new receipt for ``retry_s`` everything unreceipted is sent again; the wait doubles, up
  to eight times, as long as none comes.

Times are seconds of the caller's monotonic clock.
"""

import logging
from collections import deque
from typing import Final, NamedTuple

from gateway_agent.store.outbox import Stats
from gateway_agent.store.window import Slice

log = logging.getLogger(__name__)

RETRY_FACTOR: Final = 8
_IDLE_S: Final = 3600.0  # without anything in flight only a commit is waited for
_LEAST_WAIT_S: Final = 0.001


class Pace(NamedTuple):
    """A batch has up to ``batch_records`` and waits up to ``interval_s`` to be full."""

    batch_records: int
    interval_s: float
    in_flight: int
    retry_s: float


class Flight:
    """Follow one stream; call :meth:`rewind` at the begin of each connection."""

    def __init__(self, pace: Pace, now: float) -> None:
        self.stream = 0
        self.sent_to = 0  # in this connection
        self.most = pace.batch_records  # records of the next batch
        self._pace = pace
        self._sent_ever = 0  # in this stream
        self._unreceipted: deque[int] = deque()  # last sequence number of each batch in flight
        self._progress_at = now  # when a receipt, or the first batch in flight, restarted the wait
        self._due_since = now  # the newest receipt, or the first batch sent after it
        self._retry_s = pace.retry_s
        self._next_at = 0.0  # a batch that is not full waits until then

    def rewind(self, stats: Stats, now: float) -> None:
        """Begin again after the last receipt."""
        self._unreceipted.clear()
        self.sent_to = stats.receipted_to
        self._progress_at = now

    def follow(self, stats: Stats, now: float) -> None:
        """Take note of what receipts, commits and rebuilds have changed, and of silence."""
        if stats.stream != self.stream:
            self.stream, self._sent_ever, self._due_since = stats.stream, 0, now
            self.rewind(stats, now)
        while self._unreceipted and self._unreceipted[0] <= stats.receipted_to:
            self._unreceipted.popleft()
        self.sent_to = max(self.sent_to, stats.receipted_to)
        if self._unreceipted and now - self._progress_at >= self._retry_s:
            self._retry_s = min(2 * self._retry_s, RETRY_FACTOR * self._pace.retry_s)
            log.warning("no receipt beyond record %d: sending again", stats.receipted_to)
            self.rewind(stats, now)

    def wait_s(self, stats: Stats, now: float, at_once: bool) -> float:
        """Return how long to wait for a commit or a receipt before looking again; 0: send now.

        ``at_once``: a batch need not be full.
        """
        silence = self._progress_at + self._retry_s - now if self._unreceipted else _IDLE_S
        pending = stats.last - self.sent_to
        if not pending or len(self._unreceipted) >= self._pace.in_flight:
            return max(silence, _LEAST_WAIT_S)
        if pending >= self.most or at_once:
            return 0
        return max(0.0, min(self._next_at - now, silence))

    def waiting_s(self, stats: Stats, now: float) -> float:
        """Return for how long there was no new receipt for what was sent; 0: none is due."""
        return now - self._due_since if self._sent_ever > stats.receipted_to else 0.0

    def begin(self, piece: Slice, now: float) -> bool:
        """Note that ``piece`` is about to be sent; return whether it repeats an earlier one."""
        if not self._unreceipted:
            self._progress_at = now
            if piece.first > self._sent_ever:
                self._due_since = now
        self._next_at = now + self._pace.interval_s
        return piece.first <= self._sent_ever

    def refused(self, piece: Slice) -> None:
        """Note that the broker did not, or would not, take ``piece``."""
        self.most = max(1, len(piece.records) // 2)

    def sent(self, piece: Slice, awaits_receipt: bool) -> None:
        """Note that the broker has acknowledged ``piece``."""
        self._sent_ever = max(self._sent_ever, piece.last)
        if awaits_receipt:
            self._unreceipted.append(piece.last)
        self.sent_to = piece.last
        self.most = min(self.most + 1, self._pace.batch_records)

    def receipted(self, now: float) -> None:
        """Note a receipt that covered something new."""
        self._retry_s = self._pace.retry_s
        self._progress_at = self._due_since = now

    def restarted(self, now: float) -> None:
        """Note that a new stream has begun; it gets the whole wait for its first receipt."""
        self._progress_at = now
