"""The exporter to a platform of HJ 212: one connection after the other, and what outlives them."""

import asyncio
import contextlib
import logging
from typing import Final, NoReturn

from gateway_agent.cancellation import whatever_comes
from gateway_agent.errors import OperatorError
from gateway_agent.rare_log import RareLog
from gateway_agent.uplink.command_audit import CommandAudit
from gateway_agent.uplink.feed import ExportContext, Feed

from .config import Hj212Uplink
from .session import Hj212Session
from .work import Hj212Work

log = logging.getLogger(__name__)

_CONNECT_S: Final = 10.0


class Hj212Exporter:
    """Sends one site to one platform."""

    def __init__(self, config: Hj212Uplink, context: ExportContext) -> None:
        self._config = config
        self._context = context
        self._refused = RareLog(log)
        self._audit = CommandAudit(f"hj212: {config.label}", context)
        self._work: Hj212Work | None = None

    async def run(self, feed: Feed) -> NoReturn:
        """Export until cancelled; OSError: the platform or the medium fails, ValueError: config."""
        while (wall_ms := self._context.clock.wall().wall_ms) is None:
            feed.status.problem = "no clock vouches for a time yet: request numbers need one"
            await asyncio.sleep(1)
        if self._work is None:
            await whatever_comes(self._open(wall_ms))
        assert self._work is not None
        feed.status.gaps = self._work.gaps.gaps
        opening = asyncio.open_connection(self._config.host, self._config.port)
        async with asyncio.timeout(_CONNECT_S):
            reader, writer = await opening
        session = Hj212Session(self._work, feed, self._context, self._refused, self._audit)
        try:
            await session.run(reader, writer)
        finally:
            self._work.device.disconnect()
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        raise OSError("the session has ended")

    async def _open(self, wall_ms: int) -> None:
        try:
            self._work = await asyncio.to_thread(Hj212Work, self._config, self._context, wall_ms)
        except OperatorError as error:
            raise ValueError(str(error)) from error

    def close(self) -> None:
        """Close the file of the periods."""
        if self._work is not None:
            self._work.store.close()
            self._work = None
