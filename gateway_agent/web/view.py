"""What the console may see of the agent: a few questions, each answered from memory.

With many devices a snapshot is taken in pieces, between which the loop polls and commits.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Final, Protocol

from msgspec import structs

from gateway_agent.alarms.socket import AlarmOrder
from gateway_agent.commands.command import Command, CommandResult
from gateway_agent.config import GatewayConfig
from gateway_agent.progress import ProgressWatch
from gateway_agent.reload.plan import ReloadPlan
from gateway_agent.status import PIECE_POINTS, BusStatus, ConfigurationStatus, DeviceStatus, Status
from protocols.modbus_client.listener import HeardFrame

_FRESH_S: Final = 0.5  # ten viewers cost one snapshot


class WatchedDesk(Protocol):
    """Where commands to devices go."""

    async def run(self, command: Command, by: str) -> CommandResult:
        """Carry a command out."""


class WatchedReloader(Protocol):
    """What changes the configuration."""

    @property
    def text(self) -> str:
        """Return the configuration in force, as it was written."""

    def state(self) -> ConfigurationStatus:
        """Return where it is from, and whether it is on probation."""

    def plan(self, text: str) -> ReloadPlan:
        """Return what a text would change, in any thread."""

    async def apply(self, text: str, by: str, origin: str, base: str = "") -> ReloadPlan:
        """Change to a text, if ``base`` is still in force."""


class WatchedAgent(Protocol):
    """The part of the agent that the console reads, and what an operator may do there."""

    progress: ProgressWatch

    @property
    def reloader(self) -> WatchedReloader | None:
        """Return what changes the configuration; None: not yet, or there is no file of it."""

    @property
    def commands(self) -> WatchedDesk:
        """Return where commands to devices go."""

    @property
    def config(self) -> GatewayConfig:
        """Return the configuration in force."""

    @property
    def alarms(self) -> list[str]:
        """Return what an operator must learn of, since the start of the process."""

    def snapshot_parts(self) -> tuple[Status, Iterator[DeviceStatus]]:
        """Return everything that ``status`` shows, the devices one by one."""

    async def longest_wait_ms(self) -> int | None:
        """Return the age of the oldest record that waits for a receipt; None: it is not known."""

    def buses(self) -> list[BusStatus]:
        """Return every polled bus, with its devices, as it is used."""

    def watch_frames(self, bus: str) -> AsyncGenerator[HeardFrame | int, None]:
        """Yield what passes on a bus, or how many frames were lost. LookupError, ViewersError."""

    def obey_alarm_order(self, order: AlarmOrder) -> int:
        """Acknowledge or shelve alarms; return how many changed. AlarmError: why none can."""


class AgentView:
    """Share one snapshot among all who ask within half a second."""

    def __init__(self, agent: WatchedAgent, now: Callable[[], float] = time.monotonic) -> None:
        self.agent = agent
        self.progress = agent.progress
        self._now = now
        self._turn = asyncio.Lock()
        self._status: Status | None = None
        self._taken = 0.0

    def renew(self) -> None:
        """Take a new snapshot next time: something was changed."""
        self._status = None

    @property
    def config(self) -> GatewayConfig:
        """Return the configuration in force, which a reload changes."""
        return self.agent.config

    async def status(self) -> Status:
        """Return the status, at most half a second old.

        One without devices is of before the start, and would hide them for as long.
        """
        async with self._turn:
            kept = self._status
            if kept is None or not kept.nodes or self._now() - self._taken >= _FRESH_S:
                self._taken = self._now()
                kept = self._status = await self._take()
            return kept

    async def _take(self) -> Status:
        status, parts = self.agent.snapshot_parts()
        devices: list[DeviceStatus] = []
        points = 0
        for device in parts:
            devices.append(device)
            points += 1 + len(device.values)
            if points >= PIECE_POINTS:
                points = 0
                await asyncio.sleep(0)
        return structs.replace(status, nodes=devices)
