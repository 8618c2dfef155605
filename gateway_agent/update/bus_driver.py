"""Carries out what a :class:`.bus_update.BusUpdate` decides, between the polls of one bus."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from gateway_agent.clock import GatewayClock
from gateway_agent.field.bus_errors import FATAL, BusError, RefusedError
from gateway_agent.field.master import Master

from .bus_update import Ask, BusUpdate

log = logging.getLogger(__name__)

IDLE_MS: Final = 1000  # between two looks whether there is something to do


class BusDriver:
    """One bus. ``work`` is what is done now; ``over`` is called after every step."""

    def __init__(self, clock: GatewayClock, over: Callable[[], None]) -> None:
        self.work: BusUpdate | None = None
        self._clock = clock
        self._over = over

    async def step(self, master: Master, free_ms: int) -> int:
        """Do one thing that takes at most ``free_ms``; return for how long to wait then."""
        work = self.work
        if work is None:
            return IDLE_MS
        start = self._clock.boot_ms()
        ask, wait = work.next(start, free_ms)
        if ask is None:
            self._over()
            return wait
        try:
            await self._send(master, ask, work)
        except FATAL:
            raise
        except Exception as error:  # an update never ends the polls of its bus
            master.close()
            log.error("update: a request failed: %s", error, exc_info=error)
            if ask.node is not None:
                ask.node.silent(self._clock.boot_ms())
        work.over(ask, start, self._clock.boot_ms())
        self._over()
        return 0

    async def _send(self, master: Master, ask: Ask, work: BusUpdate) -> None:
        node = ask.node
        if node is None:
            await master.broadcast(ask.request, work.usual_ms(ask) / 1000)
            return
        try:
            latest = asyncio.get_running_loop().time() + ask.within_ms / 1000
            pdu = await master.ask(ask.request, latest)
        except RefusedError as error:
            node.refused(error.code, self._clock.boot_ms())
        except BusError:
            node.silent(self._clock.boot_ms())
        else:
            now_ms = self._clock.boot_ms()
            if ask.block is not None:
                node.block_taken(ask.block, now_ms)
            else:
                node.answered(b"" if ask.request.read is None else pdu[2:], now_ms)

    def away(self, device_id: str, now_ms: int) -> str:
        """See BusUpdate."""
        return "" if self.work is None else self.work.away(device_id, now_ms)

    def polled(self, device_id: str) -> None:
        """See BusUpdate."""
        if self.work is not None:
            self.work.polled(device_id)
