"""The RS-485 port of an emulator that follows the host's clock: whole frames and real silences.

On a line the bytes of a frame follow each other, and a silence (t3.5) ends it. QEMU keeps neither
when the host is busy. It sends a frame byte by byte, each when its thread gets the CPU: pauses of
10 ms inside an answer were seen, which end the frame for every other node. And it takes one byte at
a time, when the guest has read the last one: the silence between an answer and the next request is
over before the guest has seen the end of the answer. A node then takes the end of a damaged answer
and the request to itself for one broken frame.

So an answer of a node is passed on when it is whole, which costs no time. And a silence on the line
is kept for the node: what comes after it waits until the node has taken all that came before it,
and for ``silence_s`` more.
"""

from __future__ import annotations

import asyncio
import fcntl
import struct
import termios
from collections import deque
from typing import Final

from hil.wires.whole_answers import WholeAnswers
from protocols.wire.modbus.timing import t35_us

#: A pause on the line that is a silence: under t3.5 at any speed, over a write's pieces.
PAUSE_S: Final = 0.0015
_LOOK_S: Final = 0.001
_LOOKS_S: Final = 0.0015  # a node's look before the silence is over, and the one after


def silence_s(baud: int) -> float:
    """Return t3.5 at ``baud``, and what a node that looks once a millisecond needs to notice it."""
    return t35_us(baud) / 1e6 + _LOOKS_S


class LineWire(WholeAnswers):
    """See the module. ``silence_s`` is what the node needs between two frames."""

    def __init__(self, silence_s: float) -> None:
        super().__init__()
        self._silence_s = silence_s
        # Frames that wait for a silence, and when the last bytes came from the line.
        self._frames: deque[bytearray] = deque()
        self._received_at = 0.0
        self._taken_at: float | None = None
        self._look: asyncio.TimerHandle | None = None

    # --- from the line to the node ------------------------------------------------------------

    def write(self, data: bytes) -> int:
        """Send as a DescriptorWire does; what follows a silence waits for one of the node."""
        if not self.connected:
            return super().write(data)
        loop = asyncio.get_running_loop()
        now = loop.time()
        silence = now - self._received_at >= PAUSE_S
        self._received_at = now
        if silence and (self._frames or not self._rested(now)):
            self._frames.append(bytearray(data))
        elif self._frames:
            self._frames[-1] += data
        else:
            self._taken_at = None
            return super().write(data)
        if self._look is None:
            self._look = loop.call_later(_LOOK_S, self._next)
        return len(data)

    def _rested(self, now: float) -> bool:
        """Return whether the node has taken everything, and has had its silence since."""
        if self._taken_at is None:
            if super().pending() or _unread(self._fd):
                return False
            self._taken_at = now
        return now - self._taken_at >= self._silence_s

    def _next(self) -> None:
        self._look = None
        if not self.connected:
            return
        loop = asyncio.get_running_loop()
        if self._frames and self._rested(loop.time()):
            self._taken_at = None
            super().write(bytes(self._frames.popleft()))
        if self._frames:
            self._look = loop.call_later(_LOOK_S, self._next)

    def pending(self) -> int:
        """Return the number of bytes that wait here."""
        return super().pending() + sum(map(len, self._frames))

    def flush(self) -> None:
        """Drop what waits here."""
        self._frames.clear()
        super().flush()

    def disconnect(self) -> None:
        """Let go of the far end; what waits in either direction is forgotten."""
        if self._look is not None:
            self._look.cancel()
            self._look = None
        self._frames.clear()
        self._taken_at = None
        super().disconnect()


def _unread(fd: int) -> int:
    """Return how much the far end has not read yet (a size in the kernel, 0: nothing)."""
    answer = fcntl.ioctl(fd, termios.TIOCOUTQ, struct.pack("i", 0))
    return int(struct.unpack("i", answer)[0])
