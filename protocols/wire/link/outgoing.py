"""The sending half of a channel: messages wait in a ring until the other end has taken them over.

A packet is some whole messages that stand one after the other in the ring, so sending it again
needs no copy, and the end of a session only forgets where packets began and ended.

Times are the caller's milliseconds; ``diff(a, b)`` is a - b across their wrap.
"""

from array import array

from micropython import const

from protocols.wire.errors import TOO_LONG, LocalError

from .ring import MessageRing
from .round_trip import DOUBLINGS, RoundTrip

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from protocols.wire.ports import TicksDiff

PACKETS = 32  # not taken over at one time; as many as an ACK has bits
# A message of a kept channel fits into the smallest frame that a later session may agree on.
MAX_KEPT_MESSAGE = 229

_ASK_MS = const(1000)  # the first question whether something was taken over
_MASK = const(0xFFFF)
# New packets are short at first and after a loss, also of the session before: of two lengths the
# shorter one gets through more often where bytes are damaged, and costs little where they are not.
_FIRST_GRAIN = const(128)
_SMALLEST_GRAIN = const(32)
_PROVEN = const(2)  # so many packets in a row arrived at once: the next ones are twice as long

# States of a packet.
_FLYING = const(0)
_LOST = const(1)
_ARRIVED = const(2)


class Outgoing:
    """One channel's way out; ``size`` bytes of messages with their lengths wait at most.

    ``packets`` (a power of two, at most 32) are not taken over at one time.
    """

    def __init__(
        self,
        number: int,
        kept: bool,
        size: int,
        packets: int,
        trip: RoundTrip,
        diff: "TicksDiff",
    ) -> None:
        self.number = number
        self.kept = kept
        self.resent = 0
        self._trip = trip
        self._diff = diff
        self._ring = MessageRing(size)
        self._packets = packets
        self._packed = 0  # bytes of the oldest messages, which are in packets
        self._first = 0  # sequence of the oldest packet that is not taken over
        self._count = 0
        self._lost = 0
        self._flying = 0
        self._length = array("H", bytes(2 * packets))
        self._state = bytearray(packets)
        self._once = bytearray(packets)  # 1: sent once
        self._sent_ms = [0] * packets
        self._order = [0] * packets  # rises with every sending
        self._sendings = 0
        self._room = 0  # of a packet; 0: no session
        self._limit = 0  # the session's window
        self._window = 0
        self._backoff = 0
        self._grain = _FIRST_GRAIN  # how long new packets are, if their messages allow it
        self._streak = 0
        self._moved_ms = 0  # when anything was sent or taken over last
        self._ack_counter = 0

    # --- messages ---------------------------------------------------------------------------

    def room(self) -> int:
        """Return how long the next message may be; 0: there is no room, or no session for it."""
        return min(self.longest(), self._ring.room())

    def longest(self) -> int:
        """Return how long a message may ever be; 0: there is no session for it."""
        longest = MAX_KEPT_MESSAGE if self.kept else self._room - 2
        return max(0, min(longest, self._ring.longest()))

    def advised(self) -> int:
        """Return how long a message should be that can be shorter; 0: there is no session."""
        return min(self.longest(), self._grain - 2)

    def put(self, message: bytes | bytearray | memoryview, length: int) -> bool:
        """Queue ``message[:length]``; False if there is no room now.

        LocalError if it never fits.
        """
        longest = self.longest()
        if length > longest > 0:
            raise LocalError(TOO_LONG, "message", -1, longest, length)
        if length > self.room() or not length:
            return False
        self._ring.put(message, length)
        return True

    def waiting(self) -> int:
        """Return the bytes that are not taken over."""
        return self._ring.used

    def drop_oldest(self) -> bool:
        """Drop the oldest message that is in no packet; False if there is none."""
        return self._ring.remove(self._packed)

    # --- session ----------------------------------------------------------------------------

    def open(self, room: int, window: int, now_ms: int) -> None:
        """Begin a session whose packets have ``room`` bytes."""
        self.close()
        self._room = room
        self._limit = self._window = window
        self._grain = min(room, self._grain)
        self._streak = 0
        self._moved_ms = now_ms

    def close(self) -> None:
        """End the session; what was not taken over stays if the channel is kept."""
        self._room = self._packed = self._first = self._count = 0
        self._lost = self._flying = self._backoff = self._ack_counter = 0
        if not self.kept:
            self._ring.clear()

    # --- packets ----------------------------------------------------------------------------

    def wait_ms(self, now_ms: int) -> int:
        """Return the milliseconds until :meth:`next` has a packet; 0: now, -1: never."""
        if not self._room or not self._ring.used:
            return -1
        if self._lost or self._fits():
            return 0
        if self._on_its_way():
            passed = self._diff(now_ms, self._oldest_ms())
            return max(0, self._trip.timeout_ms(self._backoff) - passed)
        return max(0, (_ASK_MS << self._backoff) - self._diff(now_ms, self._moved_ms))

    def next(self, now_ms: int) -> int:
        """Return the sequence of the packet to send now; only when :meth:`wait_ms` is 0."""
        sequence = self._first
        if not self._lost:
            if self._fits():
                return self._build(now_ms, min(self._grain, self._window - self._packed))
            if self._on_its_way():
                self._time_out(now_ms)
            elif self._backoff < DOUBLINGS:
                self._backoff += 1
        if self._lost:
            while self._state[sequence % self._packets] != _LOST:
                sequence = sequence + 1 & _MASK
            self._lost -= 1
            self._flying += 1
            self._state[sequence % self._packets] = _FLYING
        elif not self._count:
            return self._build(now_ms, self._grain)
        # Else it is a question: the ACK for it shows what was taken over, and the window.
        slot = sequence % self._packets
        self._once[slot] = 0
        self.resent += 1
        self._sent(slot, now_ms)
        return sequence

    def copy(self, sequence: int, out: bytearray, at: int) -> int:
        """Write a packet to ``out[at:]``; return its length."""
        offset = 0
        before = self._first
        while before != sequence:
            offset += self._length[before % self._packets]
            before = before + 1 & _MASK
        length = self._length[sequence % self._packets]
        self._ring.copy(offset, length, out, at)
        return length

    def acknowledged(
        self, sequence: int, payload: bytearray, at: int, counter: int, now_ms: int
    ) -> bool:
        """Take an ACK with its payload at ``payload[at]``; False if it cannot be for this end."""
        if counter < self._ack_counter:
            return True
        taken = sequence - self._first & _MASK
        if taken > self._count or not self._room:
            return False
        self._ack_counter = counter
        newest = -1  # the slot of the packet that was sent last of those that arrived
        if taken:
            for _ in range(taken):
                slot = self._first % self._packets
                newest = self._arrived(slot, newest)
                length = self._length[slot]
                self._ring.release(length)
                self._packed -= length
                self._first = self._first + 1 & _MASK
                self._count -= 1
            self._moved_ms = now_ms
            self._backoff = 0
        for index in range(self._count):
            if payload[at + 5 - (index >> 3)] >> (index & 7) & 1:
                slot = (sequence + index) % self._packets
                newest = self._arrived(slot, newest)
        if newest >= 0:
            # Others may have arrived long ago, and the ACK that showed it was lost.
            if self._once[newest]:
                self._trip.measured(self._diff(now_ms, self._sent_ms[newest]))
            for index in range(self._count):
                slot = (sequence + index) % self._packets
                if self._state[slot] == _FLYING and self._order[slot] < self._order[newest]:
                    self._lose(slot)
        self._window = min(self._limit, payload[at] << 8 | payload[at + 1])
        return True

    def _on_its_way(self) -> bool:
        """Whether a packet flies that the other end is ready to take."""
        return self._flying > 0 and self._packed <= self._window

    def _fits(self) -> bool:
        """Whether a new packet may go."""
        if self._count == self._packets:
            return False
        message = self._ring.length(self._packed)
        return 0 < message <= self._window - self._packed

    def _build(self, now_ms: int, room: int) -> int:
        """Make a packet of the next message, and more that have ``room``; return its sequence."""
        length = self._ring.length(self._packed)
        while True:
            message = self._ring.length(self._packed + length)
            if not message or length + message > room:
                break
            length += message
        sequence = self._first + self._count & _MASK
        slot = sequence % self._packets
        self._length[slot] = length
        self._state[slot] = _FLYING
        self._once[slot] = 1
        self._packed += length
        self._count += 1
        self._flying += 1
        self._sent(slot, now_ms)
        return sequence

    def _sent(self, slot: int, now_ms: int) -> None:
        self._sendings += 1
        self._order[slot] = self._sendings
        self._sent_ms[slot] = now_ms
        self._moved_ms = now_ms

    def _arrived(self, slot: int, newest: int) -> int:
        """Note that a packet arrived; return it or ``newest``, whichever was sent later."""
        state = self._state[slot]
        if state == _ARRIVED:
            return newest
        self._state[slot] = _ARRIVED
        if state == _LOST:
            self._lost -= 1
        else:
            self._flying -= 1
        if self._once[slot]:
            self._streak += 1
            if self._streak == _PROVEN:
                self._streak = 0
                self._grain = min(self._room, 2 * self._grain)
        self._backoff = 0
        if newest >= 0 and self._order[newest] > self._order[slot]:
            return newest
        return slot

    def _lose(self, slot: int) -> None:
        self._state[slot] = _LOST
        self._streak = 0
        self._grain = max(_SMALLEST_GRAIN, self._grain >> 1)
        self._flying -= 1
        self._lost += 1

    def _oldest_ms(self) -> int:
        """Return when the packet was sent that flies longest."""
        oldest = self._moved_ms
        for index in range(self._count):
            slot = (self._first + index) % self._packets
            if self._state[slot] == _FLYING and self._diff(self._sent_ms[slot], oldest) < 0:
                oldest = self._sent_ms[slot]
        return oldest

    def _time_out(self, now_ms: int) -> None:
        timeout = self._trip.timeout_ms(self._backoff)
        for index in range(self._count):
            slot = (self._first + index) % self._packets
            passed = self._diff(now_ms, self._sent_ms[slot])
            if self._state[slot] == _FLYING and passed >= timeout:
                self._lose(slot)
        if self._backoff < DOUBLINGS:
            self._backoff += 1
