"""Lets the task of a bus rest between two polls while somebody changes its devices."""

import asyncio


class BusRest:
    """A rest that one task asks for and another one takes when it can."""

    def __init__(self) -> None:
        self._reached = asyncio.Event()
        self._over = asyncio.Event()
        self.is_wanted = False

    def ask(self) -> None:
        """Ask for a rest."""
        self._reached.clear()
        self._over.clear()
        self.is_wanted = True

    @property
    def is_reached(self) -> bool:
        """Return whether the task rests."""
        return self._reached.is_set()

    async def reached(self) -> None:
        """Wait until the task rests."""
        await self._reached.wait()

    async def rest(self) -> None:
        """Rest until :meth:`end`; for the task itself."""
        self._reached.set()
        await self._over.wait()

    def end(self) -> None:
        """Let the task go on."""
        self.is_wanted = False
        self._over.set()
