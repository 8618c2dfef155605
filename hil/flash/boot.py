"""Boots the board's image from given contents of its flash, many times a second.

To the guest of such a board flash is read-only memory, so a node changes nothing in it; a debugger
writes it. One board serves any number of boots: stop, write the blocks that differ, restart, and
wait for the boot line. Then, if wanted, a master asks it for a setting, so that the boot counts
only for a node that serves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from boards.recordstore import IMAGE_BYTES
from hil.engines.abilities import DebugBoard
from hil.engines.wiring import STORE_ADDRESS
from hil.errors import BootError, EngineError
from protocols.wire.crc import crc16

_BLOCK: Final = 1024
#: A boot takes 0.1 s; a host that is busy with other things may take its time.
BOOT_LIMIT_S: Final = 20.0
_ASK_AGAIN_S: Final = 1.0
_ANSWER_BYTES: Final = 7


@dataclass(frozen=True, slots=True)
class Boot:
    """What one boot gave: the fields of the boot line, and the setting a master read."""

    line: Mapping[str, object]
    setting: int | None  # None: it was not asked


class Booter:
    """Boots a board whose node has the Modbus address ``unit`` and a setting to ask for."""

    def __init__(self, board: DebugBoard, unit: int, setting: int) -> None:
        self._board = board
        self._unit = unit
        self._setting = setting
        self._content = b""
        self._answer = bytearray()
        self._news = asyncio.Event()
        self._line = board.line()
        self._line.listen(self._hear)

    def _hear(self, data: bytes) -> None:
        self._answer += data
        self._news.set()

    async def boot(self, content: bytes, ask: bool = True, limit_s: float = BOOT_LIMIT_S) -> Boot:
        """Boot once from flash that holds ``content``. BootError if the node does not come up.

        ``ask``: wait until the node answers a master, too, which takes twice as long.
        """
        board = self._board
        try:
            await board.stop()
            await self._write_flash(content)
            await board.restart()
            line = await board.console.wait_json("boot_epoch", limit_s)
        except EngineError as error:
            raise BootError(f"the node did not boot: {error}") from error
        return Boot(line, await self._ask(limit_s) if ask else None)

    async def _write_flash(self, content: bytes) -> None:
        if len(content) != IMAGE_BYTES:
            raise ValueError(f"expected {IMAGE_BYTES} bytes of both sectors, got {len(content)}")
        old = self._content
        for at in range(0, len(content), _BLOCK):
            block = content[at : at + _BLOCK]
            if old[at : at + _BLOCK] != block:
                await self._board.write_memory(STORE_ADDRESS + at, block)
        self._content = content

    async def _ask(self, limit_s: float) -> int:
        """Read the setting as a Modbus master would, until it is answered."""
        request = _framed(bytes((self._unit, 3, self._setting >> 8, self._setting & 0xFF, 0, 1)))
        loop = asyncio.get_running_loop()
        end = loop.time() + limit_s
        while True:
            self._answer.clear()
            self._line.write(request)
            await self._whole_answer(min(end, loop.time() + _ASK_AGAIN_S))
            answer = bytes(self._answer)
            begun = answer[:3] == bytes((self._unit, 3, 2))
            if begun and len(answer) == _ANSWER_BYTES and answer == _framed(answer[:5]):
                return answer[3] << 8 | answer[4]
            if loop.time() >= end:
                raise BootError(f"the node answered no master within {limit_s:g} s; got {answer!r}")

    async def _whole_answer(self, end: float) -> None:
        try:
            async with asyncio.timeout_at(end):
                while len(self._answer) < _ANSWER_BYTES:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            pass


def _framed(body: bytes) -> bytes:
    crc = crc16(body)
    return body + bytes((crc & 0xFF, crc >> 8))
