"""When to sample: deadlines on a fixed grid, so that no delay of one sample shifts the next."""

from micropython import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from firmware.sensors.ports import Clock


class Uptime:
    """Milliseconds since boot as a number that does not wrap.

    The board's ticks do (after 12.4 days where small integers have 31 bits), so :meth:`ms` has to
    be called at least once in half that time; the sampling schedule does it all the time.
    """

    def __init__(self, clock: "Clock") -> None:
        self._clock = clock
        self._last = clock.now_ms()
        self._sum = 0

    def ms(self) -> int:
        """Return the milliseconds since this object was made."""
        now = self._clock.now_ms()
        passed = self._clock.ticks_diff(now, self._last)
        if passed > 0:
            self._last = now
            self._sum += passed
        return self._sum


class Schedule:
    """Slots at ``start + n * period``. ``missed`` counts slots that passed without a sample."""

    def __init__(self, start_ms: int, period_ms: int) -> None:
        self.next_ms = start_ms
        self.period_ms = period_ms
        self.missed = 0

    def set_period(self, period_ms: int, now_ms: int) -> None:
        """Count a new period from the last slot on; what it would have missed is due at once."""
        if period_ms != self.period_ms:
            self.next_ms = max(now_ms, self.next_ms + period_ms - self.period_ms)
            self.period_ms = period_ms

    def due_in(self, now_ms: int) -> int:
        """Return the milliseconds until the next slot; 0 when it is due."""
        return max(0, self.next_ms - now_ms)

    def taken(self, now_ms: int) -> int:
        """Call when the due slot's sample is done: moves on, and returns the slots missed.

        A slot that passed entirely while the sample was taken is missed; the one that is due just
        now is not.
        """
        self.next_ms += self.period_ms
        late = now_ms - self.next_ms
        missed = 0
        if late >= self.period_ms:
            missed = late // self.period_ms
            self.next_ms += missed * self.period_ms
            self.missed += missed
        return missed
