"""Framed bytes from a UART: the sans-IO parser every serial part shares, and its asyncio front.

A parser holds a small fixed buffer. Bytes that cannot begin a frame are skipped and counted; a
frame whose check fails is counted and searched again from its second byte on, so a false header
in noise never costs the true frame behind it.
"""

from micropython import const

from protocols.wire.registers import CHECKSUM, NO_SAMPLE, OK, TIMEOUT

from .aio import sleep_ms
from .part import Part, Warmup

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from .ports import Clock, Uart

# Outcomes of Parser.poll; a part's own parser may add more, from OTHER on.
NEED_DATA = 0
FRAME = 1  # a checked frame: the parser's fields hold it
DAMAGED = 2  # a frame whose check failed
OTHER = 3  # a checked frame that is no measurement (an acknowledgement)

# Counters wrap here: above it they would take heap on a 32 bit board.
_COUNT = const(0x3FFFFFFF)

_CHUNK = const(64)
_BURST = const(8)  # reads per pump: a babbling part cannot hold the loop
_DRAIN = const(128)  # reads per drain: more than any serial buffer holds
_ASK_POLL_MS = const(2)
_RUN_POLL_MS = const(20)
_SETTLE_MS = const(3000)  # from power on to a part's first unasked frame


class Parser:
    """feed -> poll -> FRAME / DAMAGED / OTHER / NEED_DATA. Nothing here allocates.

    A subclass gives :meth:`_size` and :meth:`_take`, and its largest frame.
    """

    def __init__(self, max_frame: int) -> None:
        self._buf = bytearray(max_frame + _CHUNK)
        self._head = 0
        self._tail = 0
        self.frames = 0
        self.damaged = 0
        self.noise = 0

    def feed(self, data: bytes | bytearray | memoryview, length: int, start: int = 0) -> int:
        """Take ``data[start:start + length]``; returns how many bytes found room.

        After :meth:`poll` has returned NEED_DATA there is room for at least 64.
        """
        buf = self._buf
        head = self._head
        tail = self._tail
        if head:
            for index in range(head, tail):
                buf[index - head] = buf[index]
            tail -= head
            self._head = 0
        length = min(length, len(buf) - tail)
        for index in range(length):
            buf[tail + index] = data[start + index]
        self._tail = tail + length
        return length

    def poll(self) -> int:
        """Return the next outcome; call again until NEED_DATA."""
        while self._head < self._tail:
            held = self._tail - self._head
            size = self._size(self._head, held)
            if size < 0:
                self._head += 1
                self.noise = (self.noise + 1) & _COUNT
                continue
            if size == 0 or size > held:
                return NEED_DATA
            event = self._take(self._head, size)
            if event == DAMAGED:
                self._head += 1
                self.damaged = (self.damaged + 1) & _COUNT
            else:
                self._head += size
                self.frames = (self.frames + 1) & _COUNT
            return event
        return NEED_DATA

    def reset(self) -> None:
        """Forget a begun frame: what comes next answers a new question."""
        self._head = 0
        self._tail = 0

    def _size(self, at: int, held: int) -> int:
        """Return the length of the frame at ``at``; 0: more bytes needed; -1: none begins here."""
        raise NotImplementedError  # MicroPython has no abc

    def _take(self, at: int, size: int) -> int:
        """Check the whole frame and keep its fields: FRAME, DAMAGED or OTHER."""
        raise NotImplementedError  # MicroPython has no abc


class Link:
    """A parser at a UART. The UART never waits; deadlines are kept here."""

    def __init__(self, clock: "Clock", uart: "Uart", parser: Parser) -> None:
        self.clock = clock
        self.uart = uart
        self.parser = parser
        self.frame_ms = 0  # when the last FRAME was complete
        self.count = 0  # FRAMEs so far
        self._chunk = bytearray(_CHUNK)

    def pump(self) -> bool:
        """Parse what is there now; True if a FRAME came."""
        seen = False
        parser = self.parser
        for _ in range(_BURST):
            count = self.uart.readinto(self._chunk, _CHUNK)
            if not count:
                break
            done = 0
            while done < count:
                done += parser.feed(self._chunk, count - done, done)
                event = parser.poll()
                while event != NEED_DATA:
                    if event == FRAME:
                        seen = True
                        self.count = (self.count + 1) & _COUNT
                        self.frame_ms = self.clock.now_ms()
                    event = parser.poll()
        return seen

    async def wait(self, limit_ms: int) -> int:
        """Wait for a FRAME: OK, CHECKSUM (only damaged ones came) or TIMEOUT."""
        # Counters, not what this pump saw: a background service may read the same line.
        start = self.clock.now_ms()
        count = self.count
        damaged = self.parser.damaged
        while True:
            self.pump()
            if self.count != count:
                return OK
            if self.clock.ticks_diff(self.clock.now_ms(), start) >= limit_ms:
                return TIMEOUT if self.parser.damaged == damaged else CHECKSUM
            await sleep_ms(_ASK_POLL_MS)

    async def ask(self, command: bytes | bytearray, limit_ms: int) -> int:
        """Send a command and wait for its answer; what stood in the line before is no answer."""
        for _ in range(_DRAIN):
            if not self.uart.readinto(self._chunk, _CHUNK):
                break
        self.parser.reset()
        self.uart.write(command)
        return await self.wait(limit_ms)


class StreamPart(Part):
    """A part that sends frames unasked: a reading is the newest frame, if it is young enough.

    ``max_age_ms`` is above the part's longest interval between frames. While :meth:`run` serves
    the line a silent part costs a reading no time at all; without it ``read`` waits that long.
    """

    def __init__(self, count: int, link: Link, warmup: Warmup, max_age_ms: int) -> None:
        Part.__init__(self, count)
        self._link = link
        self._warmup = warmup
        self._max_age_ms = max_age_ms
        self._fresh = False  # a frame has come and was young at the last look
        self._damaged = 0
        self._served = False
        self._start = link.clock.now_ms()
        self._settled = False

    def _pump(self) -> None:
        if self._link.pump():
            self._fresh = True
            self._warmup.heard()

    def _young(self) -> bool:
        clock = self._link.clock
        if self._fresh and clock.ticks_diff(clock.now_ms(), self._link.frame_ms) > self._max_age_ms:
            self._fresh = False  # remembered: a wrapped clock must not make it young again
        return self._fresh

    async def run(self) -> None:
        """Keep the newest frame; a UART that fails reads as silence."""
        self._served = True
        try:
            while True:
                try:
                    self._pump()
                except OSError:
                    pass
                self._young()
                await sleep_ms(_RUN_POLL_MS)
        finally:
            self._served = False

    async def newest(self, limit_s: int) -> int:
        """Return the quality of the newest frame, waiting for one if no task serves the line."""
        clock = self._link.clock
        start = clock.now_ms()
        self._pump()
        while not self._young() and not self._served:
            if clock.ticks_diff(clock.now_ms(), start) >= self._max_age_ms:
                break
            await sleep_ms(_ASK_POLL_MS)
            self._pump()
        damaged = self._link.parser.damaged
        spoiled = damaged != self._damaged
        self._damaged = damaged
        if self._young():
            self._settled = True
            return self._warmup.code(limit_s)
        if spoiled:
            return CHECKSUM
        self._warmup.silent()
        if not self._settled:
            self._settled = clock.ticks_diff(clock.now_ms(), self._start) >= _SETTLE_MS
            if not self._settled:
                return NO_SAMPLE
        return TIMEOUT
