"""The board's image on QEMU: one process of ``qemu-system-arm`` per board.

Where its model of the STM32F405 differs from the chip is written down in
``hil/engines/fidelity.toml``.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final, Self

from hil.engines.abilities import capabilities_of
from hil.engines.base import NodeSpec
from hil.engines.qemu_board import QemuBoard
from hil.engines.qemu_command import QemuCommand, find_qemu
from hil.engines.qemu_debug import QemuDebugBoard
from hil.errors import EngineError

NAME: Final = "qemu"


class QemuEngine:
    """Makes boards that run ``image``, an ELF file.

    ``icount`` and ``trace`` are as :class:`QemuCommand` has them. Use as ``async with``.
    """

    name = NAME
    capabilities = capabilities_of(QemuBoard)

    def __init__(self, image: Path, *, icount: int | None = None, trace: bool = False) -> None:
        self._image = image
        self._icount = icount
        self._trace = trace
        self._command: QemuCommand | None = None
        self._boards: list[QemuBoard] = []

    async def __aenter__(self) -> Self:
        program = await asyncio.to_thread(find_qemu)
        if not self._image.is_file():
            raise EngineError(f"{self._image}: expected the board's image, there is no such file")
        self._command = QemuCommand(program, self._image, self._icount, self._trace)
        return self

    async def __aexit__(self, *_: object) -> None:
        for board in self._boards:
            await board.close()

    @property
    def command(self) -> QemuCommand:
        """How its boards start. EngineError outside of ``async with``."""
        if self._command is None:
            raise EngineError("engine qemu: expected `async with` around its use")
        return self._command

    async def board(self, spec: NodeSpec, folder: Path) -> QemuBoard:
        """Make a board in ``folder``, provisioned by ``spec``, switched off."""
        board = QemuBoard(spec, folder, self.command)
        self._boards.append(board)
        return board

    def debug_board(self, folder: Path) -> QemuDebugBoard:
        """Make a board whose flash the debugger writes. Use as ``async with``."""
        return QemuDebugBoard(self.command, folder)
