"""The gateway has two clocks: one that orders and times, one that annotates.

``boot_ms`` (``CLOCK_BOOTTIME``: monotonic, goes on while the machine sleeps) drives every timer
and every order. Wall time is only ever written beside a reading, with its uncertainty and the
state of the clock, and is absent while the clock is not set: a gateway without a battery clock
starts somewhere in the past.
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
# Uncertainty of a clock that shows a plausible date but was not synchronised in this boot: a
# battery clock drifts minutes a year, a wrong one may be off by any time. One day is assumed.
UNKNOWN_MS: Final = 86_400_000
_CHECK_MS: Final = 1000  # adjtimex(2) is asked at most once in this time
_DRIFT_PPM: Final = 100  # a free-running crystal; worst of common parts over temperature
_TIME_ERROR: Final = 5  # adjtimex(2): the clock is not synchronised
_STA_UNSYNC: Final = 0x0040


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
    """The machine's own clock (Linux)."""

    def __init__(self) -> None:
        self._boot_id = bytes.fromhex(_BOOT_ID.read_text().strip().replace("-", ""))
        self._checked_ms = -_CHECK_MS
        self._state = CLOCK_NONE
        self._unc_ms = 0
        self._synchronised: tuple[int, int] | None = None  # when (boot ms), error then (ms)

    @property
    def boot_id(self) -> bytes:
        """Return the kernel's random boot id."""
        return self._boot_id

    def boot_ms(self) -> int:
        """Read ``CLOCK_BOOTTIME`` in ms."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000

    def wall(self) -> Wall:
        """Read ``CLOCK_REALTIME`` with the uncertainty that the kernel reports."""
        now = self.boot_ms()
        if now - self._checked_ms >= _CHECK_MS:
            self._check(now)
        if self._state == CLOCK_NONE:
            return Wall(None, 0, CLOCK_NONE)
        wall_ms = time.time_ns() // 1_000_000
        if wall_ms < FLOOR_MS:
            return Wall(None, 0, CLOCK_NONE)
        return Wall(wall_ms, self._unc_ms, self._state)

    def _check(self, now: int) -> None:
        self._checked_ms = now
        error_ms = _kernel_discipline()
        if error_ms is not None:
            self._state = CLOCK_SYNCHRONISED
            self._unc_ms = error_ms
            self._synchronised = (now, error_ms)
            return
        # Not disciplined (any more). A plausible date still places a record within a day or a
        # year; the uncertainty shows that it is not checked.
        self._state = CLOCK_HOLDOVER
        if self._synchronised is None:
            self._unc_ms = UNKNOWN_MS
        else:
            since, error_then = self._synchronised
            self._unc_ms = error_then + (now - since) * _DRIFT_PPM // 1_000_000 + 1
