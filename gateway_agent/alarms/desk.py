"""Ties the alarms to a running agent: what they look at, and where their changes are recorded."""

import asyncio
import logging
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Final, NoReturn, Protocol

from gateway_agent.cancellation import raise_if_cancelled, whatever_comes
from gateway_agent.clock import GatewayClock
from gateway_agent.config import GatewayConfig
from gateway_agent.status import AlarmStatus, DeviceStatus
from protocols.uplink import Action

from .rules import AlarmRule, DeviceView, GatewayView
from .socket import AlarmOrder
from .state import MAX_SHELF_MS, AlarmChange, AlarmState
from .watch import AlarmError, AlarmWatch
from .work import MaintainedField, WorkBook

log: Final = logging.getLogger(__name__)

LOOK_S: Final = 0.2  # between two looks, if no device brings anything
_SOONEST_S: Final = 0.02  # between two looks in any case
_SHARE: Final = 10  # and so many times what a look has taken
_GAUGES_MS: Final = 1000  # between two looks at the medium
_ACTIVE: Final = (AlarmState.UNACKNOWLEDGED, AlarmState.ACKNOWLEDGED)


class WatchedField(MaintainedField, Protocol):
    """What the alarms need of the field."""

    def status(self, now_ms: int, names: Collection[str]) -> list[DeviceStatus]:
        """Return the devices of these names."""

    def busy_s(self) -> Mapping[str, float]:
        """Return for how long each polled bus was used, by its name."""

    @property
    def news(self) -> asyncio.Event:
        """Return what is set whenever a device has brought something; who waits clears it."""


class WatchedOutbox(Protocol):
    """What the alarms need of the outbox."""

    @property
    def depth(self) -> int:
        """Return how many records wait."""

    @property
    def file_bytes(self) -> int:
        """Return how many bytes it has on the medium."""

    @property
    def max_bytes(self) -> int:
        """Return how many it may have."""


class AlarmDesk:
    """The alarms of one agent. ``outbox``: returns its figures as they are now."""

    def __init__(
        self,
        config: GatewayConfig,
        clock: GatewayClock,
        field: WatchedField,
        outbox: Callable[[], WatchedOutbox],
        hurry: Callable[[], None] = lambda: None,
    ) -> None:
        """``hurry`` is called when a change is committed: it must not wait for other records."""
        self._config = config
        self._clock = clock
        self._field = field
        self._outbox = outbox
        self._hurry = hurry
        self.listeners: list[Callable[[AlarmRule, AlarmChange], None]] = []  # of each change
        self._watch = AlarmWatch(config.alarm, config.gateway.state_dir, self._record)
        self._devices = self._watch.devices
        self._ids: dict[str, str] = {}
        self._gauges: dict[str, float] = {}
        self._gauges_ms = clock.boot_ms() - _GAUGES_MS
        self._rules = asyncio.Event()  # there may be some
        self._book = WorkBook(config.gateway.state_dir, field)

    def change(self, config: GatewayConfig) -> None:
        """Judge other rules from now on, of a field that was changed already."""
        self._config = config
        self._book.change()
        self._watch.change(config.alarm, self._clock.boot_ms())
        self._devices = self._watch.devices
        self._rules.set()

    async def run(self) -> NoReturn:
        """Look until cancelled; keep what people do for the next start."""
        try:
            await self._look_on()
        finally:
            for write in self._writes(is_end=True):
                write()

    async def _look_on(self) -> NoReturn:
        loop, news = asyncio.get_running_loop(), self._field.news
        while True:
            raise_if_cancelled()
            news.clear()
            begin = loop.time()
            self.look()
            took = loop.time() - begin
            for write in self._writes():
                await whatever_comes(asyncio.to_thread(write))
            if not self._config.alarm and not self._book.under_way:
                self._rules.clear()
                await self._rules.wait()  # nothing can change without a rule
            await asyncio.sleep(max(_SOONEST_S, _SHARE * took))
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await news.wait()

    def _writes(self, is_end: bool = False) -> Iterator[Callable[[], None]]:
        """Yield what writes the files that hold another state than ours."""
        now_ms = self._clock.boot_ms()
        if (kept := self._watch.news(now_ms, is_end)) is not None:
            yield partial(self._watch.keep, kept)
        if (work := self._book.news(now_ms, is_end)) is not None:
            yield partial(self._book.keep, work)

    def look(self) -> None:
        """Look once."""
        now_ms = self._clock.boot_ms()
        self._book.look(now_ms)
        found = self._field.status(now_ms, self._devices) if self._devices else []
        self._ids.update((device.name, device.id) for device in found)
        devices = {
            device.name: DeviceView(
                device.age_ms, {point.name: point.value for point in device.values}
            )
            for device in found
        }
        if now_ms - self._gauges_ms >= _GAUGES_MS:
            self._gauges, self._gauges_ms = self._measure(), now_ms
        self._watch.look(
            GatewayView(devices, self._gauges, now_ms, self._field.busy_s(), self._book.under_way)
        )

    def obey(self, order: AlarmOrder) -> int:
        """Do what an operator wants; return how many alarms changed. AlarmError: why not."""
        now_ms = self._clock.boot_ms()
        if order.action == "maintain":
            return self._maintain(order, now_ms)
        if order.action == "acknowledge":
            return self._watch.acknowledge(order.name, order.by, now_ms)
        return self._watch.shelve(order.name, order.for_ms, order.by, now_ms)

    def summary(self) -> list[AlarmStatus]:
        """Return every alarm that is not normal, the most urgent first."""
        now_ms = self._clock.boot_ms()
        return [*self._watch.summary(now_ms), *self._book.summary(now_ms)]

    def states(self) -> Iterator[tuple[AlarmRule, AlarmState, int]]:
        """Yield every alarm with its state and since when it has that."""
        return self._watch.states()

    def _maintain(self, order: AlarmOrder, now_ms: int) -> int:
        if not 0 <= order.for_ms <= MAX_SHELF_MS:
            raise AlarmError(f"0 to {MAX_SHELF_MS // 3_600_000} hours were expected")
        if not order.for_ms:
            return self._book.end(order.name, order.by)
        self._book.begin(order.name, order.by, order.for_ms, now_ms)
        self._rules.set()
        return 1

    def _measure(self) -> dict[str, float]:
        outbox = self._outbox()
        gauges: dict[str, float] = {
            "outbox_share": outbox.file_bytes / outbox.max_bytes,
            "records_waiting": outbox.depth,
            "clock_uncertainty_ms": self._clock.wall().unc_ms,
        }
        try:
            medium = os.statvfs(self._config.gateway.state_dir)
        except OSError:
            return gauges  # the outbox says more about such a medium
        gauges["disk_free_mib"] = medium.f_bavail * medium.f_frsize / (1 << 20)
        return gauges

    def _record(self, rule: AlarmRule, change: AlarmChange) -> None:
        gateway = self._config.gateway.id
        detail = f"{rule.name}: {change.before} -> {change.after}, {rule.severity}"
        action = Action(
            _name(change), change.by, 0, f"{detail}; {rule.text}" if rule.text else detail
        )
        self._field.note(self._ids.get(rule.about, gateway), action, self._hurry)
        for listener in self.listeners:
            listener(rule, change)


def _name(change: AlarmChange) -> str:
    """Return the name of a change among the actions of a stream."""
    if change.after == AlarmState.SHELVED:
        return "alarm-shelved"
    if change.before == AlarmState.SHELVED:
        return "alarm-unshelved"
    if change.by:
        return "alarm-acknowledged"
    return "alarm-active" if change.after in _ACTIVE else "alarm-normal"
