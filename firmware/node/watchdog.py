"""Feeds the board's watchdog only while sampling and serving both make progress."""

from micropython import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from .ports import Wdt

# Board watchdog: below the 26 s an STM32's independent watchdog can wait at most.
TIMEOUT_MS = 8000
# Where the board has none, the node ends by itself after this long without a feed.
_OVERDUE_MS = const(8500)
# One sample may take this long: every driver ends within its own deadline, the camera's picture
# over its slow line is the longest.
SAMPLING_LIMIT_MS = 60000
# Serving sleeps a few ms at a time while bytes come, and not at all while none do.
SERVING_LIMIT_MS = 4000


class Progress:
    """One activity that must not stand still longer than ``limit_ms``."""

    def __init__(self, limit_ms: int, now_ms: int) -> None:
        self.limit_ms = limit_ms
        self._beats = 0
        self._seen = -1
        self._since = now_ms

    def beat(self) -> None:
        """Note that the activity got somewhere. Allocates nothing: the counter wraps in 30 bits."""
        self._beats = (self._beats + 1) & 0x3FFFFFFF

    def alive(self, now_ms: int, idle: bool = False) -> bool:
        """Return False once the last beat is older than the limit; ``idle``: nothing was to do."""
        if idle or self._beats != self._seen:
            self._seen = self._beats
            self._since = now_ms
        return now_ms - self._since <= self.limit_ms


class Watchdog:
    """``now_ms`` is the time since boot, which does not wrap."""

    def __init__(self, wdt: "Wdt", now_ms: int) -> None:
        self._wdt = wdt
        self.sampling = Progress(SAMPLING_LIMIT_MS, now_ms)
        self.serving = Progress(SERVING_LIMIT_MS, now_ms)
        self.fed = 0
        self.starved = 0
        self._starved_ms = -1  # since when; -1: it was fed

    def check(self, now_ms: int, sampling_idle: bool, serving_idle: bool) -> bool:
        """Feed, or not. Call several times per TIMEOUT_MS.

        ``sampling_idle``: sampling was ended on purpose. ``serving_idle``: no byte waits.
        """
        sampling = self.sampling.alive(now_ms, sampling_idle)
        serving = self.serving.alive(now_ms, serving_idle)
        if sampling and serving:
            self._wdt.feed()
            self._starved_ms = -1
            self.fed = (self.fed + 1) & 0x3FFFFFFF
            return True
        self.starved += 1
        if self._starved_ms < 0:
            self._starved_ms = now_ms
        return False

    def overdue(self, now_ms: int) -> bool:
        """Return whether the board's own watchdog would have ended this run by now."""
        return self._starved_ms >= 0 and now_ms - self._starved_ms > _OVERDUE_MS
