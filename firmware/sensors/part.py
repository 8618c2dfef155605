"""What every driver of a measuring part shows to its role, and its warm-up time."""

from micropython import const

from protocols.wire.registers import NO_SAMPLE, WARMUP

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from .ports import Clock

# A part that was silent this long may have lost its supply: it warms up again.
_LOST_MS = const(10_000)


class Part:
    """After each :meth:`read`, ``values[i]`` has the quality code ``codes[i]``.

    A subclass calls ``Part.__init__(self, count)`` by name, as all subclasses of the firmware do:
    every class here has one base, and a call of ``super()`` takes 9 bytes more in the node's flash.

    Values are raw values of the register map's points, in the driver's documented order.
    """

    def __init__(self, count: int) -> None:
        self.values = [0] * count
        self.codes = bytearray(count)
        self.all(NO_SAMPLE)

    def all(self, code: int) -> None:
        """Give every value the same quality."""
        for index in range(len(self.codes)):
            self.codes[index] = code

    async def read(self, limit_s: int) -> None:
        """Take one reading; ``limit_s`` bounds the part's own warm-up time.

        Ends within the driver's named deadline whatever the part does. A bus that is gone may
        raise OSError.
        """
        raise NotImplementedError  # MicroPython has no abc

    def raw(self, index: int) -> int:
        """Return the part's own word behind ``values[index]``, for who calibrates it."""
        return self.values[index]

    async def run(self) -> None:
        """Keep the newest frame of a part that speaks unasked, for ever."""


class Warmup:
    """Counts a part's warm-up time, bounded by configuration, again after a long silence."""

    def __init__(self, clock: "Clock", own_ms: int) -> None:
        self._clock = clock
        self._own_ms = own_ms
        self._start = clock.now_ms()
        self._done = False
        self._silent = False
        self._silent_since = 0
        self._lost = False

    def pending(self, limit_s: int) -> bool:
        """Return True while the part warms up. The end is remembered, because ticks wrap."""
        if not self._done:
            need = min(self._own_ms, 1000 * limit_s)
            passed = self._clock.ticks_diff(self._clock.now_ms(), self._start)
            self._done = passed >= need
        return not self._done

    def code(self, limit_s: int) -> int:
        """Return WARMUP while pending, else OK (0)."""
        return WARMUP if self.pending(limit_s) else 0

    def silent(self) -> None:
        """Note that the part gave no sign of life."""
        now = self._clock.now_ms()
        if not self._silent:
            self._silent = True
            self._silent_since = now
        elif self._clock.ticks_diff(now, self._silent_since) >= _LOST_MS:
            self._lost = True

    def heard(self) -> None:
        """Note that the part gave a sign of life."""
        self._silent = False
        if self._lost:
            self._lost = False
            self._done = False
            self._start = self._clock.now_ms()
