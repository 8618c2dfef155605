"""The camera role: one VC0706; brightness, contrast, motion and tamper. No image leaves here.

The role keeps the last good JPEG, its number, length and SHA-256; whether a master may read it is
the register bank's business (``image_export``, off by default). What leaves in any case is in the
points of ``registers.CAMERA`` and in events.

Tamper is one of three: *dark* (mean brightness below ``dark_percent``), *covered* (contrast below
``covered_percent`` although not dark), *frozen* (``frozen_count`` pictures in a row equal to the
byte: a live sensor's noise never repeats).
"""

import hashlib

from micropython import const

from firmware.sensors.aio import sleep_ms
from firmware.sensors.jpeg import DONE, MORE, JpegLuma
from firmware.sensors.vc0706 import Vc0706
from protocols.wire.registers import (
    CAMERA,
    CHECKSUM,
    EVENT_MOTION,
    EVENT_TAMPER_COVERED,
    EVENT_TAMPER_DARK,
    EVENT_TAMPER_FROZEN,
    FAULT,
    NOT_FITTED,
    OK,
    STATUS_MOTION,
    STATUS_TAMPER,
    TIMEOUT,
    WARMUP,
    setting_address,
)

from .base import Role

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from firmware.sensors.ports import Config, Events, PartsBoard

# Two buffers of this size: a master never sees a picture that is half the next one. A 160x120
# picture has 2 to 5 KB; one that is longer than this is out of range and never read. The two are
# what a camera node's heap is used for most: half of it stays free.
_IMAGE_CAP = const(7168)
_SLICE = const(2)  # scan units per turn of the loop
_RUN_POLL_MS = const(20)
_HYSTERESIS = const(2)  # percent above the limit at which dark and covered end
_COUNT = const(0xFFFFFFFF)

_SNAPSHOTS = const(0)
_BYTES = const(1)
_LUMA = const(2)
_CONTRAST = const(3)
_MOTIONS = const(4)
_TAMPERS = const(5)

_DARK = const(1)
_COVERED = const(2)
_FROZEN = const(4)


class Picture:
    """``data[:length]`` is the last good JPEG, number ``number`` since boot (0: none).

    While ``held`` is set it stays as it is: later pictures are taken and examined, but not kept.
    """

    def __init__(self) -> None:
        self.held = False
        self.data = bytearray(_IMAGE_CAP)
        self.length = 0
        self.number = 0
        self.sha = bytes(32)


class Camera(Role):
    """One camera; ``image`` is its last good picture."""

    def __init__(self, board: "PartsBoard", config: "Config", events: "Events") -> None:
        Role.__init__(self, CAMERA, board, config, events)
        self._dark_at = setting_address("dark_percent")
        self._covered_at = setting_address("covered_percent")
        self._frozen_at = setting_address("frozen_count")
        self._hold_at = setting_address("motion_hold_ds")
        self._camera = Vc0706(board, self._uart("vc0706"))
        self._luma = JpegLuma()
        self._picture = Picture()
        self.image = self._picture
        self._next = bytearray(_IMAGE_CAP)
        self._number = 0  # of pictures taken, kept or not
        self._sha = self._picture.sha
        self._same = 0  # pictures in a row equal to the last, itself included
        self._motion_seen = 0
        self._motion_ms = 0
        self._moving = False
        self._motions = 0
        self._tamper = 0
        self._tampers = 0
        self._taking = False

    # --- what the node calls ------------------------------------------------------------------

    async def sample(self) -> None:
        """Take and examine one picture. Never raises. A dead camera costs at most 1.2 s.

        ``snapshots`` is the node's own count and always OK; the rest is as good as the camera.
        """
        code = NOT_FITTED
        if self.fitted(0, len(self.map.points)):
            code = await self._guarded()
        self._motion()
        self.reading.all(code)
        self.reading.quality[_SNAPSHOTS] = OK
        raw = self.reading.raw
        raw[_SNAPSHOTS] = self._number
        raw[_BYTES] = self._camera.length
        raw[_LUMA] = self._luma.mean
        raw[_CONTRAST] = self._luma.contrast
        raw[_MOTIONS] = self._motions
        raw[_TAMPERS] = self._tampers

    async def run(self) -> None:
        """Collect motion messages between pictures, for ever."""
        while True:
            try:
                self._camera.pump()
            except OSError:
                pass  # the next picture gets the quality of this failure
            self._motion()
            await sleep_ms(_RUN_POLL_MS)

    def status(self) -> int:
        """Return the base's bits, STATUS_MOTION while something moves, STATUS_TAMPER."""
        bits = Role.status(self)
        if self._moving:
            bits |= STATUS_MOTION
        if self._tamper:
            bits |= STATUS_TAMPER
        return bits

    async def selftest(self) -> int:
        """Return bit 0 if the camera does not answer; one that boots is well. At most 1.2 s."""
        if not self.fitted(0, len(self.map.points)):
            return 0
        try:
            code = await self._camera.start(self.limit_s())
        except Exception:  # noqa: BLE001 - see Role._read
            code = FAULT
        return 0 if code in (OK, WARMUP) else 1

    # --- one picture --------------------------------------------------------------------------

    async def _guarded(self) -> int:
        if self._taking:
            return TIMEOUT
        self._taking = True
        try:
            return await self._take()
        except OSError:
            return TIMEOUT
        except Exception:  # noqa: BLE001 - see Role._read
            return FAULT
        finally:
            self._taking = False

    async def _take(self) -> int:
        camera = self._camera
        code = await camera.start(self.limit_s())
        if code == OK:
            code = await camera.snapshot(self._next)
        if code != OK:
            return code
        length = camera.length
        luma = self._luma
        luma.begin(self._next, length)
        result = luma.step(_SLICE)
        while result == MORE:
            await sleep_ms(0)
            result = luma.step(_SLICE)
        if result != DONE:
            return CHECKSUM  # it came with start and end, but not as a picture
        picture = self._picture
        digest = hashlib.sha256(memoryview(self._next)[:length]).digest()
        self._same = self._same + 1 if digest == self._sha else 1
        self._sha = digest
        self._number = (self._number + 1) & _COUNT
        if not picture.held:
            # All at once, with nothing awaited in between: readers see one picture or the other.
            picture.data, self._next = self._next, picture.data
            picture.length = length
            picture.sha = digest
            picture.number = self._number
        self._check_tamper()
        return OK

    def _check_tamper(self) -> None:
        config = self._config
        luma = self._luma
        margin = _HYSTERESIS if self._tamper & _DARK else 0
        dark = luma.mean < config.value(self._dark_at) + margin
        margin = _HYSTERESIS if self._tamper & _COVERED else 0
        covered = not dark and luma.contrast < config.value(self._covered_at) + margin
        self._mark(_DARK, EVENT_TAMPER_DARK, dark)
        self._mark(_COVERED, EVENT_TAMPER_COVERED, covered)
        self._mark(_FROZEN, EVENT_TAMPER_FROZEN, self._same >= config.value(self._frozen_at))

    def _mark(self, bit: int, event: int, on: bool) -> None:
        if on == bool(self._tamper & bit):
            return
        self._tamper ^= bit
        if on:
            self._tampers = (self._tampers + 1) & _COUNT
        self._events.push(event, 1 if on else 0, self._uptime.ms())

    # --- motion -------------------------------------------------------------------------------

    def _motion(self) -> None:
        """Turn motion messages into a state with a beginning and, after the hold time, an end."""
        now = self._uptime.ms()
        seen = self._camera.motion
        if seen != self._motion_seen:
            self._motion_seen = seen
            self._motion_ms = now
            if not self._moving:
                self._moving = True
                self._motions = (self._motions + 1) & _COUNT
                self._events.push(EVENT_MOTION, 1, now)
        elif self._moving:
            hold_ms = 100 * self._config.value(self._hold_at)
            if now - self._motion_ms >= hold_ms:
                self._moving = False
                self._events.push(EVENT_MOTION, 0, now)
