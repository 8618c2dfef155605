"""What is sent when, in virtual time: a gateway's flight of batches, a broker and a collector.

``Flight`` and ``Backoff`` are the real ones of the uplink. What they learn of commits, PUBACKs,
receipts and ends of connections comes from a queue of events; nothing waits, so an hour takes a
second.
"""

import heapq
import itertools
import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from gateway_agent.store.outbox import Stats
from gateway_agent.store.window import Slice
from gateway_agent.uplink.backoff import AWAY, Backoff
from gateway_agent.uplink.connection import ANSWER_S
from gateway_agent.uplink.flight import Flight, Pace
from protocols.uplink import Anchor

STREAM = 1 << 32
RECORD_BYTES = 30  # of a batch, compressed
TCP_AGAIN_S = (1.0, 2.0)  # Linux repeats an opening that nobody answers after 1 s, and 2 s later
MOST_UNACKNOWLEDGED = 20


Draw = Callable[[float, float], float]


class Passed(NamedTuple):
    """A batch that a broker handed to a collector; ``connection`` is the gateway's."""

    connection: int
    first: int
    last: int


class FlightWorld:
    """One gateway. ``knows_absence``: the broker says that nobody is subscribed (MQTT 5)."""

    def __init__(
        self,
        pace: Pace,
        *,
        collector_s: float,
        way_s: float = 0.002,
        make_s: float = 0.003,
        knows_absence: bool = True,
        outbox: int = 1 << 40,
        is_silent: bool = False,
        draws: tuple[Draw, Draw] = (random.uniform, random.uniform),
    ) -> None:
        """Connect both. ``is_silent``: a broker that is away does not even refuse a connection.

        ``draws``: of the waits of gateway and collector.
        """
        self.now = 0.0
        self.taken: list[Passed] = []
        self.lost: list[int] = []  # connections in which a batch found nobody subscribed
        self.ages: list[tuple[float, float]] = []  # when a record was stored, and its age then
        self.stored = 0  # contiguous, in the collector's database
        self.skipped = 0
        self.most_in_flight = 0  # bytes
        self._collector_s = collector_s  # for a record
        self._way_s = way_s  # to or from the broker
        self._make_s = make_s  # to read, sign and compress a batch
        self._knows_absence = knows_absence
        self._outbox = outbox  # records it has room for
        self._flight = Flight(pace, 0.0)
        self._born: list[float] = []
        self._receipted = 0
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = itertools.count()
        self._looks = itertools.count()
        self._newest_look = -1
        self._is_making = False
        self._is_up = True
        self._connection = 0  # of the gateway; 0: none
        self._connections = itertools.count(1)
        self._is_subscribed = False
        self._collector_free = 0.0
        self._is_silent = is_silent
        self.in_vain: list[float] = []  # when somebody asked for the broker, or gave up
        self._draw_of_collector = draws[1]
        self._backoff = Backoff(draw=draws[0])
        self.connect()
        self.subscribe()

    # --- time ------------------------------------------------------------------------------------

    def after(self, seconds: float, call: Callable[[], object]) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._numbers), call))

    def run_until(self, end: float, condition: Callable[[], bool] = lambda: False) -> None:
        """Go on until ``end``, or until ``condition`` holds after an event."""
        while self._events and self._events[0][0] <= end and not condition():
            self.now, _, call = heapq.heappop(self._events)
            call()
        if not condition():
            self.now = end

    def each(self, period: float, until: float, call: Callable[[], object]) -> None:
        """Call at every multiple of ``period``."""
        for step in range(1, round((until - self.now) / period)):
            self.after(step * period, call)

    # --- the gateway -----------------------------------------------------------------------------

    def commit(self, count: int, age_s: float = 0.0) -> None:
        """Put records into the outbox that were read ``age_s`` ago; what has no room is skipped."""
        room = min(count, self._outbox - (len(self._born) - self._receipted))
        self.skipped += count - room
        self._born += [self.now - age_s] * room
        self._look()

    @property
    def offered(self) -> int:
        return len(self._born) + self.skipped

    @property
    def is_all_stored(self) -> bool:
        return self.stored == len(self._born) == self._receipted

    def _stats(self) -> Stats:
        last = len(self._born)
        return Stats(STREAM, last, self._receipted, last - self._receipted, 0, 0)

    def connect(self) -> None:
        self._connection = next(self._connections)
        self._flight.rewind(self._stats(), self.now, MOST_UNACKNOWLEDGED)
        self._look()

    def _look(self) -> None:
        """Do what the sender's task does when it is woken."""
        self._newest_look = next(self._looks)
        if not self._connection or self._is_making:
            return
        flight, books = self._flight, self._stats()
        flight.follow(books, self.now)
        wait = flight.wait_s(books, self.now, at_once=False)
        if wait > 0:
            look = self._newest_look
            self.after(wait, lambda: self._look() if look == self._newest_look else None)
            return
        first, last = flight.sent_to + 1, min(books.last, flight.sent_to + flight.most)
        self._is_making = True
        connection = self._connection
        self.after(self._make_s, lambda: self._send(connection, first, last))

    def _send(self, connection: int, first: int, last: int) -> None:
        self._is_making = False
        flight = self._flight
        if connection == self._connection:
            flight.follow(self._stats(), self.now)
            if first == flight.sent_to + 1:
                piece = Slice(STREAM, first, last, b"", b"", (), Anchor(b"", 0, None, 0, 0))
                flight.send(piece, (last - first + 1) * RECORD_BYTES, self.now)
                in_flight = (last - self._receipted) * RECORD_BYTES
                self.most_in_flight = max(self.most_in_flight, in_flight)
                self.after(self._way_s, lambda: self._arrive(connection, first, last))
        self._look()

    def _receipt(self, connection: int, to: int) -> None:
        if connection != self._connection:
            return
        self._backoff.reset()
        if to > self._receipted:
            self._receipted = to
            self._flight.receipted(to, self.now)
        elif to == self._receipted:
            self._flight.repeated(to, self.now)
        self._look()

    # --- the broker ------------------------------------------------------------------------------

    def _arrive(self, connection: int, first: int, last: int) -> None:
        if connection != self._connection:
            return
        is_heard = self._is_subscribed
        if is_heard:
            self.taken.append(Passed(connection, first, last))
            self.after(self._way_s, lambda: self._work(first, last))
        else:
            self.lost.append(connection)

        def acknowledged() -> None:
            if connection == self._connection:
                self._flight.acknowledged(is_heard or not self._knows_absence, self.now)
                self._look()

        self.after(self._way_s, acknowledged)

    def go_away(self) -> None:
        """End every connection; what was on its way is lost."""
        self._is_up = self._is_subscribed = False
        self._connection = 0
        self._try(self._backoff, self.connect)
        self._try(Backoff(draw=self._draw_of_collector), self.subscribe)

    def come_back(self) -> None:
        self._is_up = True

    def _try(self, backoff: Backoff, connect: Callable[[], object]) -> None:
        def attempt(again: Sequence[float]) -> None:
            if self._is_up:
                self.after(4 * self._way_s, connect)
                return
            self.in_vain.append(self.now)
            if self._is_silent and again:
                self.after(again[0], lambda: attempt(again[1:]))
            else:
                rest = ANSWER_S - sum(TCP_AGAIN_S) if self._is_silent else 0.0
                self.after(rest, lambda: self._failed(backoff, connect))

        self.after(backoff.next_s(AWAY), lambda: attempt(TCP_AGAIN_S))

    def _failed(self, backoff: Backoff, connect: Callable[[], object]) -> None:
        self.in_vain.append(self.now)
        self._try(backoff, connect)

    # --- the collector ---------------------------------------------------------------------------

    def subscribe(self) -> None:
        """Connect; if the stream is known, the gateway learns how far it is stored."""
        self._is_subscribed = True
        if self.stored:
            self._answer()

    def leave(self) -> None:
        """End the collector alone."""
        self._is_subscribed = False

    def _work(self, first: int, last: int) -> None:
        if not self._is_subscribed:
            return
        took = (last - first + 1) * self._collector_s
        self._collector_free = max(self._collector_free, self.now) + took
        self.after(self._collector_free - self.now, lambda: self._store(first, last))

    def _store(self, first: int, last: int) -> None:
        if not self._is_subscribed:
            return
        if first <= self.stored + 1:
            for number in range(self.stored, last):
                self.ages.append((self.now, self.now - self._born[number]))
            self.stored = max(self.stored, last)
        self._answer()

    def _answer(self) -> None:
        connection, to = self._connection, self.stored
        self.after(2 * self._way_s, lambda: self._receipt(connection, to))

    # --- what passed -----------------------------------------------------------------------------

    def repeated(self) -> int:
        """Count the batches with a record that was taken before in the same connection."""
        again, connection, sent = 0, 0, 0
        for batch in self.taken:
            if batch.connection != connection:
                connection, sent = batch.connection, 0
            again += batch.first <= sent
            sent = max(sent, batch.last)
        return again
