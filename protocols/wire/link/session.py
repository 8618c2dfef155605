"""What two ends share while a session lasts: the keys of both directions and their counters.

Every session frame carries a counter and a tag of 8 bytes behind its payload, so that no frame can
be invented, repeated, or moved to another session. Sealing and checking allocate the two hash
objects of each tag and what goes with them, and free all of it.
"""

from micropython import const

from protocols.wire.hmac import HmacSha256, equal

from .frame import SEAL_BYTES

# What check finds.
RIGHT = 0
FORGED = 1
REPEATED = 2

LAST_COUNTER = 0xFFFFFFFF  # a direction that has sent this one has no other

_WINDOW = const(32)  # a counter that is this far below the highest is too old
_TAG = const(8)
_COUNTER = const(4)


class LinkSession:
    """The state of one session at one end; ``largest`` and ``window`` are what both agreed on."""

    def __init__(self, send_key: bytes, take_key: bytes, largest: int, window: int) -> None:
        self.largest = largest
        self.window = window
        self.sent = 0
        self.highest = 0
        self.counter = 0  # of the frame that was checked last
        self._send = HmacSha256(send_key)
        self._take = HmacSha256(take_key)
        self._seen = [0] * _WINDOW

    def seal(self, content: bytearray, view: memoryview, end: int) -> int:
        """Add counter and tag behind ``content[:end]``; return the new end."""
        self.sent = counter = self.sent + 1
        content[end] = counter >> 24 & 0xFF
        content[end + 1] = counter >> 16 & 0xFF
        content[end + 2] = counter >> 8 & 0xFF
        content[end + 3] = counter & 0xFF
        end += _COUNTER
        tag = self._send.digest(view[:end])
        for index in range(_TAG):
            content[end + index] = tag[index]
        return end + _TAG

    def check(self, content: bytearray, view: memoryview, size: int) -> int:
        """Return RIGHT, once for each counter, FORGED or REPEATED for ``content[:size]``."""
        at = size - _TAG
        if not equal(self._take.digest(view[:at])[:_TAG], view[at:size]):
            return FORGED
        at = size - SEAL_BYTES
        counter = content[at] << 24 | content[at + 1] << 16 | content[at + 2] << 8 | content[at + 3]
        self.counter = counter
        seen = self._seen
        slot = counter % _WINDOW
        if counter <= self.highest - _WINDOW or seen[slot] >= counter:
            return REPEATED
        seen[slot] = counter
        if counter > self.highest:
            self.highest = counter
        return RIGHT
