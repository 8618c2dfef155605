"""How often something that costs may be asked for."""


class Rate:
    """A bucket of ``at_once``, which fills by ``per_s`` a second."""

    def __init__(self, at_once: int, per_s: float, now: float) -> None:
        self._at_once = at_once
        self._per_s = per_s
        self._left = float(at_once)
        self._at = now

    def has_room(self, now: float) -> bool:
        """Return whether one more may come."""
        self._left = min(self._at_once, self._left + (now - self._at) * self._per_s)
        self._at = now
        return self._left >= 1

    def take(self) -> None:
        """Count one."""
        self._left -= 1
