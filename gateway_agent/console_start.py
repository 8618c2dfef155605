"""Loads the console where the configuration asks for it: a gateway without it pays nothing."""

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

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
