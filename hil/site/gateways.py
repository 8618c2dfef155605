"""What a site asks of its gateway and its broker, and a gateway that runs inside this process."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final, Protocol

from gateway_agent.agent import GatewayAgent
from gateway_agent.clock import SystemClock
from gateway_agent.config import load
from gateway_agent.counters import Counters
from gateway_agent.status import Status
from hil.errors import SiteError

_STOP_S: Final = 20.0


class SiteBroker(Protocol):
    """An MQTT broker on 127.0.0.1 that can be stopped and started on the same port."""

    @property
    def port(self) -> int:
        """Return the port; 0 before the first start."""

    async def start(self) -> None:
        """Listen on ``port``, or on a free port if it is 0."""

    async def stop(self) -> None:
        """Close every connection and forget every message."""


class SiteGateway(Protocol):
    """A gateway that can be started again; ``starts`` counts how often it was."""

    starts: int

    def is_running(self) -> bool:
        """Return True while it works."""

    async def start(self) -> None:
        """Start it; return when it works."""

    async def stop(self) -> None:
        """End it in order, within its own limit; do nothing if it does not run."""

    def status(self) -> Status:
        """Return its status now."""


class GatewayTask:
    """Run the gateway agent as a task of this process, so that reading its status costs nothing."""

    def __init__(self, config: Path) -> None:
        self.starts = 0
        self._config = config
        self._agent: GatewayAgent | None = None
        self._task: asyncio.Task[None] | None = None

    def is_running(self) -> bool:
        """Return True while the agent works."""
        return self._task is not None and not self._task.done()

    async def start(self) -> None:
        """Start a new agent. ConfigError; what the agent raises before it works."""
        self._agent = GatewayAgent(load(self._config), SystemClock(), Counters())
        self._task = asyncio.create_task(self._agent.run())
        self.starts += 1
        working = asyncio.create_task(self._agent.running.wait())
        await asyncio.wait((working, self._task), return_when=asyncio.FIRST_COMPLETED)
        working.cancel()
        if self._task.done():
            self._task.result()

    async def stop(self) -> None:
        """Stop the agent, if it runs; raise what it has raised."""
        task, self._task = self._task, None
        if task is None or self._agent is None:
            return
        if not task.done():
            self._agent.request_stop()
            await asyncio.wait((task,), timeout=_STOP_S)
        if not task.done():
            task.cancel()
            await asyncio.wait((task,))
        if not task.cancelled():
            task.result()

    def status(self) -> Status:
        """Return the agent's status. SiteError before the first start."""
        if self._agent is None:
            raise SiteError("the gateway has not been started: expected start() before status()")
        return self._agent.snapshot()
