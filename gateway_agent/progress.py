"""Answers one question in one place: does data make progress, and where does it stop.

The three stages are polls (a device gave a good answer), commits (what waits became durable) and
receipts (an uplink delivered further). Health checks, metrics, ``status`` and the watchdog of the
service ask here. A problem is red as long as data stops; ``own`` marks those that a restart of the
agent may mend, because a part of the agent itself hangs. A platform that nothing waits for
(``required = false``) is a warning.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

from .clock import GatewayClock
from .status import HealthProblem

# What stops is red within 30 s: this long without progress, a second until the next look, and up to
# a period until the next poll.
LIMIT_MS: Final = 20_000
HANG_MS: Final = (
    60_000  # longer than the longest poll and the slowest commit of a medium that works
)
LOOK_S: Final = 1.0


class DeviceFlow(NamedTuple):
    """What comes from one device."""

    bus: str
    name: str
    age_ms: int  # since the newest good answer, or since the start
    period_ms: int
    is_quarantined: bool
    is_new: bool  # no good answer yet
    problem: str


class PollerFlow(NamedTuple):
    """Whether the task of one bus moves on."""

    bus: str
    late_ms: int  # since it should have taken its next turn


class StoreFlow(NamedTuple):
    """What the outbox does."""

    is_waiting: bool  # records wait for a commit
    commits: int  # made since the start
    full: str  # why there is no room; empty if there is


class Delivery(NamedTuple):
    """What one uplink does."""

    name: str
    connected: bool
    problem: str  # why it is not connected, or why nothing is receipted
    to: int  # everything up to this record is delivered
    behind: int  # records that are not
    slack_ms: int  # for how long a record may wait for others
    is_required: bool = True  # whether records are kept until it has them


class Flow(NamedTuple):
    """Everything at one moment. ``waiting_for``: why the outbox cannot be opened."""

    waiting_for: str
    devices: Sequence[DeviceFlow]
    pollers: Sequence[PollerFlow]
    store: StoreFlow | None  # None: it is not open yet
    deliveries: Sequence[Delivery]


class ProgressWatch:
    """Look at the flow once a second; everything it has found is in ``problems``."""

    def __init__(self, clock: GatewayClock, flow: Callable[[], Flow]) -> None:
        self.problems: list[HealthProblem] = []  # the worst of a stage first
        self.warnings: list[HealthProblem] = []  # of uplinks that nothing waits for
        self.starting: list[str] = ["the agent has not looked yet"]  # what a start still waits for
        self._clock = clock
        self._flow = flow
        self._timer: asyncio.TimerHandle | None = None
        self._then: Callable[[], None] | None = None
        self._looked_ms = clock.boot_ms()
        self._since: dict[str, tuple[object, int]] = {}  # a figure, and when it last changed

    @property
    def is_alive(self) -> bool:
        """Return whether the agent itself works: False if only a restart may help."""
        if self._clock.boot_ms() - self._looked_ms >= HANG_MS:
            return False
        return not any(problem.own for problem in self.problems)

    @property
    def is_ready(self) -> bool:
        """Return whether the start is over and data flows from each device to each uplink.

        Uplinks that are not required are left out.
        """
        return not self.problems and not self.starting

    def summary(self) -> str:
        """Return the state in one line."""
        if self.problems:
            more = len(self.problems) - 1
            first = self.problems[0]
            return f"{first.what}: {first.text}" + (f" (and {more} more)" if more else "")
        return f"starting: {self.starting[0]}" if self.starting else "data flows"

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look once a second while the block runs, in callbacks: there is no task to end."""
        self._turn()
        try:
            yield
        finally:
            if self._timer is not None:
                self._timer.cancel()

    @contextmanager
    def calling(self, then: Callable[[], None]) -> Iterator[None]:
        """Call ``then`` after each look while the block runs."""
        self._then = then
        try:
            yield
        finally:
            self._then = None

    def _turn(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._turn)
        self.look()
        if self._then is not None:
            self._then()

    def look(self) -> None:
        """Compare the flow with what it was."""
        now_ms, flow = self._clock.boot_ms(), self._flow()
        commits = self._commits(flow, now_ms)
        polls = [*self._pollers(flow, bool(commits)), *self._devices(flow)]
        receipts = [*self._receipts(flow, now_ms)]
        spare = {uplink.name for uplink in flow.deliveries if not uplink.is_required}
        self.warnings = [problem for problem in receipts if problem.what in spare]
        self.problems = [*commits, *(one for one in receipts if one.what not in spare), *polls]
        self.starting = list(_starting(flow))
        self._looked_ms = now_ms

    def _commits(self, flow: Flow, now_ms: int) -> list[HealthProblem]:
        store = flow.store
        if store is None:
            held_ms = self._unchanged_ms("open", flow.waiting_for, now_ms)
            if not flow.waiting_for and held_ms < LIMIT_MS:
                return []
            text = flow.waiting_for or f"it has been opening for {held_ms // 1000} s"
            return [_problem("commits", "outbox", held_ms, text)]
        self._since.pop("open", None)
        held_ms = self._unchanged_ms("commits", (store.commits, store.is_waiting), now_ms)
        if store.full:
            return [_problem("commits", "outbox", held_ms, store.full)]
        if not store.is_waiting or held_ms < LIMIT_MS:
            return []
        text = f"no commit for {held_ms // 1000} s: see with `dmesg` whether the medium is failing"
        return [_problem("commits", "outbox", held_ms, text, own=held_ms >= HANG_MS)]

    @staticmethod
    def _pollers(flow: Flow, is_held: bool) -> Iterable[HealthProblem]:
        """Yield the buses whose task hangs, unless the store holds all of them."""
        for poller in flow.pollers if not is_held else ():
            if poller.late_ms >= HANG_MS:
                text = f"its poller has hung for {poller.late_ms // 1000} s"
                yield _problem("polls", poller.bus, poller.late_ms, text, own=True)

    @staticmethod
    def _devices(flow: Flow) -> Iterable[HealthProblem]:
        for device in flow.devices:
            over_ms = device.age_ms - device.period_ms
            # A device that is asked once an hour cannot fail three times within 30 s.
            is_rare = device.period_ms > LIMIT_MS // 2
            lost = device.is_quarantined or (is_rare and device.problem and not device.is_new)
            if lost or over_ms >= LIMIT_MS:
                text = device.problem or "it brings nothing, and no poll of it has failed"
                yield _problem("polls", f"{device.bus}/{device.name}", device.age_ms, text)

    def _receipts(self, flow: Flow, now_ms: int) -> Iterable[HealthProblem]:
        for uplink in flow.deliveries:
            state = (uplink.to, uplink.behind > 0, uplink.connected)
            held_ms = self._unchanged_ms(f"uplink {uplink.name}", state, now_ms)
            if not uplink.connected and held_ms >= LIMIT_MS:
                yield _problem("receipts", uplink.name, held_ms, uplink.problem)
            elif uplink.connected and uplink.behind and held_ms >= LIMIT_MS + uplink.slack_ms:
                text = uplink.problem or "it is connected, and nothing is receipted"
                text += f"; {uplink.behind} records wait"
                yield _problem("receipts", uplink.name, held_ms, text)

    def _unchanged_ms(self, name: str, value: object, now_ms: int) -> int:
        """Return for how long ``value`` has been what it is."""
        known, since_ms = self._since.get(name, (None, now_ms))
        if known != value or name not in self._since:
            since_ms = now_ms
            self._since[name] = value, now_ms
        return now_ms - since_ms


def _problem(stage: str, what: str, for_ms: int, text: str, own: bool = False) -> HealthProblem:
    return HealthProblem(stage=stage, what=what, for_ms=for_ms, text=text, own=own)


def _starting(flow: Flow) -> Iterable[str]:
    """Yield what a start still waits for."""
    if flow.store is None:
        yield "the outbox is not open yet"
    for uplink in flow.deliveries:
        if uplink.is_required and not uplink.connected:
            yield f"uplink {uplink.name}: {uplink.problem or 'not connected'}"
    for device in flow.devices:
        if device.is_new:
            yield f"{device.bus}/{device.name} has given no answer yet"
