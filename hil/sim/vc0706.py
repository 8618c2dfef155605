"""VC0706 serial JPEG camera (protocol V3.00): snapshot, frame length, read, motion.

Command ``56 sn code len args``, answer ``76 sn code status len data``. The image data of command
32 stands between two equal answer headers.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum, StrEnum
from pathlib import Path

from hil.sim.part import Part, PartFault, Source
from hil.wires.wire import Wire

_COMMAND = 0x56
_ANSWER = 0x76
_MAX_ARGS = 16
_MOTION_PERIOD_S = 0.5


class Code(IntEnum):
    """The commands that this camera implements."""

    VERSION = 0x11
    PORT = 0x24
    RESET = 0x26
    WRITE = 0x31
    READ = 0x32
    LENGTH = 0x34
    FRAME_CONTROL = 0x36
    MOTION_CONTROL = 0x37
    MOTION_STATUS = 0x38
    MOTION_EVENT = 0x39
    DOWNSIZE = 0x54


_STOP_CURRENT = 0
_STOP_NEXT = 1
_RESUME = 2
_STEP = 3
_KNOWN = frozenset(Code)
# Status of an answer (protocol V3.00, "return status").
_OK = 0
_UNKNOWN_COMMAND = 1
_BAD_FORMAT = 3

# The smallest image some decoders accept: 8 x 8 grey. Stands in when no frames are installed.
_TINY = bytes.fromhex(
    "ffd8ffdb004300"
    + "10" * 64
    + "ffc0000b080008000801011100"
    + "ffc400140001"
    + "00" * 16
    + "ffc400141001"
    + "00" * 16
    + "ffda0008010100003f00d2cf20ffd9"
)


class Scene(StrEnum):
    """The view of the lens; its value is the prefix of the frames' file names."""

    DAY = "day"
    DARK = "dark"
    COVERED = "covered"
    FROZEN = "frozen"  # the same image again and again


class Vc0706(Part):
    """A camera that looks at ``frames`` (a directory of ``<scene>*.jpg``).

    Every snapshot in the DAY scene takes the next frame; FROZEN repeats the last one. While
    ``moving`` is set, the motion event goes out again and again if detection is switched on.
    """

    # An image window is read in one piece.
    RX_LIMIT = 4095

    def __init__(
        self, source: Source, frames: Path | None = None, *, seed: int = 0, wire: Wire | None = None
    ) -> None:
        super().__init__(source, seed=seed, wire=wire)
        self._scenes = load_scenes(frames or Path(__file__).with_name("frames"))
        self.scene = Scene.DAY
        self.snapshots = 0
        self.moving = False
        self.motion_on = False
        self.motion_events = 0
        self._next = 0
        self._image = b""
        self._frozen = b""
        self._buffer = b""

    def start(self) -> None:
        super().start()
        self.every(_MOTION_PERIOD_S)

    def tick(self) -> None:
        if self.moving and self.motion_on:
            self.motion_events += 1
            self._wire.write(bytes((_ANSWER, 0, Code.MOTION_EVENT, 0, 0)))

    def send(self, answer: bytes) -> None:
        """Send an answer as any part does, but CHECKSUM leaves it whole: see :meth:`_read`."""
        if self.fault is PartFault.CHECKSUM:
            self.answers += 1
            self._wire.write(answer)
        else:
            super().send(answer)

    def received(self, data: bytes) -> None:
        self._buffer += data
        while self._buffer:
            if self._buffer[0] != _COMMAND:
                self._buffer = self._buffer[1:]
                continue
            if len(self._buffer) < 4:
                return
            size = self._buffer[3]
            if size > _MAX_ARGS:
                self._buffer = self._buffer[1:]
                continue
            if len(self._buffer) < 4 + size:
                return
            serial, code = self._buffer[1], self._buffer[2]
            args = self._buffer[4 : 4 + size]
            self._buffer = self._buffer[4 + size :]
            self.requests += 1
            self._command(serial, code, args)

    def _answer(self, serial: int, code: int, status: int = _OK, data: bytes = b"") -> None:
        self.send(bytes((_ANSWER, serial, code, status, len(data))) + data)

    def _command(self, serial: int, code: int, args: bytes) -> None:
        match code, len(args):
            case Code.VERSION, 0:
                self._answer(serial, code, data=b"VC0703 1.00")
            case Code.RESET, 0:
                self.motion_on = False
                self._image = b""
                self._answer(serial, code)
                self.send(b"VC0706 1.00\r\nInit end\r\n")
            case (Code.PORT, 3) | (Code.WRITE, 4 | 5) | (Code.DOWNSIZE, 1):
                self._answer(serial, code)
            case Code.FRAME_CONTROL, 1:
                self._frame_control(serial, args[0])
            case Code.LENGTH, 1:
                self._answer(serial, code, data=len(self._image).to_bytes(4, "big"))
            case Code.READ, 12:
                self._read(serial, args)
            case Code.MOTION_CONTROL, 1:
                self.motion_on = bool(args[0])
                self._answer(serial, code)
            case Code.MOTION_STATUS, 0:
                self._answer(serial, code, data=bytes((self.motion_on,)))
            case _ if code in _KNOWN:
                self._answer(serial, code, _BAD_FORMAT)
            case _:
                self._answer(serial, code, _UNKNOWN_COMMAND)

    def _frame_control(self, serial: int, action: int) -> None:
        if action in (_STOP_CURRENT, _STOP_NEXT):
            self._image = self._snapshot()
            self.snapshots += 1
        elif action not in (_RESUME, _STEP):
            self._answer(serial, Code.FRAME_CONTROL, _BAD_FORMAT)
            return
        self._answer(serial, Code.FRAME_CONTROL)

    def _snapshot(self) -> bytes:
        if self.scene is Scene.FROZEN and self._frozen:
            return self._frozen
        frames = self._scenes.get(self.scene) or self._scenes[Scene.DAY]
        self._next += 1
        self._frozen = frames[self._next % len(frames)]
        return self._frozen

    def _read(self, serial: int, args: bytes) -> None:
        start = int.from_bytes(args[2:6], "big")
        size = int.from_bytes(args[6:10], "big")
        if args[:2] != b"\x00\x0a" or size % 4:
            self._answer(serial, Code.READ, _BAD_FORMAT)
            return
        header = bytes((_ANSWER, serial, Code.READ, 0, 0))
        data = self._image[start : start + size]
        if self.fault is PartFault.CHECKSUM:
            # The protocol has no checksum: damage shows in the JPEG's own marks.
            data = bytes(byte ^ 0xFF for byte in data)
        # Past the end of the image the frame buffer holds leftovers.
        self.send(header + data + bytes(size - len(data)) + header)


def load_scenes(frames: Path) -> dict[Scene, Sequence[bytes]]:
    """Return the images by scene, in the order of their names; one tiny image if there are none."""
    scenes: dict[Scene, Sequence[bytes]] = {}
    for scene in Scene:
        images = [path.read_bytes() for path in sorted(frames.glob(f"{scene}*.jpg"))]
        if images:
            scenes[scene] = images
    scenes.setdefault(Scene.DAY, [_TINY])
    return scenes
