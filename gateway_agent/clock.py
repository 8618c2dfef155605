"""The gateway has two clocks: one that orders and times, one that annotates.

``boot_ms`` (``CLOCK_BOOTTIME``: monotonic, goes on while the machine sleeps) drives every timer
and every order. Wall time is only ever written beside a reading, with its uncertainty and the
state of the clock, and is absent while nothing vouches for it: a gateway without a battery clock
starts somewhere in the past, with a date that looks right.
"""

import ctypes
import time
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from protocols.uplink import CLOCK_HOLDOVER, CLOCK_NONE, CLOCK_SYNCHRONISED

# Wall times before this are a clock that was never set (2025-01-01T00:00:00Z, before the first
# release).
FLOOR_MS: Final = 1_735_689_600_000
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_CHECK_MS: Final = 1000  # adjtimex(2) is asked at most once in this time
DRIFT_PPM: Final = 100  # a free-running crystal; worst of common parts over temperature
_STEP_MS: Final = 2  # wall time that went this far from the boot clock between two checks was set
_TIME_ERROR: Final = 5  # adjtimex(2): the clock is not synchronised
_STA_UNSYNC: Final = 0x0040


def drift_ms(elapsed_ms: int) -> int:
    """Return how far a clock may be off after running free for ``elapsed_ms``, rounded up."""
    return -(-abs(elapsed_ms) * DRIFT_PPM // 1_000_000)


class Wall(NamedTuple):
    """Wall time in ms since 1970 (None: unknown), its uncertainty in ms, and the clock state."""

    wall_ms: int | None
    unc_ms: int
    state: int


class GatewayClock(Protocol):
    """The times that the agent reads."""

    @property
    def boot_id(self) -> bytes:
        """Return 16 bytes that differ per boot: never compare ``boot_ms`` of two boots."""

    def boot_ms(self) -> int:
        """Return the milliseconds since boot, never going back, sleep included."""

    def wall(self) -> Wall:
        """Return wall time now, or the clock state that explains why there is none."""


class _Timex(ctypes.Structure):
    """``struct timex`` up to the members used; the tail is padding (adjtimex(2))."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


def _kernel_discipline() -> int | None:
    """Return the maximum error in ms if the kernel's clock is disciplined, else None.

    Never raises. Python has no adjtimex(2); reading (modes = 0) needs no privilege.
    """
    try:
        adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError):
        return None
    timex = _Timex()
    result = int(adjtimex(ctypes.byref(timex)))
    if result < 0 or result == _TIME_ERROR or timex.status & _STA_UNSYNC:
        return None
    return int(timex.maxerror) // 1000 + 1


class SystemClock:
    """The machine's own clock (Linux).

    What the kernel does not call synchronised (STA_UNSYNC, which chrony, timesyncd and ntpd clear)
    vouches for nothing, however plausible its date: a board without a battery clock starts with the
    date of its last stop. Wall time is then derived from the newest moment of this boot at which
    the kernel, or an anchor given to :meth:`learn`, did vouch; without one there is none.
    """

    def __init__(self) -> None:
        self._boot_id = bytes.fromhex(_BOOT_ID.read_text().strip().replace("-", ""))
        self._checked_ms = -_CHECK_MS
        self._error_ms: int | None = None  # the kernel's word; None: it gives none
        self._offset_ms = 0  # wall time minus boot time at the check
        self._known: _Known | None = None

    @property
    def boot_id(self) -> bytes:
        """Return the kernel's random boot id."""
        return self._boot_id

    def boot_ms(self) -> int:
        """Read ``CLOCK_BOOTTIME`` in ms."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000

    def wall(self) -> Wall:
        """Return ``CLOCK_REALTIME`` with the kernel's error bound, or what was known before."""
        now = self.boot_ms()
        wall_ms = time.time_ns() // 1_000_000
        offset = wall_ms - now
        is_stepped = abs(offset - self._offset_ms) > _STEP_MS
        if is_stepped or now - self._checked_ms >= _CHECK_MS:
            self._checked_ms, self._offset_ms = now, offset
            self._error_ms = _kernel_discipline()
            if self._error_ms is not None and wall_ms >= FLOOR_MS:
                self._known = _Known(now, wall_ms, self._error_ms, CLOCK_HOLDOVER)
        if self._error_ms is not None and wall_ms >= FLOOR_MS:
            return Wall(wall_ms, self._error_ms, CLOCK_SYNCHRONISED)
        known = self._known
        if known is None:
            return Wall(None, 0, CLOCK_NONE)
        # Not CLOCK_REALTIME: while nothing disciplines it, anybody may have set it.
        return Wall(known.wall_ms + now - known.boot_ms, known.unc_ms_at(now), known.state)

    def learn(self, boot_ms: int, wall_ms: int, unc_ms: int, state: int) -> None:
        """Take an anchor of this boot, if it is better than what is known.

        At ``boot_ms`` it was ``wall_ms``, give or take ``unc_ms``; ``state`` is where that came
        from. It counts only while the kernel does not vouch for its own clock.
        """
        now = self.boot_ms()
        offered = _Known(boot_ms, wall_ms, unc_ms, state)
        if self._known is None or offered.unc_ms_at(now) < self._known.unc_ms_at(now):
            self._known = offered


class _Known(NamedTuple):
    """Wall time at one moment of this boot, and how sure it was."""

    boot_ms: int
    wall_ms: int
    unc_ms: int
    state: int

    def unc_ms_at(self, boot_ms: int) -> int:
        return self.unc_ms + drift_ms(boot_ms - self.boot_ms)
