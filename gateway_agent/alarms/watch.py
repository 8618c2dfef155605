"""Looks at all rules together and keeps the alarm summary: what is active, who has seen it.

What people did (acknowledge, shelve) outlives a restart of the agent in a small file; what rules
say is found again by looking.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from gateway_agent.journal import about
from gateway_agent.state_file import read_state, write_state
from gateway_agent.status import AlarmStatus

from .rules import AlarmRule, GatewayView, Judge
from .state import Alarm, AlarmChange, AlarmState

log: Final = logging.getLogger(__name__)

FILE_NAME: Final = "alarms.json"
KEEP_MS: Final = 60_000  # between two writes of how long a shelf still is
_ORDER: Final = {"urgent": 0, "warning": 1, "note": 2}
#: The most urgent state first.
_STATES: Final = (
    AlarmState.UNACKNOWLEDGED,
    AlarmState.ACKNOWLEDGED,
    AlarmState.RETURNED,
    AlarmState.SHELVED,
    AlarmState.NORMAL,
)


class KeptAlarm(Struct, frozen=True):
    """What the file keeps of one alarm."""

    acknowledged: bool = False
    shelved_ms: int = 0  # that were left


class AlarmError(ValueError):
    """What somebody wants of an alarm cannot be done; the text says why."""


class _Watched:
    def __init__(self, rule: AlarmRule) -> None:
        self.rule = rule
        self.judge: Judge = rule.start()
        self.alarm = Alarm(round(rule.delay_s * 1000), round(rule.off_delay_s * 1000))
        # Somebody has seen it before the restart, and its rule has not said since that it is over.
        self.was_seen = False

    def kept(self, now_ms: int) -> KeptAlarm:
        """Return what the next start has to know."""
        left_ms = max(0, (self.alarm.shelved_until_ms or now_ms) - now_ms)
        return KeptAlarm(self.was_seen or self.alarm.is_seen, left_ms)


class AlarmWatch:
    """The rules of one gateway. ``changed`` is called for each change of state."""

    def __init__(
        self,
        rules: Sequence[AlarmRule],
        directory: Path,
        changed: Callable[[AlarmRule, AlarmChange], None],
    ) -> None:
        self._watched = {rule.name: _Watched(rule) for rule in rules}
        self._path = directory / FILE_NAME
        self._changed = changed
        self._is_restored = False
        self._is_changed = False  # something, since the file was compared
        self._in_file: Mapping[str, tuple[bool, bool]] = {}  # acknowledged, shelved
        self._kept_ms = 0

    def change(self, rules: Sequence[AlarmRule], now_ms: int) -> None:
        """Judge these rules from now on; an alarm whose rule judges the same keeps its state.

        One whose rule does not is normal, for everybody who heard of it, until its rule says more.
        """
        going = dict(self._watched)
        self._watched = {}
        for rule in rules:
            item = going.get(rule.name)
            if item is not None and _judges_the_same(item.rule, rule):
                del going[rule.name]
                item.rule = rule
            else:
                item = _Watched(rule)
            self._watched[rule.name] = item
        self._is_changed = True
        for item in going.values():
            state = item.alarm.state
            if state != AlarmState.NORMAL:
                self._tell(item, AlarmChange(state, AlarmState.NORMAL, "", now_ms))

    @property
    def devices(self) -> frozenset[str]:
        """The names of devices that rules are about."""
        return frozenset(item.rule.about for item in self._watched.values()) - {"gateway"}

    def look(self, view: GatewayView) -> None:
        """Judge every rule of this moment."""
        if not self._is_restored:
            self._restore(view.now_ms)
        for item in self._watched.values():
            condition = item.judge.judge(view)
            if condition and item.rule.about in view.maintained:
                condition = None
            change = item.alarm.look(condition, view.now_ms)
            if condition is False and item.was_seen:
                item.was_seen, self._is_changed = False, True
            if change is None:
                continue
            self._is_changed = True
            if change.after == AlarmState.UNACKNOWLEDGED and item.was_seen:
                # Active since before the restart, and somebody has seen it.
                item.alarm.acknowledge("", view.now_ms)
                item.was_seen = False
                continue
            self._tell(item, change)

    def acknowledge(self, name: str, by: str, now_ms: int) -> int:
        """Acknowledge one alarm, or all that are not shelved; return how many changed.

        AlarmError: there is no such alarm, or it is shelved.
        """
        found = [self._of(name)] if name else list(self._watched.values())
        on_list = [item for item in found if item.alarm.state != AlarmState.SHELVED]
        if name and not on_list:
            raise AlarmError(f"an alarm that is not shelved was expected, got {name!r}")
        return self._note([(item, item.alarm.acknowledge(by, now_ms)) for item in on_list])

    def shelve(self, name: str, for_ms: int, by: str, now_ms: int) -> int:
        """Put an alarm aside for a time, 0 to take it back; return how many changed.

        AlarmError: there is no such alarm, or the time is too long.
        """
        item = self._of(name)
        try:
            change = item.alarm.shelve(for_ms, by, now_ms)
        except ValueError as error:
            raise AlarmError(str(error)) from None
        return self._note([(item, change)])

    def summary(self, now_ms: int) -> list[AlarmStatus]:
        """Return every alarm that is not normal, the most urgent first."""
        items = [item for item in self._watched.values() if item.alarm.state != AlarmState.NORMAL]
        items.sort(key=lambda item: (_STATES.index(item.alarm.state), _ORDER[item.rule.severity]))
        return [
            AlarmStatus(
                name=item.rule.name,
                severity=item.rule.severity,
                state=item.alarm.state.value,
                about=item.rule.about,
                text=item.rule.text,
                for_ms=now_ms - item.alarm.since_ms,
            )
            for item in items
        ]

    def states(self) -> Iterator[tuple[AlarmRule, AlarmState, int]]:
        """Yield every alarm with its state and since when it has that."""
        for item in self._watched.values():
            yield item.rule, item.alarm.state, item.alarm.since_ms

    def _of(self, name: str) -> _Watched:
        if name not in self._watched:
            known = ", ".join(sorted(self._watched)) or "there are none"
            raise AlarmError(f"one of the alarms ({known}) was expected, got {name!r}")
        return self._watched[name]

    def news(self, now_ms: int, is_end: bool = False) -> Mapping[str, KeptAlarm] | None:
        """Return what the file shall hold now; None: it does, to KEEP_MS of what a shelf lasts."""
        is_due = is_end or now_ms - self._kept_ms >= KEEP_MS
        if not self._is_restored or not (self._is_changed or is_due):
            return None
        self._is_changed = False
        if is_due:
            self._kept_ms = now_ms
        items = self._watched.items()
        kept = {name: one for name, item in items if (one := item.kept(now_ms)) != KeptAlarm()}
        before, self._in_file = self._in_file, _marks(kept)
        is_shelf = is_due and any(one.shelved_ms for one in kept.values())
        return kept if is_shelf or self._in_file != before else None

    def keep(self, kept: Mapping[str, KeptAlarm]) -> None:
        """Write what people did. A file that cannot be written costs them a second click."""
        try:
            write_state(self._path, kept)
        except OSError as error:
            log.warning("what was done about alarms is lost at a restart: %s", error)

    def _note(self, changes: Sequence[tuple[_Watched, AlarmChange | None]]) -> int:
        made = [(item, change) for item, change in changes if change is not None]
        for item, change in made:
            self._tell(item, change)
        if made:
            self._is_changed = True
        return len(made)

    def _tell(self, item: _Watched, change: AlarmChange) -> None:
        rule = item.rule
        level = logging.WARNING if change.after == AlarmState.UNACKNOWLEDGED else logging.INFO
        who = f" by {change.by}" if change.by else ""
        text = f": {rule.text}" if rule.text else ""
        named = about(alarm=rule.name)
        log.log(
            level,
            "alarm %s (%s) is %s%s%s",
            rule.name,
            rule.about,
            change.after,
            who,
            text,
            extra=named,
        )
        self._changed(rule, change)

    def _restore(self, now_ms: int) -> None:
        self._is_restored, self._kept_ms = True, now_ms
        kept = read_state(self._path, dict[str, KeptAlarm], "acknowledgements are forgotten") or {}
        for name, found in kept.items():
            if name in self._watched:
                self._watched[name].was_seen = found.acknowledged
                with suppress(ValueError):
                    self._watched[name].alarm.shelve(found.shelved_ms, "", now_ms)
        self._in_file = _marks(kept)


def _judges_the_same(one: AlarmRule, other: AlarmRule) -> bool:
    return replace(one, text=other.text, severity=other.severity) == other


def _marks(kept: Mapping[str, KeptAlarm]) -> Mapping[str, tuple[bool, bool]]:
    return {name: (one.acknowledged, one.shelved_ms > 0) for name, one in kept.items()}
