"""The receiving half of a channel: packets wait in slots, messages are handed out in order.

A packet is *arrived* when it stands in a slot and *taken over* when nobody needs it any more: when
its last message was handed out, or, on a channel that is *held*, when the program says so
(:meth:`Incoming.take_over`). Only then may the sender forget it. A packet for which there is no
slot is dropped; it comes again.
"""

from array import array

from micropython import const

_PACKETS = const(32)  # an ACK has as many bits
_MASK = const(0xFFFF)
_MAX_WINDOW = const(0xFFFF)


class Incoming:
    """One channel's way in: ``slots`` (a power of two, at most 32) packets of ``size`` bytes.

    The message that :meth:`next` found is ``view[at:at + length]``, until the next packet comes.
    """

    def __init__(self, number: int, slots: int, size: int, held: bool) -> None:
        self.number = number
        self.held = held
        self.ack_due = False
        self.repeats = 0
        self.dropped = 0
        self.malformed = 0
        self.at = 0
        self.length = 0
        self.handed = 0  # packets handed out whole, in all sessions
        self.window = min(_MAX_WINDOW, slots * size)
        self._slots = slots
        self._size = size
        self._buffer = bytearray(slots * size)
        self.view = memoryview(self._buffer)
        self._full = bytearray(slots)
        self._length = array("H", bytes(2 * slots))
        self.taken = 0  # the first sequence that is not taken over
        self._handed = 0  # packets from there on that were handed out
        self._offset = 0  # in the next packet, of its next message

    def open(self) -> None:
        """Begin a session, without what the last one left."""
        self.ack_due = False
        self.taken = self._handed = self._offset = 0
        for slot in range(self._slots):
            self._full[slot] = 0

    def put(self, sequence: int, payload: bytearray, at: int, length: int) -> None:
        """Take the packet ``payload[at:at + length]``, if it is new and has room."""
        self.ack_due = True
        ahead = sequence - self.taken & _MASK
        slot = sequence % self._slots
        if ahead > _MASK >> 1 or (ahead < self._slots and self._full[slot]):
            self.repeats += 1
        elif ahead >= self._slots or length > self._size:
            self.dropped += 1
        else:
            buffer = self._buffer
            to = slot * self._size
            for index in range(at, at + length):
                buffer[to] = payload[index]
                to += 1
            self._length[slot] = length
            self._full[slot] = 1

    def next(self) -> bool:
        """Find the next message; False if there is none."""
        while self._handed < self._slots:
            slot = (self.taken + self._handed) % self._slots
            if not self._full[slot]:
                return False
            end = self._length[slot]
            base = slot * self._size
            at = self._offset
            length = 0
            if at < end:
                length = self._buffer[base + at]
                at += 1
                if length & 0x80 and at < end:
                    length = (length & 0x7F) << 8 | self._buffer[base + at]
                    at += 1
            self._offset = at + length
            right = 0 < length <= end - at
            if not right:
                self.malformed += 1
            if self._offset >= end or not right:
                self._offset = 0
                self._handed += 1
                self.handed += 1
                if not self.held:
                    self.take_over(self.handed)
            if right:
                self.at = base + at
                self.length = length
                return True
        return False

    def take_over(self, mark: int) -> None:
        """Let go of the packets that had been handed out when ``handed`` was ``mark``."""
        count = mark - (self.handed - self._handed)
        if count > self._handed:
            return
        while count > 0:
            self._full[self.taken % self._slots] = 0
            self.taken = self.taken + 1 & _MASK
            self._handed -= 1
            count -= 1
            self.ack_due = True

    def write_ack(self, out: bytearray, at: int) -> None:
        """Write the payload of an ACK to ``out[at:at + 6]``: window and what has arrived."""
        self.ack_due = False
        out[at] = self.window >> 8
        out[at + 1] = self.window & 0xFF
        for byte in range(4):
            bits = 0
            for bit in range(8):
                index = 8 * byte + bit
                if index < self._slots and self._full[(self.taken + index) % self._slots]:
                    bits |= 1 << bit
            out[at + 5 - byte] = bits
