"""The requests of a command to one device, each a turn on its bus between two polls."""

from gateway_agent.field.bus_turns import BusTurns
from protocols.modbus_client import Request
from protocols.modbus_client.names import EXCEPTION_NAMES
from protocols.wire.modbus.pdu import EXCEPTION

from .command import CommandFailed

_TRIES = 3  # of a read: noise is short


class DeviceSilence(CommandFailed):
    """Nothing good came in time: a write may be done or not."""


class DeviceRefusal(CommandFailed):
    """The device answered with an exception; ``code`` is its number."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class DeviceLine:
    """One device, for one command of ``who``."""

    def __init__(self, turns: BusTurns, name: str, who: str) -> None:
        self._turns = turns
        self._name = name
        self._who = who

    async def ask(self, request: Request) -> bytes:
        """Send a request once; return the PDU of its answer. CommandFailed."""
        found = await self._turns.request(request, self._who)
        if found.error or found.silence:
            error = DeviceSilence if found.silence else CommandFailed
            raise error(f"{self._name}: {found.silence or found.error}")
        pdu = bytes.fromhex(found.pdu)
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
