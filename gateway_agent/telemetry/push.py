"""Pushes metrics in a task of its own that holds up nothing; loaded only for a table ``[otlp]``."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Final, NoReturn

from prometheus_client.process_collector import ProcessCollector

from gateway_agent.cancellation import raise_if_cancelled
from gateway_agent.clock import GatewayClock
from gateway_agent.http_post import http_post
from gateway_agent.uplink.backoff import Backoff, Pause
from gateway_agent.web.metrics import AgentCollector
from gateway_agent.web.view import AgentView, WatchedAgent
from protocols.text_of_others import printable

from .config import OtlpConfig
from .otlp import request_of

log: Final = logging.getLogger(__name__)

_FIRST_S: Final = 1.0  # after the start, and between two looks for a clock


class OtlpPush:
    """Sends one request after the other."""

    def __init__(self, config: OtlpConfig, agent: WatchedAgent, clock: GatewayClock) -> None:
        self._config = config
        self._clock = clock
        self._view = AgentView(agent)
        self._process = ProcessCollector(registry=None)
        self._resource = {
            "service.name": "tianfu-gateway",
            "service.instance.id": agent.config.gateway.id,
            "service.version": version("tianfu-edge"),
        }
        self._problem = ""

    async def run(self) -> NoReturn:
        """Push until cancelled. A server that is away is asked again, with what is true then."""
        interval = self._config.interval_s
        backoff = Backoff()
        wait_s = _FIRST_S
        while True:
            raise_if_cancelled()
            await asyncio.sleep(wait_s)
            wall_ms = self._clock.wall().wall_ms
            if wall_ms is None:
                wait_s = _FIRST_S  # what has no time cannot be placed
                continue
            try:
                status = await self._view.status()
                found = AgentCollector(status, self._view.progress)
                await asyncio.to_thread(self._send, found, wall_ms - status.running_ms, wall_ms)
            except Exception as error:  # noqa: BLE001 - the gateway works without its metrics
                raise_if_cancelled()
                self._note(printable(str(error) or type(error).__name__))
                wait_s = backoff.next_s(Pause(min(5, interval), interval))
            else:
                self._note("")
                backoff.reset()
                wait_s = interval

    def _send(self, found: AgentCollector, start_ms: int, now_ms: int) -> None:
        config = self._config
        headers = {}
        if config.headers_file is not None:
            for line in config.headers_file.read_text(encoding="utf-8-sig").splitlines():
                name, _, value = line.partition(":")
                if value.strip():
                    headers[name.strip()] = value.strip()
        headers["Content-Type"] = "application/json"
        families = (*found.collect(), *self._process.collect())
        body = request_of(families, self._resource, start_ms, now_ms)
        status, _ = http_post(config.url, body, headers, config.ca)
        if not 200 <= status < 300:
            raise OSError(f"expected an answer from 200 to 299, got {status}")

    def _note(self, problem: str) -> None:
        """Log a problem when it begins, is another one, or is over."""
        where = self._config.url.partition("?")[0]
        if problem and problem != self._problem:
            log.warning("[otlp] %s: %s", where, problem)
        elif self._problem and not problem:
            log.warning("[otlp] %s works again", where)
        self._problem = problem


@asynccontextmanager
async def pushing(
    config: OtlpConfig, agent: WatchedAgent, clock: GatewayClock
) -> AsyncIterator[None]:
    """Push while the block runs."""
    task = asyncio.create_task(OtlpPush(config, agent, clock).run(), name="otlp")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
