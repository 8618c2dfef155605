"""Flash that the node can write, and a unique id, on QEMU: it has read-only flash and no id.

A debugger stops the node where the image's two functions that change the flash begin, does to the
model's flash what the controller would do, shows it to the guest, and returns from the function. In
the same way the function that reads the unique id gets the model's.

The power can be cut in the middle of an operation: the flash then has one of the contents that
:mod:`hil.flash.states` lists for it, and the node does not go on.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from hil.boot_rom.chip import FLASH_AT, BootRom, sector_at
from hil.errors import EngineError
from hil.flash.states import torn_sectors, torn_words

PROGRAM: Final = "flash_program"
ERASE: Final = "flash_erase"
READ_UID: Final = "uid_read"
_BLOCK: Final = 1024
_LR: Final = 14
_PC: Final = 15


@dataclass
class LiveCut:
    """Cuts the power at operation ``left`` of the node on its flash, by calling ``switch_off``.

    ``dice`` chooses what the operation leaves. ``happened`` names it, once it did.
    """

    left: int
    dice: random.Random
    switch_off: Callable[[], None]
    happened: str = ""

    def is_now(self) -> bool:
        """Count an operation; return whether this is the one."""
        self.left -= 1
        return self.left == 0


class FlashWrites:
    """Serves the writes of a node on QEMU that was started stopped, with ``near`` as its debugger.

    ``symbols`` are those of the image that runs.
    """

    def __init__(
        self, rom: BootRom, symbols: Mapping[str, int], cut: LiveCut | None = None
    ) -> None:
        self._cut = cut
        self._rom = rom
        self._at = {symbols[name] & ~1: name for name in (PROGRAM, ERASE, READ_UID)}
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter
        #: Words programmed and sectors erased by the node.
        self.programmed = 0
        self.erased = 0

    async def serve(self, near: socket.socket) -> None:
        """Let the node run until QEMU ends. EngineError for an answer that is none."""
        self._reader, self._writer = await asyncio.open_connection(sock=near)
        try:
            # QEMU gives single registers to a debugger that has asked for their description.
            await self._ask("qXfer:features:read:target.xml:0,400")
            for address in self._at:
                await self._expect("OK", f"Z1,{address:x},2")
            while self._cut is None or not self._cut.happened:
                await self._send("c")
                await self._stopped()
            await self._reader.read()
        except (OSError, asyncio.IncompleteReadError):  # the power was cut
            return
        finally:
            self._writer.close()

    async def _stopped(self) -> None:
        while not (await self._answer()).startswith(("T", "S")):
            pass
        name = self._at.get(await self._register(_PC))
        if name is None:  # a reset or a stop by the bench
            return
        first, second = await self._register(0), await self._register(1)
        if name == READ_UID:
            uid = self._rom.uid
            await self._expect("OK", f"M{first:x},{len(uid):x}:{uid.hex()}")
        elif self._cut is not None and self._cut.is_now():
            self._tear(self._cut, name, first, second)
            return
        elif name == PROGRAM:
            await self._set(0, int(await self._program(first - FLASH_AT, second)))
        else:
            await self._set(0, int(await self._erase(first)))
        await self._set(_PC, await self._register(_LR) & ~1)

    def _tear(self, cut: LiveCut, name: str, first: int, second: int) -> None:
        flash = self._rom.flash
        if name == PROGRAM:
            begin, end = first - FLASH_AT, first - FLASH_AT + 4
            words = torn_words(int.from_bytes(flash[begin:end], "little"), second)
            flash[begin:end] = cut.dice.choice(words).to_bytes(4, "little")
            cut.happened = f"word {second:#x} at {first:#x}"
        else:
            begin, end = sector_at(first), sector_at(first + 1)
            what, flash[begin:end] = cut.dice.choice([*torn_sectors(bytes(flash[begin:end]))])
            cut.happened = f"erase of sector {first}: {what}"
        cut.switch_off()

    async def _program(self, offset: int, word: int) -> bool:
        flash = self._rom.flash
        if offset % 4 or not 0 <= offset < len(flash):
            return False
        self.programmed += 1
        wanted = word.to_bytes(4, "little")
        for index, byte in enumerate(wanted):
            flash[offset + index] &= byte
        await self._show(offset, 4)
        return bytes(flash[offset : offset + 4]) == wanted

    async def _erase(self, sector: int) -> bool:
        begin, end = sector_at(sector), sector_at(sector + 1)
        if begin == end:
            return False
        self.erased += 1
        self._rom.flash[begin:end] = b"\xff" * (end - begin)
        await self._show(begin, end - begin)
        return True

    async def _show(self, offset: int, size: int) -> None:
        for at in range(offset, offset + size, _BLOCK):
            block = self._rom.flash[at : min(at + _BLOCK, offset + size)]
            await self._expect("OK", f"M{FLASH_AT + at:x},{len(block):x}:{block.hex()}")

    async def _register(self, number: int) -> int:
        return int.from_bytes(bytes.fromhex(await self._ask(f"p{number:x}")), "little")

    async def _set(self, number: int, value: int) -> None:
        await self._expect("OK", f"P{number:x}={value.to_bytes(4, 'little').hex()}")

    async def _expect(self, wanted: str, packet: str) -> None:
        answer = await self._ask(packet)
        if answer != wanted:
            raise EngineError(f"QEMU's debugger: expected {wanted} to {packet[:20]}, got {answer}")

    async def _ask(self, packet: str) -> str:
        await self._send(packet)
        return await self._answer()

    async def _send(self, packet: str) -> None:
        self._writer.write(b"$%b#%02x" % (packet.encode(), sum(packet.encode()) & 0xFF))

    async def _answer(self) -> str:
        await self._reader.readuntil(b"$")
        answer = (await self._reader.readuntil(b"#"))[:-1]
        await self._reader.readexactly(2)
        self._writer.write(b"+")
        return answer.decode("ascii", "replace")
