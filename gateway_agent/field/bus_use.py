"""Measures what one bus really does: how busy it is, who costs how much, and what goes wrong.

Figures are of the last minute, from totals that are looked at every ten seconds, so that a poll
costs a few additions. What the planner predicts stands beside them where they are shown.
"""

from collections import Counter, deque
from typing import Final, NamedTuple

WINDOW_MS: Final = 60_000
STEP_MS: Final = 10_000


class DeviceUse(NamedTuple):
    """What one device cost: polls, and the time that they kept the bus."""

    polls: int
    busy_ms: float


class _Totals(NamedTuple):
    at_ms: int
    busy_s: float
    line_bytes: int
    devices: dict[str, DeviceUse]


class BusUse:
    """The use of one bus. Times are of the boot clock; ``busy_s`` is since the start."""

    def __init__(self, now_ms: int) -> None:
        self.busy_s = 0.0
        self.errors: Counter[str] = Counter()  # by cause, since the start
        self.device_errors: dict[str, Counter[str]] = {}
        self._devices: dict[str, DeviceUse] = {}
        self._before: deque[_Totals] = deque(maxlen=WINDOW_MS // STEP_MS)
        self._before.append(_Totals(now_ms, 0.0, 0, {}))

    def polled(self, device: str, took_s: float, cause: str) -> None:
        """Count one poll, or probe; ``cause``: why it failed, empty if it did not."""
        self.busy_s += took_s
        polls, busy_ms = self._devices.get(device, (0, 0.0))
        self._devices[device] = DeviceUse(polls + 1, busy_ms + 1000 * took_s)
        if cause:
            self.errors[cause] += 1
            self.device_errors.setdefault(device, Counter())[cause] += 1

    def used(self, took_s: float) -> None:
        """Count time that was no poll: a turn of a technician, an update."""
        self.busy_s += took_s

    def look(self, now_ms: int, line_bytes: int) -> None:
        """Remember the totals, at most once in ten seconds; cheap when called often."""
        if now_ms - self._before[-1].at_ms >= STEP_MS:
            self._before.append(_Totals(now_ms, self.busy_s, line_bytes, dict(self._devices)))

    def forget(self, devices: set[str]) -> None:
        """Keep figures of these devices only."""
        for known in (self._devices, self.device_errors):
            for name in known.keys() - devices:
                del known[name]

    def share(self, now_ms: int) -> float:
        """Return the share of the last minute in which the bus was in use."""
        before = self._before[0]
        span_ms = max(1, now_ms - before.at_ms)
        return min(1.0, 1000 * (self.busy_s - before.busy_s) / span_ms)

    def bytes_per_s(self, now_ms: int, line_bytes: int) -> float:
        """Return how many bytes passed in each second of the last minute, both ways."""
        before = self._before[0]
        return 1000 * (line_bytes - before.line_bytes) / max(1, now_ms - before.at_ms)

    def devices(self, now_ms: int) -> dict[str, tuple[float, float]]:
        """Return, by device, the time of one poll in ms and its share of the last minute."""
        before = self._before[0]
        span_ms = max(1, now_ms - before.at_ms)
        found = {}
        for name, (polls, busy_ms) in self._devices.items():
            old_polls, old_ms = before.devices.get(name, (0, 0.0))
            count, cost_ms = polls - old_polls, busy_ms - old_ms
            found[name] = (cost_ms / count if count > 0 else 0.0, cost_ms / span_ms)
        return found
