"""Loads console and push of metrics where a file asks for them: without, they cost nothing."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Generic, TypeVar

from .cancellation import whatever_comes
from .clock import GatewayClock
from .config import GatewayConfig

if TYPE_CHECKING:
    from .web.view import WatchedAgent

log = logging.getLogger(__name__)

T = TypeVar("T")


class OptionalPart(Generic[T]):
    """A part that data does not depend on, in a task of its own so that it can begin anew.

    ``serve``: runs it in a block, as a configuration has it, and yields what is then its ``value``.
    """

    def __init__(
        self, name: str, serve: Callable[[GatewayConfig], AbstractAsyncContextManager[T]]
    ) -> None:
        self.value: T | None = None
        self._name = name
        self._serve = serve
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()  # two changes that follow each other closely

    @asynccontextmanager
    async def running(self, config: GatewayConfig) -> AsyncIterator[None]:
        """Run while the block runs; it has begun when the block does."""
        try:
            await self._begin(config)
            yield
        finally:
            await self._end()

    async def change(self, config: GatewayConfig) -> None:
        """End, and begin anew as ``config`` has it."""
        async with self._turn:
            await self._end()
            await self._begin(config)

    async def _begin(self, config: GatewayConfig) -> None:
        began = asyncio.Event()
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(self._run(config, began, self._stop), name=self._name)
        await began.wait()

    async def _end(self) -> None:
        self._stop.set()
        if self._task is not None:
            await whatever_comes(asyncio.wait({self._task}))
            self._task = None

    async def _run(self, config: GatewayConfig, began: asyncio.Event, stop: asyncio.Event) -> None:
        try:
            async with self._serve(config) as self.value:
                began.set()
                await stop.wait()
        except Exception:
            log.exception("the %s failed, the gateway works without it", self._name)
        finally:
            began.set()


@asynccontextmanager
async def console_of(config: GatewayConfig, agent: "WatchedAgent") -> AsyncIterator[int]:
    """Serve the console while the block runs; yields its port, 0 if there is none.

    Where it cannot run, that is logged.
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


@asynccontextmanager
async def metrics_of(
    config: GatewayConfig, agent: "WatchedAgent", clock: GatewayClock
) -> AsyncIterator[None]:
    """Push metrics while the block runs, if ``[otlp]`` asks for it."""
    async with AsyncExitStack() as stack:
        if config.otlp is not None:
            try:
                from .telemetry.push import pushing

                await stack.enter_async_context(pushing(config.otlp, agent, clock))
            except ImportError as error:
                log.error("[otlp] cannot be loaded (%s): install the extra console", error)
        yield
