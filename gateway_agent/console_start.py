"""Loads console and push of metrics where a file asks for them: without, they cost nothing."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from .clock import GatewayClock
from .config import GatewayConfig

if TYPE_CHECKING:
    from .web.view import WatchedAgent

log = logging.getLogger(__name__)


@asynccontextmanager
async def console_of(config: GatewayConfig, agent: "WatchedAgent") -> AsyncIterator[int]:
    """Serve the console while the block runs; yields its port, 0 if there is none.

    Data does not depend on it: where it cannot run, that is logged and the agent works on.
    """
    if config.web is None:
        yield 0
        return
    async with AsyncExitStack() as stack:
        port = 0
        try:
            from .web.console import console

            port = await stack.enter_async_context(console(config.web, agent))
        except ImportError as error:
            log.error("[web] cannot be loaded (%s): install the extra console", error)
        except Exception as error:
            log.exception("the console cannot start, the gateway works without it: %s", error)
        yield port


class ConsoleRunner:
    """The console of one agent, in a task of its own so that it can begin anew."""

    def __init__(self, agent: "WatchedAgent") -> None:
        self.port = 0
        self._agent = agent
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def running(self, config: GatewayConfig) -> AsyncIterator[None]:
        """Serve while the block runs."""
        try:
            await self.begin(config)
            yield
        finally:
            await self.end()

    async def begin(self, config: GatewayConfig) -> None:
        """Begin; the port is known when this returns."""
        began = asyncio.Event()
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(self._serve(config, began, self._stop), name="console")
        await began.wait()

    async def end(self) -> None:
        """End, and wait for that."""
        task, self._task = self._task, None
        self._stop.set()
        if task is not None:
            await asyncio.wait({task})

    async def _serve(
        self, config: GatewayConfig, began: asyncio.Event, stop: asyncio.Event
    ) -> None:
        try:
            async with console_of(config, self._agent) as self.port:
                began.set()
                await stop.wait()
        except Exception:
            log.exception("the console failed, the gateway works without it")
        finally:
            began.set()


@asynccontextmanager
async def otlp_of(
    config: GatewayConfig, agent: "WatchedAgent", clock: GatewayClock
) -> AsyncIterator[None]:
    """Push metrics while the block runs, if ``[otlp]`` asks for it; data does not depend on it."""
    if config.otlp is None:
        yield
        return
    async with AsyncExitStack() as stack:
        try:
            from .telemetry.push import pushing

            await stack.enter_async_context(pushing(config.otlp, agent, clock))
        except ImportError as error:
            log.error("[otlp] cannot be loaded (%s): install the extra console", error)
        yield
