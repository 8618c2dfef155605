"""One emulation on a Renode: any number of machines that share its virtual time."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path
from typing import Final

from hil.errors import CommandError, RenodeError
from hil.renode import commands
from hil.renode.pace import HostPace
from hil.renode.rpc import Renode, parse_time
from hil.renode.server import RenodeServer, ignore
from hil.wires.virtual_clock import VirtualClock

#: Of virtual time, in one request: the server answers nothing else meanwhile.
_RUN_PIECE_S: Final = 0.25
#: Virtual time is asked for at most this often (seconds of the host).
_CLOCK_S: Final = 0.05
#: Of a Unix socket, see unix(7).
_LONGEST_PATH: Final = 107


class RenodeEmulation:
    """What one test makes on ``server``, which has no other emulation meanwhile.

    ``quantum_s`` and ``ahead`` are those of :func:`hil.renode.commands.quantum` and
    :func:`hil.renode.commands.advance_immediately`. With ``ahead`` the nodes run up to ten
    times faster than the host's clock, which nothing outside (a paced line, a sensor that sends
    once a second) can follow: it is for machines that are only run by ``run_for``.
    """

    def __init__(
        self,
        server: RenodeServer,
        *,
        seed: int = 0,
        quantum_s: float = commands.QUANTUM_S,
        ahead: bool = False,
    ) -> None:
        self._seed = seed
        self.quantum_s = quantum_s
        self._ahead = ahead
        self.server = server
        #: Sockets of the UARTs and the record of commands are here.
        self.folder = server.make_folder()
        self._log_start = server.log_size()
        self.quantum_us = round(quantum_s * 1e6)
        #: The time of its machines as their lines show it.
        self.clock = VirtualClock()
        self._started = False
        self._pace = HostPace()
        self._powered: set[str] = set()
        #: Held while machines are made or switched on: boards may be started at the same time.
        self.making = asyncio.Lock()
        #: Virtual time, which all machines share, when it was last known, and when that was.
        self._time_s = 0.0
        self._known_at = 0.0
        self._machines: list[str] = []
        self._history = (self.folder / "commands.log").open("w", encoding="utf-8")
        #: After 1.16.1: a UART takes the time of a byte before the node receives it.
        self.paced = False
        #: What our observer (reset causes, power cuts) needs was compiled.
        self.watched = False
        #: Why not, if not.
        self.unwatched_why = ""

    @property
    def log(self) -> Path:
        """What Renode printed, for earlier emulations, too."""
        return self.server.process.log

    def log_text(self) -> str:
        """Return what Renode printed since this emulation began."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode("utf-8", "replace")

    def commands_text(self) -> str:
        """Return what it was sent, one line for each command."""
        return (self.folder / "commands.log").read_text(encoding="utf-8", errors="replace")

    @property
    def renode(self) -> Renode:
        """The client. RenodeError before :meth:`open`."""
        return self.server.client

    def _note(self, text: str) -> None:
        self._history.write(text + "\n")
        self._history.flush()

    async def open(self) -> None:
        """Wait until Renode is up. RenodeError."""
        self.server.record = self._note
        await self.server.open()
        self.watched, self.unwatched_why = not self.server.unwatched_why, self.server.unwatched_why

    async def command(self, text: str, machine: str | None = None) -> str:
        """Run one Monitor command; return what it printed. RenodeError."""
        return await self.server.command(text, machine)

    async def commands(self, texts: list[str], machine: str | None = None) -> None:
        """Run commands, one after the other."""
        for text in texts:
            await self.command(text, machine)

    async def attempt(self, text: str, machine: str | None = None) -> bool:
        """Run a command that may fail; return False if it did, and the bench goes on without it."""
        try:
            await self.command(text, machine)
        except CommandError as error:
            self._note(f"# failed: {error.reason}")
            return False
        return True

    async def add(self, name: str, macro: str, flash: Path, store_base: int) -> None:
        """Add a machine, complete but for its ports. The emulation is paused afterwards."""
        await self.pause()
        create, *rest = commands.create(name, macro, flash, store_base)
        await self.command(create)
        await self.commands(rest, name)
        await self.attempt(commands.QUIET, name)
        await self.command(commands.plug_sht3x(), name)
        if self.watched:
            try:
                await self.commands(commands.watch(), name)
            except CommandError as error:
                self.watched, self.unwatched_why = False, error.reason
        self.paced = await self.attempt(commands.PACED, name)
        if not self._machines:
            await self.attempt(commands.seed(self._seed))
        await self.command(commands.SERIAL)
        await self.command(commands.quantum(self.quantum_s))
        await self.command(commands.advance_immediately(self._ahead))
        self._machines.append(name)

    async def port(self, machine: str, uart: str, name: str) -> Path:
        """Give a UART a port; return the socket at which it listens. RenodeError."""
        path = self.folder / name
        if len(str(path).encode()) > _LONGEST_PATH:
            raise RenodeError(
                f"{path}: expected at most {_LONGEST_PATH} bytes for a socket: set a shorter TMPDIR"
            )
        await self.commands(commands.line_port(uart, name, path), machine)
        return path

    @property
    def started(self) -> bool:
        """True while virtual time passes by itself."""
        return self._started

    async def start(self) -> None:
        """Let virtual time pass."""
        if not self._started:
            self._pace.start()
            await self.command(commands.START)
            self._started = True

    async def pause(self) -> None:
        """Stop virtual time, of all machines."""
        if self._started:
            await self.command(commands.PAUSE)
            self._pace.stop()
            self._started = False

    async def power_on(self, machine: str) -> None:
        """Let the machine's core run from now on, and virtual time."""
        self._powered.add(machine)
        await self.start()

    async def power_off(self, machine: str) -> None:
        """Stop the machine's core, and the time if no other machine has power: see
        :class:`hil.renode.pace.HostPace`.
        """
        ran = self._started
        await self.pause()
        # 1.16.1 keeps a halted core halted over a reset, a later version lets it go.
        await self.commands([commands.RESET, commands.HALT], machine)
        self._powered.discard(machine)
        if ran and self._powered:
            await self.start()

    async def run_for(self, seconds: float) -> None:
        """From paused: let ``seconds`` pass, in pieces. RenodeError if it is not paused."""
        if self._started:
            raise RenodeError("run_for: expected a paused emulation, it runs")
        left = seconds
        while left > 0:
            piece = min(left, _RUN_PIECE_S)
            await self.command(commands.run_for(piece))
            self._pace.run(piece)
            left -= piece

    def now_s(self) -> float:
        """Return the virtual time; while Renode is busy, the last one it reported.

        RenodeError: a wait for a Renode that is gone must not end as one for a slow host, nor one
        in a time that has run ahead of it (:class:`hil.renode.pace.HostPace`).
        """
        if not self._machines:
            return 0.0
        self.server.check()
        fresh = time.monotonic() - self._known_at < _CLOCK_S
        if not fresh and not self.renode.busy():
            # Each question costs Renode some milliseconds.
            answer = self.server.command_now(commands.TIME, self._machines[0])
            self.heard_time(parse_time(answer))
        self._pace.check()
        return self._time_s

    async def ask_now_s(self) -> float:
        """Ask for the virtual time now. RenodeError if it has run ahead."""
        seconds = parse_time(await self.command(commands.TIME, self._machines[0]))
        self.heard_time(seconds)
        self._pace.check()
        return seconds

    def heard_time(self, seconds: float) -> None:
        """Take the virtual time from whoever has it: nothing is asked meanwhile."""
        if not self._ahead:
            self._pace.see(seconds)
        self._time_s = max(self._time_s, seconds)
        self._known_at = time.monotonic()

    def close(self) -> None:
        """Record no more; the server goes on."""
        self.server.record = ignore
        self._history.close()

    def forget(self) -> None:
        """Remove the directory."""
        shutil.rmtree(self.folder, ignore_errors=True)
