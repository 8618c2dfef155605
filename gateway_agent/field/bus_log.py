"""What the field side does to a device, in the operator's log: one line for each change.

Lost, quarantined, back: a poll that fails like the one before it is in the counters, not in the
log. A device that comes and goes all the time gets a few lines at once, then one a minute, and that
line is true when it is written.
"""

import logging
from typing import Final, Literal, TypeAlias

from gateway_agent.journal import about

log = logging.getLogger(__name__)

State: TypeAlias = Literal["new", "ok", "failing", "quarantined"]

_BURST: Final = 6  # lines at once about one bus or device, then one a minute
_REFILL_MS: Final = 60_000


class LineLimit:
    """Allows a few lines at once, then one a minute."""

    def __init__(self) -> None:
        self._lines = _BURST
        self._refilled_ms = 0

    def take(self, now_ms: int) -> bool:
        """Return whether a line may be written now; if so, it counts."""
        passed = (now_ms - self._refilled_ms) // _REFILL_MS
        if passed:
            self._lines = min(_BURST, self._lines + passed)
            self._refilled_ms = now_ms
        if not self._lines:
            return False
        self._lines -= 1
        return True


class DeviceLog:
    """Logs the changes of one device; ``name`` is its name for the operator."""

    def __init__(self, name: str, bus: str = "", device: str = "") -> None:
        self._name = name
        self._about = about(bus=bus, device=device) if device else {}
        self._state: State = "new"  # as the log has it
        self._since_ms = 0
        self._limit = LineLimit()

    def polled(self, problem: str, is_quarantined: bool, now_ms: int) -> None:
        """Take note of a poll that has ended; ``problem`` is empty if it was good."""
        state: State = "quarantined" if is_quarantined else "failing" if problem else "ok"
        if state == self._state or not self._limit.take(now_ms):
            return
        if state == "failing":
            log.warning("%s: lost: %s", self._name, problem, extra=self._about)
        elif state == "quarantined":
            log.warning(
                "%s: quarantined, it is only probed until it answers again: %s",
                self._name,
                problem,
                extra=self._about,
            )
        elif self._state != "new":
            seconds = (now_ms - self._since_ms) / 1000
            text = "%s: back after %.1f s, all of it is read again"
            log.warning(text, self._name, seconds, extra=self._about)
        if self._state in ("new", "ok"):
            self._since_ms = now_ms
        self._state = state
