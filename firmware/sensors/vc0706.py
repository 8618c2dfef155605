"""VC0706 serial JPEG camera (Vimicro VC0706 protocol; modules LS-Y201, SC03MPD, Adafruit 397).

UART 38400 8N1. Facts, from the LS-Y201 and SC03MPD user manuals in transcription and from the
reference notes (not checked against the PDFs):

* Command 56 sn cmd length args; answer 76 sn cmd status length data; status 0 is success, 3 a
  wrong setting (SC03MPD, section 10).
* After power on or reset (26) the camera prints a text and takes commands after 2.5 s (SC03MPD 11).
* One picture (SC03MPD 12): stop the frame 36 01 00, its length 34 01 00 (4 bytes), read it in
  pieces 32 0C 00 0A address(4) length(4) interval(2), go on 36 01 03. Address and piece length are
  multiples of 8 (LS-Y201 section 4.4). A piece comes as answer, data, the same answer again.
  A JPEG begins with FF D8 and ends with FF D9.
* Resolution: 31 05 04 01 00 19 size; 22: 160x120, 11: 320x240, 00: 640x480 (SC03MPD).
* Motion: 37 01 01 on, 37 01 00 off; the camera then sends 76 sn 39 00 00 unasked (SC03MPD 10; other
  descriptions leave out the last byte, both are taken). The manual advises to switch it off while
  a picture is read, because its message would stand inside the data.
"""

from micropython import const

from protocols.wire.registers import CHECKSUM, FAULT, OK, RANGE, TIMEOUT

from .part import Warmup
from .stream import DAMAGED, FRAME, NEED_DATA, OTHER, Link, Parser

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from .ports import Clock, Uart

SIZE_160 = 0x22
SIZE_320 = 0x11
SIZE_640 = 0x00

_ANSWER = const(0x76)
_VERSION = const(0x11)
_RESET = const(0x26)
_WRITE = const(0x31)
_READ_FRAME = const(0x32)
_FRAME_LENGTH = const(0x34)
_FRAME_CONTROL = const(0x36)
_MOTION_CONTROL = const(0x37)
_MOTION = const(0x39)

_MAX_DATA = const(32)  # of an answer; the longest known, the version, has 11
_HEADER = const(5)
_PIECE = const(128)  # a multiple of 8; at 38400 baud 40 ms
_BOOT_MS = const(2500)
_ANSWER_MS = const(300)
_PIECE_MS = const(500)
_TRIES = const(2)
_PADDING = const(16)  # cameras round the frame length up
_COUNT = const(0x3FFFFFFF)


class ReplyParser(Parser):
    """Answers to one expected command, motion messages, and picture data straight to its target.

    After FRAME, ``status`` is the answer's status and ``data[:length]`` its data. Motion messages
    are counted in ``motion`` whenever they come.
    """

    def __init__(self, serial: int = 0) -> None:
        Parser.__init__(self, _HEADER + _MAX_DATA)
        self._serial = serial
        self._command = -1
        self.status = 0
        self.length = 0
        self.data = bytearray(_MAX_DATA)
        self.motion = 0
        self._target = self.data
        self._at = 0
        self._want = 0  # picture bytes that follow the next good answer
        self._left = 0  # picture bytes still to come
        self._trailer = False

    def expect(self, command: int) -> None:
        """Take the answer to ``command`` from here on; -1: none, only motion messages."""
        self._command = command
        self._want = 0
        self._left = 0
        self._trailer = False

    def expect_piece(self, target: bytearray, at: int, count: int) -> None:
        """Take the answer to a read of ``count`` bytes and write them to ``target`` from ``at``.

        What does not fit the target is dropped.
        """
        self.expect(_READ_FRAME)
        self._target = target
        self._at = at
        self._want = count

    def poll(self) -> int:
        """Do as Parser.poll does; picture data is moved on the way."""
        while self._move():
            event = Parser.poll(self)
            if event != OTHER or self._left == 0:
                return event
        return NEED_DATA

    def _move(self) -> bool:
        """Move picture data to its target; False while more of it has to come."""
        if self._left == 0:
            return True
        head = self._head
        count = min(self._left, self._tail - head)
        buf = self._buf
        target = self._target
        at = self._at
        for index in range(min(count, len(target) - at)):
            target[at + index] = buf[head + index]
        self._at = min(at + count, len(target))
        self._head = head + count
        self._left -= count
        self._trailer = self._left == 0
        return self._trailer

    def _size(self, at: int, held: int) -> int:
        buf = self._buf
        if self._trailer:
            return _HEADER  # its place is known: no search, nothing but it may stand here
        if buf[at] != _ANSWER or (held > 1 and buf[at + 1] != self._serial):
            return -1
        if held < 3:
            return 0
        command = buf[at + 2]
        if command != self._command and command != _MOTION:
            return -1
        if held < _HEADER:
            return 0
        if command == _MOTION:
            return 4 if buf[at + 4] == _ANSWER else _HEADER
        return _HEADER + buf[at + 4] if buf[at + 4] <= _MAX_DATA else -1

    def _take(self, at: int, size: int) -> int:
        buf = self._buf
        ours = buf[at] == _ANSWER and buf[at + 1] == self._serial
        if ours and buf[at + 2] == _MOTION:
            self.motion = (self.motion + 1) & _COUNT
            return OTHER
        if self._trailer:
            self._trailer = False
            self._command = -1
            sound = ours and buf[at + 2] == _READ_FRAME and not (buf[at + 3] or buf[at + 4])
            return FRAME if sound else DAMAGED
        self.status = buf[at + 3]
        self.length = buf[at + 4]
        for index in range(self.length):
            self.data[index] = buf[at + _HEADER + index]
        if self._want and self.status == 0:
            self._left = self._want
            self._want = 0
            return OTHER
        self._command = -1
        return FRAME


class Vc0706:
    """The camera: ``snapshot`` fills a buffer, ``pump`` collects motion messages.

    Not a Part: its readings are made by the camera role.
    """

    def __init__(self, clock: "Clock", uart: "Uart", size: int = SIZE_160, serial: int = 0) -> None:
        self._parser = ReplyParser(serial)
        self._link = Link(clock, uart, self._parser)
        self._warmup = Warmup(clock, _BOOT_MS)
        self._serial = serial
        self._size = size
        self._reset = False  # a reset was acknowledged and the boot time runs
        self._ready = False
        self.length = 0  # of the last picture in bytes
        self.version = b""

    @property
    def motion(self) -> int:
        """Count the motion messages so far (wraps at 2**30)."""
        return self._parser.motion

    def pump(self) -> None:
        """Read what the camera sends unasked; harmless while a command runs on the same line."""
        self._link.pump()

    async def start(self, limit_s: int) -> int:
        """Reset, boot, version, resolution, motion on: OK, WARMUP, TIMEOUT or FAULT.

        Call again while it returns WARMUP; at most 1.2 s each time.
        """
        if self._ready:
            return OK
        if not self._reset:
            code = self._warmup.code(limit_s)
            if code != OK:
                return code
            code = await self._command(_RESET, b"")
            if code != OK:
                return code
            self._reset = True
            self._warmup = Warmup(self._link.clock, _BOOT_MS)
        code = self._warmup.code(limit_s)
        if code != OK:
            return code
        self._reset = False  # whatever fails from here on: begin again
        code = await self._command(_VERSION, b"")
        if code == OK:
            self.version = bytes(self._parser.data[: self._parser.length])
            code = await self._command(_WRITE, bytes((0x04, 0x01, 0x00, 0x19, self._size)))
        if code == OK:
            code = await self._command(_MOTION_CONTROL, b"\x01")
        self._ready = code == OK
        return code

    async def snapshot(self, target: bytearray) -> int:
        """Take one picture into ``target`` and set ``length``.

        OK; TIMEOUT; FAULT (the camera refused); RANGE (its length is 0 or above ``len(target)``);
        CHECKSUM (no JPEG start or end: damaged on the way). At most 0.5 s without progress.
        """
        self.length = 0
        # A camera that refuses to be silent about motion still gives pictures.
        code = await self._command(_MOTION_CONTROL, b"\x00")
        if code != TIMEOUT:
            code = await self._command(_FRAME_CONTROL, b"\x00")
        if code == OK:
            code = await self._picture(target)
            # Even after a failure: a camera left stopped would show this picture for ever.
            resumed = await self._command(_FRAME_CONTROL, b"\x03")
            armed = await self._command(_MOTION_CONTROL, b"\x01")
            self._ready = resumed == OK and armed == OK
        if code in (TIMEOUT, FAULT):
            self._ready = False
        if code != OK:
            self.length = 0
        return code

    async def _picture(self, target: bytearray) -> int:
        code = await self._command(_FRAME_LENGTH, b"\x00")
        if code != OK:
            return code
        data = self._parser.data
        if self._parser.length != 4:
            return FAULT
        length = data[2] << 8 | data[3]
        if data[0] or data[1] or not 4 <= length <= len(target):
            return RANGE
        at = 0
        while at < length:
            count = min(_PIECE, (length - at + 7) & ~7)
            code = await self._piece(target, at, count)
            if code != OK:
                return code
            at += count
        end = length
        while end > 4 and not (target[end - 2] == 0xFF and target[end - 1] == 0xD9):
            end -= 1
            if length - end > _PADDING:
                break
        if target[0] != 0xFF or target[1] != 0xD8:
            return CHECKSUM
        if target[end - 2] != 0xFF or target[end - 1] != 0xD9:
            return CHECKSUM
        self.length = end
        return OK

    async def _piece(self, target: bytearray, at: int, count: int) -> int:
        ask = bytes((0x00, 0x0A, 0, 0, at >> 8, at & 0xFF, 0, 0, count >> 8, count & 0xFF, 0, 10))
        code = TIMEOUT
        for _ in range(_TRIES):
            code = await self._command(_READ_FRAME, ask, _PIECE_MS, target, at, count)
            if code != TIMEOUT and code != CHECKSUM:
                break
        return code

    async def _command(
        self,
        command: int,
        args: bytes,
        limit_ms: int = _ANSWER_MS,
        target: "bytearray | None" = None,
        at: int = 0,
        count: int = 0,
    ) -> int:
        """Send a command: OK, FAULT (status not 0), TIMEOUT or CHECKSUM."""
        parser = self._parser
        self._link.pump()  # what stands in the line may be a motion message: count it
        parser.reset()
        if target is None:
            parser.expect(command)
        else:
            parser.expect_piece(target, at, count)
        head = bytes((0x56, self._serial, command, len(args)))
        try:
            self._link.uart.write(head + args)
            code = await self._link.wait(limit_ms)
        except OSError:
            code = TIMEOUT
        finally:
            parser.expect(-1)
        if code == OK and parser.status:
            return FAULT
        return code
