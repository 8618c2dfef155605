"""The requests of a command to one device: turns on its bus, or requests on its link."""

import asyncio
from abc import ABC, abstractmethod
from typing import Final

from gateway_agent.field.bus_turns import BusTurns
from gateway_agent.field.found import LinkDevice
from protocols.modbus_client import Request
from protocols.modbus_client.names import EXCEPTION_NAMES
from protocols.wire.modbus.pdu import BUSY, EXCEPTION

from .command import CommandFailed

_TRIES: Final = 3  # of a read, for noise is short, and of what a device is too busy for
_BUSY_S: Final = 0.2


class DeviceSilence(CommandFailed):
    """Nothing good came in time: a write may be done or not."""


class DeviceRefusal(CommandFailed):
    """The device answered with an exception; ``code`` is its number."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class DeviceLine(ABC):
    """One device, for one command."""

    def __init__(self, name: str) -> None:
        self._name = name

    async def ask(self, request: Request) -> bytes:
        """Send a request once; return the PDU of its answer. CommandFailed."""
        pdu = await self._exchange(request)
        for _ in range(_TRIES - 1):
            if not (pdu[0] & EXCEPTION and pdu[1] == BUSY):
                break
            await asyncio.sleep(_BUSY_S)  # it has done nothing yet
            pdu = await self._exchange(request)
        if pdu[0] & EXCEPTION:
            code = pdu[1]
            name = EXCEPTION_NAMES.get(code, "unknown")
            function = pdu[0] & ~EXCEPTION
            raise DeviceRefusal(
                code, f"{self._name} refused function {function:02X}: exception {code:02X}, {name}"
            )
        return pdu

    async def read(self, request: Request) -> bytes:
        """Read registers or bits, again if no answer comes; return their bytes. CommandFailed."""
        for _ in range(_TRIES - 1):
            try:
                return (await self.ask(request))[2:]
            except DeviceSilence:
                pass
        return (await self.ask(request))[2:]

    @abstractmethod
    async def _exchange(self, request: Request) -> bytes:
        """Return the PDU of the answer. DeviceSilence, CommandFailed."""


class TurnsLine(DeviceLine):
    """A device on a bus: each request is a turn of ``who`` between two polls."""

    def __init__(self, name: str, turns: BusTurns, who: str) -> None:
        super().__init__(name)
        self._turns = turns
        self._who = who

    async def _exchange(self, request: Request) -> bytes:
        found = await self._turns.request(request, self._who)
        if found.error:
            raise CommandFailed(f"{self._name}: {found.error}")
        if found.silence:
            raise DeviceSilence(f"{self._name}: {found.silence}")
        return bytes.fromhex(found.pdu)


class SessionLine(DeviceLine):
    """A node on a link: requests go on the config channel of its session."""

    def __init__(self, name: str, node: LinkDevice) -> None:
        super().__init__(name)
        self._node = node

    async def _exchange(self, request: Request) -> bytes:
        pdu = await self._node.request(request.pdu)
        function = request.shape.function
        if len(pdu) < 2 or pdu[0] & ~EXCEPTION != function:
            raise DeviceSilence(
                f"{self._name}: no answer came: is the node connected?"
                " `tianfu-gateway status` shows it"
            )
        read = request.read
        if pdu[0] == function and read is not None and len(pdu) != 2 + read.data_bytes:
            raise DeviceSilence(f"{self._name}: an answer of another length came")
        return pdu
