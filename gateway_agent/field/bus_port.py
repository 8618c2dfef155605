"""The way to a bus: opens its serial port or TCP connection, and opens it again with growing waits.

Serial ports are opened with pymodbus' transport: pyserial under asyncio, exclusive, raw, input
flushed (docs/decisions/0004-modbus-master.md).
"""

import asyncio
from collections.abc import Callable
from typing import Final

from pymodbus.transport.serialtransport import create_serial_connection

from gateway_agent.config import Bus, SerialBus
from gateway_agent.counters import Counters

from .bus_errors import BusDownError

CONNECT_S: Final = 5.0
RECONNECT_S: Final = (0.5, 30.0)  # first wait and longest wait between attempts


class BusPort:
    """Opens one bus, as often as it has to be opened again."""

    def __init__(self, bus: Bus, counters: Counters) -> None:
        self._bus = bus
        self._counters = counters
        self._retry_at = 0.0
        self._retry_wait = RECONNECT_S[0]
        self._why_closed = ""

    async def open(self, link: asyncio.Protocol) -> asyncio.Transport:
        """Connect ``link``. BusDownError if that fails, or failed too short a time ago."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._retry_at:
            raise BusDownError("bus_timeout", self._why_closed)
        try:
            async with asyncio.timeout(CONNECT_S):
                transport = await self._connect(lambda: link)
        except (OSError, ValueError, TimeoutError) as error:
            self._retry_at = loop.time() + self._retry_wait
            self._retry_wait = min(self._retry_wait * 2, RECONNECT_S[1])
            self._counters.poll_errors["bus_down"] += 1
            # The path stands in the text of some errors only, and a timeout has no text at all.
            reason = str(error) or f"no connection within {CONNECT_S:.0f} s"
            self._why_closed = f"{self._bus.where} cannot be opened: {reason}"
            raise BusDownError("bus_timeout", self._why_closed) from error
        self._retry_wait = RECONNECT_S[0]
        return transport

    async def _connect(self, link: Callable[[], asyncio.Protocol]) -> asyncio.Transport:
        bus = self._bus
        loop = asyncio.get_running_loop()
        if isinstance(bus, SerialBus):
            transport, _ = await create_serial_connection(
                loop,
                link,
                bus.port,
                baudrate=bus.baudrate,
                bytesize=8,
                parity=bus.parity,
                stopbits=bus.stopbits,
                timeout=0,
            )
            await asyncio.sleep(0)  # it registers with the loop in a callback of its own
            return transport
        connected, _ = await loop.create_connection(link, bus.host, bus.port)
        return connected
