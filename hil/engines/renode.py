"""The board's image on Renode: one emulation, one machine for each board, one virtual time.

Its time follows the host's and may lag behind. The line works in that time, parts and gateway in
real time. ``pause`` and ``run_for`` act on all boards of an engine at once: that is what sharing a
clock means. A board that is off is a machine whose core stands still; its flash keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from hil.engines.abilities import capabilities_of
from hil.engines.base import NodeSpec
from hil.engines.renode_board import NAME, RenodeBoard, machine_name
from hil.errors import EngineError
from hil.renode import commands
from hil.renode.emulation import RenodeEmulation
from hil.renode.pool import RenodePool
from hil.renode.server import RenodeServer
from hil.wires.virtual_clock import VirtualClock


class RenodeEngine:
    """``image`` is the ELF file of the board; the rest is as :class:`RenodeEmulation` has it.

    With ``pool`` Renode is taken from there and given back; without, it is started and ended.
    """

    name = NAME
    capabilities = capabilities_of(RenodeBoard)

    def __init__(
        self,
        image: Path,
        *,
        seed: int = 0,
        quantum_s: float = commands.QUANTUM_S,
        ahead: bool = False,
        pool: RenodePool | None = None,
    ) -> None:
        self._image = image
        self._seed = seed
        self._quantum_s = quantum_s
        #: Time may run ahead of the host's; set it before entering.
        self.ahead = ahead
        self._pool = pool
        self._emulation: RenodeEmulation | None = None
        self._boards: list[RenodeBoard] = []

    @property
    def emulation(self) -> RenodeEmulation:
        """The running one. EngineError outside of ``async with``."""
        if self._emulation is None:
            raise EngineError("engine renode: expected `async with` around its use")
        return self._emulation

    def line_clock(self) -> VirtualClock:
        """Return the virtual time that the lines of its boards go by."""
        return self.emulation.clock

    def logs(self) -> Mapping[str, Callable[[], str]]:
        """Return what reads what Renode printed for this engine, and what it was sent."""
        return {"renode.log": self._log, "renode-commands.log": self._commands}

    # Not the emulation's own methods: it is made later.
    def _log(self) -> str:
        return self.emulation.log_text()

    def _commands(self) -> str:
        return self.emulation.commands_text()

    def virtual_s(self) -> float:
        """Return the virtual seconds since the first board was made."""
        return self.emulation.now_s()

    async def __aenter__(self) -> Self:
        if not self._image.is_file():
            raise EngineError(f"{self._image}: expected the ELF file of the board's image")
        server = RenodeServer() if self._pool is None else self._pool.take()
        self._emulation = RenodeEmulation(
            server, seed=self._seed, quantum_s=self._quantum_s, ahead=self.ahead
        )
        try:
            await self._emulation.open()
        except BaseException:
            self._emulation.close()
            await server.stop()
            server.forget()
            raise
        return self

    async def __aexit__(self, *raised: object) -> None:
        """End or give back what is used. RenodeEnded if it has ended and nothing named that."""
        server, kept = self.emulation.server, False
        try:
            if not server.reported:
                server.check()
            if self._pool is not None:
                if raised and raised[0] is not None:
                    self._pool.doubt()
                kept = await self._pool.give_back(server)
        finally:
            if not kept:
                await server.stop()
            for board in self._boards:
                await board.close()
            self.emulation.close()
            if kept:
                self.emulation.forget()
            else:
                server.forget()

    async def board(self, spec: NodeSpec, folder: Path) -> RenodeBoard:
        """Make a board in ``folder`` (made if missing; its store survives restarts)."""
        if machine_name(spec) in (other.machine for other in self._boards):
            raise EngineError(f"node {spec.name}: expected a name no other board has")
        board = RenodeBoard(spec, folder, self._image, self.emulation)
        self._boards.append(board)
        return board
