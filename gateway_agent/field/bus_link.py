"""Hands bytes and the end of one connection to the master of its bus.

Each connection has a link of its own, by which the master recognises what comes from an old one.
"""

import asyncio
from typing import Protocol


class LinkOwner(Protocol):
    """What takes the bytes of a connection."""

    def received(self, link: "MasterLink", data: bytes) -> None:
        """Take bytes from the line."""

    def lost(self, link: "MasterLink", error: Exception | None) -> None:
        """Note that the connection ended, or what its transport or the link raised."""


class MasterLink(asyncio.Protocol):
    """Raises nothing to the loop."""

    def __init__(self, master: LinkOwner) -> None:
        self.master = master

    def data_received(self, data: bytes) -> None:
        """Hand bytes over."""
        try:
            self.master.received(self, data)
        except Exception as error:  # noqa: BLE001 - the master gets it
            self.master.lost(self, error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Hand the end over."""
        self.master.lost(self, exc)
