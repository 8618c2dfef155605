"""One alarm in the states of ISA-18.2: normal, active, acknowledged, returned, shelved.

``condition`` is what the rule says; ``active`` is the same after the delays. An alarm that returned
to normal before anybody acknowledged it stays on the list until somebody does.
"""

from enum import StrEnum
from typing import Final, NamedTuple

MAX_SHELF_MS: Final = 7 * 86_400_000  # nobody forgets an alarm on the shelf for longer


class AlarmState(StrEnum):
    """The states of ISA-18.2 that this gateway has; letters are those of its state diagram."""

    NORMAL = "normal"  # A
    UNACKNOWLEDGED = "unacknowledged"  # B: active, nobody has seen it
    ACKNOWLEDGED = "acknowledged"  # C: active, somebody has
    RETURNED = "returned"  # D: normal again before somebody saw it
    SHELVED = "shelved"  # G: put aside for a time


class AlarmChange(NamedTuple):
    """A change of state, with who made it ("" is the gateway) and when by the boot clock."""

    before: AlarmState
    after: AlarmState
    by: str
    at_ms: int


class Alarm:
    """One alarm. Times are of the boot clock in ms."""

    def __init__(self, delay_ms: int, off_delay_ms: int) -> None:
        self._delay_ms = delay_ms
        self._off_delay_ms = off_delay_ms
        self._condition = False
        self._turned_ms = 0  # when the condition last changed
        self._is_active = False
        self._is_acknowledged = True
        self.shelved_until_ms: int | None = None
        self.since_ms = 0
        """When the state last changed."""

    @property
    def state(self) -> AlarmState:
        """The state now."""
        if self.shelved_until_ms is not None:
            return AlarmState.SHELVED
        if self._is_active:
            is_seen = self._is_acknowledged
            return AlarmState.ACKNOWLEDGED if is_seen else AlarmState.UNACKNOWLEDGED
        return AlarmState.NORMAL if self._is_acknowledged else AlarmState.RETURNED

    @property
    def is_seen(self) -> bool:
        """Whether it is active and acknowledged, on the shelf or not."""
        return self._is_active and self._is_acknowledged

    def look(self, condition: bool | None, now_ms: int) -> AlarmChange | None:
        """Take what the rule says now (None: as before); return the change of state, if any."""
        before = self.state
        if condition is not None and condition != self._condition:
            self._condition, self._turned_ms = condition, now_ms
        delay_ms = self._delay_ms if self._condition else self._off_delay_ms
        if self._condition != self._is_active and now_ms - self._turned_ms >= delay_ms:
            self._is_active = self._condition
            if self._is_active:
                self._is_acknowledged = False
        if self.shelved_until_ms is not None and now_ms >= self.shelved_until_ms:
            self.shelved_until_ms = None
        return self._changed(before, "", now_ms)

    def acknowledge(self, by: str, now_ms: int) -> AlarmChange | None:
        """Note that somebody has seen it; return the change of state, if any."""
        before = self.state
        self._is_acknowledged = True
        return self._changed(before, by, now_ms)

    def shelve(self, for_ms: int, by: str, now_ms: int) -> AlarmChange | None:
        """Put it aside for a time of at most MAX_SHELF_MS; 0 takes it back from the shelf.

        ValueError: another time.
        """
        if not 0 <= for_ms <= MAX_SHELF_MS:
            raise ValueError(f"0 to {MAX_SHELF_MS // 3_600_000} hours were expected")
        before = self.state
        self.shelved_until_ms = now_ms + for_ms if for_ms else None
        return self._changed(before, by, now_ms)

    def _changed(self, before: AlarmState, by: str, now_ms: int) -> AlarmChange | None:
        after = self.state
        if after == before:
            return None
        self.since_ms = now_ms
        return AlarmChange(before, after, by, now_ms)
