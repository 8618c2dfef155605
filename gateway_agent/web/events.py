"""Remembers the newest changes and log lines, so that a page can show what happened when.

Both lists are bounded and in memory; what must last is in the journal and in the stream.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from gateway_agent.field.node_log import node_events
from gateway_agent.status import HealthProblem

KEPT: Final = 500
_LONGEST: Final = 1000  # characters of a log line


class ConsoleEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something began or ended."""

    t_ms: int  # since 1970
    kind: str  # "problem", "solved", "alarm", or "node": what a node has reported of itself
    what: str  # where: bus/device, outbox, uplink
    text: str  # what an operator needs


class LogLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the agent's log."""

    t_ms: int  # since 1970
    level: str  # WARNING, ERROR ...
    source: str  # the part of the agent that wrote it
    text: str


class EventList:
    """Compares what is found now with what was found before; nodes report their own events."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self.events: deque[ConsoleEvent] = deque(maxlen=KEPT)
        self.of_nodes = NodeEventList()
        self._now = now
        self._open: dict[tuple[str, str], HealthProblem] = {}
        self._alarms: list[str] = []

    def look(self, problems: list[HealthProblem], alarms: list[str]) -> None:
        """Add what has begun and what has ended."""
        found = {(problem.stage, problem.what): problem for problem in problems}
        for key, problem in found.items():
            if key not in self._open:
                self._add("problem", problem.what, problem.text)
        for key, problem in self._open.items():
            if key not in found:
                self._add("solved", problem.what, f"data flows again, after: {problem.text}")
        for alarm in alarms:
            if alarm not in self._alarms:
                self._add("alarm", "uplink", alarm)
        self._open, self._alarms = found, list(alarms)

    def _add(self, kind: str, what: str, text: str) -> None:
        t_ms = round(self._now() * 1000)
        self.events.append(ConsoleEvent(t_ms=t_ms, kind=kind, what=what, text=text))

    def newest(self) -> list[ConsoleEvent]:
        """Return everything, the newest first."""
        found = [*self.events, *self.of_nodes.events]
        return sorted(found, key=lambda event: event.t_ms)[::-1]


class NodeEventList(logging.Handler):
    """Keeps the newest events of nodes; a node with many takes no place of other changes."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.events: deque[ConsoleEvent] = deque(maxlen=KEPT)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep an event."""
        what, _, text = record.getMessage()[:_LONGEST].partition(": ")
        t_ms = round(record.created * 1000)
        self.events.append(ConsoleEvent(t_ms=t_ms, kind="node", what=what, text=text))

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Keep events while the block runs."""
        before = node_events.level
        node_events.addHandler(self)
        node_events.setLevel(logging.INFO)
        try:
            yield
        finally:
            node_events.removeHandler(self)
            node_events.setLevel(before)


class LogList(logging.Handler):
    """Keeps the newest lines of the log."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: deque[LogLine] = deque(maxlen=KEPT)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        try:
            text = record.getMessage()[:_LONGEST]
        except Exception:  # noqa: BLE001 - as logging itself: a bad format string ends nothing
            self.handleError(record)
            return
        self.lines.append(
            LogLine(
                t_ms=round(record.created * 1000),
                level=record.levelname,
                source=record.name.removeprefix("gateway_agent."),
                text=text,
            )
        )

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Keep lines while the block runs."""
        root = logging.getLogger()
        root.addHandler(self)
        try:
            yield
        finally:
            root.removeHandler(self)
