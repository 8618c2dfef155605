"""The board after "go": QEMU runs what the flash holds, bus and console on pseudo terminals.

So a node that proves itself at :attr:`StartedBoard.bus_port` was booted from the bytes that the
flash job wrote, image and record store alike, and from nothing else. What the node writes is in
the model's flash too, so that a power cycle boots from that.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from hil.boot_rom.chip import BootRom
from hil.boot_rom.flash_writes import FlashWrites
from hil.engines.console import Console
from hil.engines.qemu_command import QemuCommand, find_qemu
from hil.engines.qemu_process import QemuProcess
from hil.engines.wiring import CONSOLE, PORTS, ROLES
from hil.files import write_private
from hil.wires.descriptor import DescriptorWire
from hil.wires.line_wire import LineWire, silence_s
from hil.wires.pty import Pty

_STOP_S: Final = 10.0


class StartedBoard:
    """Runs the flash of ``rom`` whenever the bootloader is asked to; use it in a ``with`` block.

    ``folder`` gets the console's log and, readable for its owner alone, what the flash held.
    ``symbols`` are those of the image that will run; without them its flash is read-only.
    """

    def __init__(
        self, folder: Path, baud: int = 9600, symbols: Mapping[str, int] | None = None
    ) -> None:
        self._folder = folder
        self._symbols = symbols
        self._baud = baud
        self._bus = Pty()
        self._console_pty = Pty()
        self.bus_port = self._bus.path
        self.console_port = self._console_pty.path
        #: How often a node was started.
        self.starts = 0
        self.rom: BootRom | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="started board")
        self._qemu: QemuProcess | None = None
        self._console: Console | None = None
        self._writes: asyncio.Task[None] | None = None

    def go(self, _address: int) -> None:
        """Start the node; for :class:`BootRom`'s ``on_go``. Returns at once."""
        self._run()

    def power_cycle(self) -> None:
        """Take the power away and give it back with BOOT0 low. Returns when the power is back."""
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(_STOP_S)
        self._run().result(_STOP_S)

    def _run(self) -> Future[None]:
        self.starts += 1
        return asyncio.run_coroutine_threadsafe(self._start(), self._loop)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(_STOP_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._bus.close()
        self._console_pty.close()
        with suppress(FileNotFoundError):
            self._content.unlink()  # it holds a key

    @property
    def _content(self) -> Path:
        return self._folder / "flash.bin"

    async def _start(self) -> None:
        await self._stop()
        assert self.rom is not None
        write_private(self._content, bytes(self.rom.flash))
        line = LineWire(silence_s(self._baud))
        console_wire = DescriptorWire()
        self._console = console = Console("flashed", self._folder / "console.log")
        bus, shown = self._bus, self._console_pty

        def printed(data: bytes) -> None:
            console.feed(data)
            shown.write(data)

        console_wire.listen(printed)
        shown.listen(lambda data: _ignored(console_wire.write(data)))
        bus.listen(lambda data: _ignored(line.write(data)))
        line.listen(lambda data: _ignored(bus.write(data)))
        uarts = {CONSOLE: console_wire, PORTS[ROLES[0]]["line"]: line}
        command = QemuCommand(find_qemu(), self._content)
        self._qemu = QemuProcess(command, self._folder, uarts, console, lambda _: None)
        if self._symbols is None:
            await self._qemu.start()
            return
        near, far = socket.socketpair()
        with far:
            await self._qemu.start(debugger=far.fileno())
        writes = FlashWrites(self.rom, self._symbols)
        self._writes = asyncio.create_task(writes.serve(near))

    async def _stop(self) -> None:
        if self._qemu is not None:
            await self._qemu.kill()
            self._qemu = None
        if self._writes is not None:
            await self._writes
            self._writes = None
        if self._console is not None:
            self._console.close()
            self._console = None


def _ignored(_taken: int) -> None:
    """Drop how many bytes were taken: what a line loses, it loses."""
