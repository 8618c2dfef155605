"""What the console may see of the agent: a few questions, each answered from memory."""

import time
from collections.abc import Callable
from typing import Final, Protocol

from gateway_agent.alarms.socket import AlarmOrder
from gateway_agent.config import GatewayConfig
from gateway_agent.progress import ProgressWatch
from gateway_agent.status import Status

_FRESH_S: Final = 0.5  # ten viewers cost one snapshot


class WatchedAgent(Protocol):
    """The part of the agent that the console reads, and what an operator may do there."""

    progress: ProgressWatch

    @property
    def config(self) -> GatewayConfig:
        """Return the configuration in force."""

    @property
    def alarms(self) -> list[str]:
        """Return what an operator must learn of, since the start of the process."""

    def snapshot(self) -> Status:
        """Return everything that ``status`` shows."""

    def obey_alarm_order(self, order: AlarmOrder) -> int:
        """Acknowledge or shelve alarms; return how many changed. AlarmError: why none can."""


class AgentView:
    """Share one snapshot among all who ask within half a second."""

    def __init__(self, agent: WatchedAgent, now: Callable[[], float] = time.monotonic) -> None:
        self.agent = agent
        self.progress = agent.progress
        self.config = agent.config
        self._now = now
        self._status: Status | None = None
        self._taken = 0.0

    def renew(self) -> None:
        """Take a new snapshot next time: something was changed."""
        self._status = None

    def status(self) -> Status:
        """Return the status, at most half a second old."""
        now = self._now()
        if self._status is None or now - self._taken >= _FRESH_S:
            self._status, self._taken = self.agent.snapshot(), now
        return self._status
