"""The way to a bus: opens its serial port or TCP connection, and opens it again with growing waits.

Whatever opening, using or closing a port raises becomes a BusDownError here, in
:meth:`BusPort.failed`: libraries and drivers raise more than they document (``termios.error``,
which is no OSError, TypeError in pyserial when a port is closed under it), and none of it may cost
more than its own connection.
"""

import asyncio
import logging
from typing import Final

from gateway_agent.config import Bus, SerialBus, TcpBus
from gateway_agent.counters import Counters
from gateway_agent.journal import about
from protocols.modbus_client import AsciiClient, MbapClient, ModbusClient, RtuClient

from .bus_errors import FATAL, BusDownError, explain, is_expected
from .bus_log import LineLimit

log = logging.getLogger(__name__)

CONNECT_S: Final = 5.0
RECONNECT_S: Final = (0.5, 30.0)  # first wait and longest wait between attempts


def client_of(bus: Bus) -> ModbusClient:
    """Return the client for the frames of a bus."""
    if isinstance(bus, TcpBus):
        return MbapClient(bus.check_transaction_id)
    return AsciiClient() if bus.is_ascii else RtuClient()


class BusPort:
    """Opens one bus, as often as it has to be opened again."""

    def __init__(self, bus: Bus, counters: Counters, logs_open: bool = False) -> None:
        self._bus = bus
        self._counters = counters
        self._retry_at = 0.0
        self._retry_wait = RECONNECT_S[0]
        self._why_closed = ""
        self._is_new = logs_open  # to be logged when it is open
        self._limit = LineLimit()
        self._about = about(bus=bus.name)
        self._limit_shared = LineLimit()
        self._logged = ""

    @property
    def wait_s(self) -> float:
        """Return how long it is until :meth:`open` tries again."""
        return max(0.0, self._retry_at - asyncio.get_running_loop().time())

    async def open(self, link: asyncio.Protocol) -> asyncio.Transport:
        """Connect ``link``. BusDownError if that fails, or the last failure is too short ago."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._retry_at:
            raise BusDownError(self._why_closed)
        try:
            async with asyncio.timeout(CONNECT_S):
                transport = await self._connect(link)
        except FATAL:
            raise
        except TimeoutError as error:
            late = error if str(error) else TimeoutError(f"no connection within {CONNECT_S:.0f} s")
            raise self.failed("cannot be opened", late) from error
        except Exception as error:
            raise self.failed("cannot be opened", error) from error
        if self._is_new:
            self._is_new = False
            log.warning("bus %s: %s is open", self._bus.name, self._bus.where, extra=self._about)
        return transport

    def failed(self, what: str, error: Exception) -> BusDownError:
        """Count and log what was raised; return it as the error of this bus.

        The next attempt to open the bus waits, longer each time until :meth:`works`.
        """
        self._retry_at = asyncio.get_running_loop().time() + self._retry_wait
        self._retry_wait = min(self._retry_wait * 2, RECONNECT_S[1])
        self._why_closed = explain(self._bus, what, error)
        now_ms = int(asyncio.get_running_loop().time() * 1000)
        if self._why_closed != self._logged and self._limit.take(now_ms):
            self._logged = self._why_closed
            trace = None if is_expected(error) else error
            log.error(
                "bus %s: %s", self._bus.name, self._why_closed, exc_info=trace, extra=self._about
            )
        down = BusDownError(self._why_closed)
        self._counters.poll_errors[down.counted] += 1
        return down

    def shared_with_another(self, unit: int) -> None:
        """Log that another master asks on this line, rate-limited."""
        now_ms = int(asyncio.get_running_loop().time() * 1000)
        if self._limit_shared.take(now_ms):
            log.warning(
                "bus %s: another master asks unit %d on %s: let one master only ask on a line",
                self._bus.name,
                unit,
                self._bus.where,
                extra=self._about,
            )

    def works(self) -> None:
        """Note a good answer: the next fault is a new one."""
        self._retry_wait = RECONNECT_S[0]
        if self._logged:
            self._logged = ""
            log.warning(
                "bus %s: %s works again", self._bus.name, self._bus.where, extra=self._about
            )

    async def _connect(self, link: asyncio.Protocol) -> asyncio.Transport:
        bus = self._bus
        if isinstance(bus, SerialBus):
            from .serial_line import SerialLine

            return SerialLine(bus, link)
        loop = asyncio.get_running_loop()
        connected, _ = await loop.create_connection(lambda: link, bus.host, bus.port)
        return connected
