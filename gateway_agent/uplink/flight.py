"""Decide which records are sent when, from what is in flight and receipted; without I/O.

Order is oldest first. Receipts are contiguous, so a newer batch sent before the backlog would free
nothing; live-first needs a second stream and is not done here.

* Batches follow each other without waiting for the broker. What is without a receipt is limited by
  the bytes that it has on the wire (and by a number of batches, for small ones), what is without a
  PUBACK by the broker's Receive Maximum.
* Whenever it begins, or begins again, one batch goes alone until there is a receipt: what nobody
  takes is one batch, not a window of them.
* Nothing is remembered across a connection: every new one begins after the last receipt, so a
  broker that comes back empty, or a collector that ended before its commit, costs a repetition.
* A batch that the broker did not take is sent again as two halves, and so on: some brokers limit
  the length of a packet without a word. Each batch that is taken lets the next have a record more.
* The collector answers each batch, in order, and says at the begin of each of its connections how
  far it has come. A receipt that repeats the base and answers nothing that was sent is such a word,
  or the answer to a batch that does not follow: everything behind it is sent again at once, unless
  it may have crossed a batch that was sent just before. Then that has half a second.
* A batch that nobody was subscribed to (MQTT 5 says so) is not in flight: alone, it is tried again.
* Without a new receipt for ``retry_s`` everything unreceipted is sent again; the wait doubles, up
  to eight times, as long as none comes in this connection.

Times are seconds of the caller's monotonic clock.
"""

import logging
import math
from collections import deque
from typing import Final, NamedTuple

from gateway_agent.store.outbox import Stats
from gateway_agent.store.window import Slice

log = logging.getLogger(__name__)

RETRY_FACTOR: Final = 8
_IDLE_S: Final = 3600.0  # without anything in flight only a commit is waited for
_LEAST_WAIT_S: Final = 0.001
_UNHEARD_S: Final = 0.5  # the first wait after a batch that nobody was subscribed to
_MOST_UNANSWERED: Final = 256  # batches that are remembered until their answer comes
_CROSSING_S: Final = 0.5  # an answer takes no longer, or the batch has reached nobody
_ANSWER_S: Final = 1.0  # batches that were under way at a restart are answered within


class Pace(NamedTuple):
    """A batch has up to ``batch_records`` and waits up to ``interval_s`` to be full.

    While batches without a receipt have ``window_bytes`` or more, or are ``in_flight``, no other is
    sent. ``awaits_receipts`` False: the broker's PUBACK is taken for a receipt.
    """

    batch_records: int
    interval_s: float
    window_bytes: int
    in_flight: int
    retry_s: float
    awaits_receipts: bool = True


class SentBatch(NamedTuple):
    """Records ``first`` to ``last`` in a packet of ``size`` bytes; ``again``: sent before, too."""

    first: int
    last: int
    size: int
    again: bool


class Flight:
    """Follow one stream; call :meth:`rewind` at the begin of each connection."""

    def __init__(self, pace: Pace, now: float) -> None:
        self.stream = 0
        self.sent_to = 0  # in this connection
        self.most = pace.batch_records  # records of the next batch
        self._pace = pace
        self._sent_ever = 0  # in this stream
        self._unreceipted: deque[SentBatch] = deque()  # in flight
        self._bytes = 0  # of them
        self._unacknowledged: deque[SentBatch] = deque()  # by the broker, in this connection
        self._most_unacknowledged = 1
        self._is_alone = True  # the next batch: no receipt has come since it began (again)
        self._progress_at = now  # when a receipt, or the first batch in flight, restarted the wait
        self._due_since = now  # the newest receipt, or the first batch sent after it
        self._retry_s = pace.retry_s
        self._next_at = -math.inf  # a batch that is not full waits until then
        self._waited_to = 0  # records that waited when it began (again) do not wait to fill a batch
        # Last sequence number of each batch of this connection without an answer, in order.
        self._unanswered: deque[int] = deque(maxlen=_MOST_UNANSWERED)
        self._restart_due = math.inf  # when it begins again because of the collector's word
        self._restart_at = -math.inf  # when the collector's word last made us begin again
        self._held_until = -math.inf  # nobody is subscribed: nothing is sent until then
        self._unheard_at = now  # since when, in this connection
        self._unheard_s = _UNHEARD_S

    def rewind(self, stats: Stats, now: float, most_unacknowledged: int) -> None:
        """Begin again after the last receipt, in a new connection to a broker.

        ``most_unacknowledged``: how many batches it takes before it has acknowledged the first.
        """
        self._retry_s = self._pace.retry_s
        self._most_unacknowledged = most_unacknowledged
        self._unacknowledged.clear()
        self._unheard_at = now
        self._restart(stats, now)

    def _restart(self, stats: Stats, now: float) -> None:
        """Begin again; what was sent before has reached nobody, or its answers are under way."""
        self._unanswered.clear()
        self._restart_due = math.inf
        self._return(stats, now)

    def _return(self, stats: Stats, now: float) -> None:
        self._keep_first(0)
        self.sent_to = stats.receipted_to
        self._waited_to = stats.last
        self._progress_at = now

    def _keep_first(self, count: int) -> None:
        """Take all but ``count`` batches out of flight; the next one goes alone."""
        while len(self._unreceipted) > count:
            self._bytes -= self._unreceipted.pop().size
        self._is_alone = self._pace.awaits_receipts

    def follow(self, stats: Stats, now: float) -> None:
        """Take note of what receipts, commits and rebuilds have changed, and of silence."""
        if stats.stream != self.stream:
            self.stream, self._sent_ever, self._due_since = stats.stream, 0, now
            self._retry_s = self._pace.retry_s
            self._restart(stats, now)
        if now >= self._restart_due:
            self._restart(stats, now)
        while self._unreceipted and self._unreceipted[0].last <= stats.receipted_to:
            self._bytes -= self._unreceipted.popleft().size
        self.sent_to = max(self.sent_to, stats.receipted_to)
        if self._awaits_receipt and now - self._progress_at >= self._retry_s:
            self._retry_s = min(2 * self._retry_s, RETRY_FACTOR * self._pace.retry_s)
            log.warning("no receipt beyond record %d: sending again", stats.receipted_to)
            self._return(stats, now)

    def wait_s(self, stats: Stats, now: float, at_once: bool) -> float:
        """Return how long to wait for a commit or a receipt before looking again; 0: send now.

        ``at_once``: a batch need not be full.
        """
        if self._restart_due < math.inf:
            return max(self._restart_due - now, _LEAST_WAIT_S)
        silence = self._progress_at + self._retry_s - now if self._awaits_receipt else _IDLE_S
        pending = stats.last - self.sent_to
        if not pending or self._is_window_full:
            return max(silence, _LEAST_WAIT_S)
        if now < self._held_until:
            return self._held_until - now
        if pending >= self.most or at_once or self.sent_to < self._waited_to:
            return 0
        return max(0.0, min(self._next_at - now, silence))

    @property
    def _awaits_receipt(self) -> bool:
        return bool(self._unreceipted) and self._pace.awaits_receipts

    @property
    def _is_window_full(self) -> bool:
        return (
            len(self._unreceipted) >= (1 if self._is_alone else self._pace.in_flight)
            or self._bytes >= self._pace.window_bytes
            or len(self._unacknowledged) >= self._most_unacknowledged
        )

    def waiting_s(self, stats: Stats, now: float) -> float:
        """Return for how long there was no new receipt for what was sent; 0: none is due."""
        return now - self._due_since if self._sent_ever > stats.receipted_to else 0.0

    def send(self, piece: Slice, size: int, now: float) -> SentBatch:
        """Note that ``piece`` is sent now, in a packet of ``size`` bytes."""
        if not self._unreceipted:
            self._progress_at = now
            if piece.first > self._sent_ever:
                self._due_since = now
        self._next_at = self._following(now)
        self._unanswered.append(piece.last)
        sent = SentBatch(piece.first, piece.last, size, piece.first <= self._sent_ever)
        self._unacknowledged.append(sent)
        self._unreceipted.append(sent)
        self._bytes += size
        self.sent_to = piece.last
        self._sent_ever = max(self._sent_ever, piece.last)
        return sent

    def _following(self, now: float) -> float:
        """Return until when the batch after one that is sent ``now`` may wait to be full.

        On a grid: timed from the batch before, each would be late by what sending takes, and with
        polls of the same period the age of readings would rise and fall like a saw-tooth.
        """
        late = now - self._next_at
        if late < 0:  # it was full before its time
            return self._next_at
        interval = self._pace.interval_s
        return self._next_at + interval if late < interval else now + interval

    def too_large(self, records: int) -> None:
        """Note that a batch of so many records is more than the broker takes."""
        self.most = max(1, records // 2)

    def ended(self) -> int:
        """Return how many records the largest batch had that was not acknowledged to the end."""
        largest = max(self._unacknowledged, key=lambda sent: sent.size, default=None)
        return 0 if largest is None else largest.last - largest.first + 1

    def acknowledged(self, is_heard: bool, now: float) -> SentBatch:
        """Note that the broker has the oldest batch without a PUBACK, and return it.

        Brokers answer in order (MQTT 5.0, 4.6). ``is_heard``: somebody is subscribed to it.
        """
        sent = self._unacknowledged.popleft()
        if not is_heard and self._pace.awaits_receipts:
            self._unheard(sent, now)
            return sent
        self.most = min(self.most + 1, self._pace.batch_records)
        if not self._pace.awaits_receipts:
            self._bytes -= self._unreceipted.popleft().size
            self._unanswered.clear()
        return sent

    def _unheard(self, sent: SentBatch, now: float) -> None:
        """Take ``sent`` out of flight, and what was sent behind it: that does not follow."""
        for index, other in enumerate(self._unreceipted):
            if other is sent:
                self._keep_first(index)
                self._unanswered.clear()
                self.sent_to = sent.first - 1
                if not self.is_unheard:
                    self._unheard_at = now
                self._held_until = now + self._unheard_s
                self._unheard_s = min(2 * self._unheard_s, self._pace.retry_s)
                return

    @property
    def is_unheard(self) -> bool:
        """Return whether nobody was subscribed to the newest batch."""
        return self._held_until > -math.inf

    def unheard_s(self, now: float) -> float:
        """Return for how long nobody has been subscribed in this connection; 0: somebody is."""
        return now - self._unheard_at if self.is_unheard else 0.0

    def receipted(self, to: int, now: float) -> None:
        """Note a receipt that covered something new, up to record ``to``."""
        self._retry_s = self._pace.retry_s
        self._progress_at = self._due_since = now
        self._is_alone = False
        self._restart_due = math.inf
        self._heard()
        if to in self._unanswered:  # answers before it were lost
            while self._unanswered[0] != to:
                self._unanswered.popleft()
        self._answered(to)

    def repeated(self, to: int, now: float) -> None:
        """Note a receipt up to record ``to`` that was signed just now and covers nothing new."""
        self._heard()
        if self._answered(to) or now - self._restart_at < _ANSWER_S:
            return
        # The first batch in flight may have crossed the collector's word; then it is answered yet.
        crossing = self._progress_at + _CROSSING_S if self._awaits_receipt else now
        # Not here, even if it is due: a batch may be taken from the outbox at the moment.
        self._restart_at = self._restart_due = max(now, crossing)

    def _heard(self) -> None:
        self._held_until, self._unheard_s = -math.inf, _UNHEARD_S

    def _answered(self, to: int) -> bool:
        """Return whether a receipt up to ``to`` answers the oldest batch without an answer."""
        if not self._unanswered or self._unanswered[0] > to:
            return False
        self._unanswered.popleft()
        return True

    def restarted(self, now: float) -> None:
        """Note that a new stream has begun; it gets the whole wait for its first receipt."""
        self._progress_at = now
