"""The queue of a channel: messages, each with its length before it, in one fixed buffer.

A message stands here as it goes into a packet: one byte of length below 128, else two.
"""


class MessageRing:
    """``size`` bytes of messages and lengths; offsets count from the oldest message."""

    def __init__(self, size: int) -> None:
        self.used = 0
        self._ring = bytearray(size)
        self._begin = 0

    def longest(self) -> int:
        """Return how long a message may be in an empty ring."""
        return len(self._ring) - 2

    def room(self) -> int:
        """Return how long the next message may be."""
        return max(0, self.longest() - self.used)

    def put(self, message: bytes | bytearray | memoryview, length: int) -> None:
        """Add ``message[:length]``, for which there is room."""
        ring = self._ring
        size = len(ring)
        at = (self._begin + self.used) % size
        if length > 127:
            ring[at] = 0x80 | length >> 8
            at = (at + 1) % size
            self.used += 1
        ring[at] = length & 0xFF
        for index in range(length):
            at += 1
            if at == size:
                at = 0
            ring[at] = message[index]
        self.used += length + 1

    def length(self, at: int) -> int:
        """Return the bytes of the message at an offset, its length included; 0: there is none."""
        if at >= self.used:
            return 0
        ring = self._ring
        size = len(ring)
        at = (self._begin + at) % size
        first = ring[at]
        if first & 0x80:
            return 2 + ((first & 0x7F) << 8 | ring[(at + 1) % size])
        return 1 + first

    def copy(self, at: int, length: int, out: bytearray, to: int) -> None:
        """Write ``length`` bytes from an offset on to ``out[to:]``."""
        ring = self._ring
        size = len(ring)
        index = (self._begin + at) % size
        for target in range(to, to + length):
            out[target] = ring[index]
            index += 1
            if index == size:
                index = 0

    def release(self, length: int) -> None:
        """Forget the oldest ``length`` bytes, which are whole messages."""
        self._begin = (self._begin + length) % len(self._ring)
        self.used -= length

    def remove(self, at: int) -> bool:
        """Forget the message at an offset; what is older moves up. False if there is none."""
        length = self.length(at)
        ring = self._ring
        size = len(ring)
        to = self._begin + at + length
        for _ in range(at if length else 0):
            to -= 1
            ring[to % size] = ring[(to - length) % size]
        self.release(length)
        return length > 0

    def clear(self) -> None:
        """Forget all."""
        self.used = 0
