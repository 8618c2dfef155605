"""A Renode that is up and has our models: its process and its client, for one emulation or many.

Starting it takes seconds (most of them to compile the models), so it outlives an emulation:
:meth:`RenodeServer.clear` removes machines, ports and settings, and the models stay.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from hil.errors import CommandError, RenodeEnded, RenodeError
from hil.renode import commands
from hil.renode.process import RenodeProcess
from hil.renode.rpc import Renode

_LOOK_S: Final = 0.05
#: After a request without an answer: how long a process that is ending may take.
_END_S: Final = 2.0


def ignore(_text: str) -> None:
    """Record nothing."""


class RenodeServer:
    """One Renode. Make it in a thread that lives as long as it is to live, see
    :class:`RenodeProcess`; :meth:`open` waits until it is up.
    """

    def __init__(self) -> None:
        self.process = RenodeProcess()
        self._client: Renode | None = None
        self._emulations = 0
        #: Called with each command before it is sent.
        self.record: Callable[[str], None] = ignore
        #: Renode's own text about its version.
        self.version = ""
        #: Why our observer (reset causes, power cuts) was not compiled; empty: it was.
        self.unwatched_why = ""
        #: An error has named that it ended.
        self.reported = False

    @property
    def client(self) -> Renode:
        """The client. RenodeError before :meth:`open`."""
        if self._client is None:
            raise RenodeError("Renode is not up: expected `open` before the first command")
        return self._client

    async def open(self) -> None:
        """Wait until it listens and compile the models, once. RenodeError."""
        if self._client is not None:
            return
        while True:
            if self.process.ready():
                break
            await asyncio.sleep(_LOOK_S)
        self._client = Renode(self.process.port, on_command=self._note)
        names = await asyncio.to_thread(self._client.keywords)
        if not {"ExecuteCommand", "ResetEmulation"} <= set(names):
            raise RenodeError(
                f"expected a robot server with ExecuteCommand and ResetEmulation, got {names}"
            )
        with contextlib.suppress(CommandError):
            self.version = await self.command("version")
        for model in (commands.LINE_MODEL, commands.SHT3X_MODEL):
            await self.command(commands.include(model))
        try:
            await self.command(commands.include(commands.WATCH_MODEL))
        except CommandError as error:
            self.unwatched_why = error.reason

    def _note(self, text: str) -> None:
        self.record(text)

    # --- while it runs ------------------------------------------------------------------------

    def lost(self) -> bool:
        """Return True if it has ended by itself or gave no answer: it is of no use any more."""
        return not self.process.is_running() or bool(self._client and self._client.unanswered())

    def check(self) -> None:
        """Raise RenodeEnded, which quotes the end of its log, if it has ended by itself."""
        if not self.process.is_running():
            self.reported = True
            raise RenodeEnded(str(self.process.error("has ended by itself")))

    def command_now(self, text: str, machine: str | None = None) -> str:
        """Run a Monitor command and block until it is answered; return what it printed."""
        return self._answered(lambda: self.client.command(text, machine))

    async def command(self, text: str, machine: str | None = None) -> str:
        """Run one as :meth:`command_now` does, in a thread beside the event loop."""
        return await asyncio.to_thread(self.command_now, text, machine)

    def _answered(self, ask: Callable[[], str]) -> str:
        self.check()
        try:
            return ask()
        except CommandError:
            raise
        except RenodeError:
            # A Renode that ends breaks the connection before its process is gone.
            if self._client is not None and self.process.wait(_END_S):
                self.check()
            self.reported = True
            raise

    async def clear(self) -> None:
        """Remove what the emulation made: machines, ports, time, quantum, macros, seed.

        renode-test does the same before each of its cases. What :meth:`open` compiled stays.
        """
        self.record("-: ResetEmulation")
        await asyncio.to_thread(self._answered, lambda: str(self.client.keyword("ResetEmulation")))

    # --- for an emulation ---------------------------------------------------------------------

    def log_size(self) -> int:
        """Return how many bytes it has printed so far."""
        return self.process.log.stat().st_size

    def make_folder(self) -> Path:
        """Make a directory of one emulation, with a short name."""
        self._emulations += 1
        folder = self.process.folder / f"e{self._emulations}"
        folder.mkdir()
        return folder

    # --- its end ------------------------------------------------------------------------------

    async def stop(self) -> None:
        """Ask it to end, and end it. What it left stays until :meth:`forget`."""
        if self._client is not None and not self.lost():
            await asyncio.to_thread(self._client.shut_down)
            await asyncio.to_thread(self.process.stop)
        else:
            await asyncio.to_thread(self.process.stop, 0.0)

    def kill(self) -> None:
        """End it at once, and remove what it left."""
        self.process.stop(0.0)
        self.forget()

    def forget(self) -> None:
        """Remove its directory."""
        self.process.forget()
