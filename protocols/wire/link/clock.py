"""How a node's clock stands to the gateway's, and how fast it drifts away from it.

The node's time is its milliseconds since boot, 32 bit, which wrap. An exchange of TIME gives an
offset that is wrong by half of its delay at most (RFC 5905, section 8), so the one of the last
eight with the smallest delay counts.
"""

from micropython import const

_KEPT = const(8)
_WRAP = const(0x100000000)
_HALF = const(0x80000000)
_DRIFT_MS = const(60_000)  # offsets that are closer together show no drift


class NodeClock:
    """The clock of one boot of a node."""

    def __init__(self) -> None:
        self.offset_ms = 0.0  # node's time less the gateway's; without wrap from the first one on
        self.delay_ms = -1  # of the exchange that gave it; -1: there was none
        self.drift_ppm = 0.0  # how much faster the node's clock runs
        self._exchanges: list[tuple[int, float, int]] = []  # delay, offset, when
        self._first: tuple[float, int] | None = None
        self._last = 0.0

    def exchanged(self, t1: int, t2: int, t3: int, t4: int) -> None:
        """Take the four times of an exchange: t1 and t4 are the gateway's."""
        there = (t2 - t1) % _WRAP
        back = (t3 - t4) % _WRAP
        offset = there + _signed(back - there) / 2
        if self.delay_ms >= 0:
            # The nearest of those that are the same after the wrap.
            offset += round((self._last - offset) / _WRAP) * _WRAP
        self._last = offset
        delay = t4 - t1 - _signed(t3 - t2)
        self._exchanges.append((delay, offset, t4))
        if len(self._exchanges) > _KEPT:
            self._exchanges.pop(0)
        best = min(self._exchanges)
        self.delay_ms, self.offset_ms, when = best
        if self._first is None:
            if len(self._exchanges) == _KEPT:
                self._first = (self.offset_ms, when)
        elif when - self._first[1] >= _DRIFT_MS:
            drift = (self.offset_ms - self._first[0]) / (when - self._first[1])
            self.drift_ppm = drift * 1_000_000

    def gateway_ms(self, t_boot_ms: int, now_ms: int) -> float:
        """Return the gateway's time at the node's ``t_boot_ms``, less than 24 days from now."""
        node_now = now_ms + self.offset_ms
        return now_ms - _signed(round(node_now) - t_boot_ms)


def _signed(difference: int) -> int:
    return (difference + _HALF) % _WRAP - _HALF
