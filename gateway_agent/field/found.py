"""Devices as commands find them: on a bus, between its polls, or on a link of their own."""

from typing import NamedTuple, Protocol, TypeAlias

from .bus_turns import BusTurns
from .devices import OpenDevice, OpenLinkNode


class BusDevice(NamedTuple):
    """A device on a bus that is polled, and the turns on that bus."""

    device_id: str
    opened: OpenDevice
    turns: BusTurns


class LinkDevice(Protocol):
    """A node on a link."""

    device_id: str
    opened: OpenLinkNode

    async def request(self, pdu: bytes) -> bytes:
        """Ask the node; return the PDU of its answer, or nothing if none came."""


FoundDevice: TypeAlias = BusDevice | LinkDevice
