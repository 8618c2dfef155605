"""A board on QEMU under a debugger, which writes the flash that is read-only memory to the guest.

One process serves any number of boots: stop, write, restart. The debugger uses GDB's remote
serial protocol over a socket that QEMU gets as an open descriptor.
"""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Final, Self

from hil.engines.console import Console
from hil.engines.qemu_command import QemuCommand
from hil.engines.qemu_process import QemuProcess
from hil.engines.repl import Repl
from hil.engines.wiring import CONSOLE, PORTS
from hil.errors import EngineError
from hil.wires.descriptor import DescriptorWire

#: In hex digits a packet is twice that, which is within QEMU's packet size of 4096.
MAX_BLOCK: Final = 1024
_LIMIT_S: Final = 10.0


class Debugger:
    """GDB's protocol over a connected socket: memory is written, nothing else."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, near: socket.socket) -> Debugger:
        """Use a connected socket."""
        return cls(*await asyncio.open_connection(sock=near))

    async def write_memory(self, address: int, data: bytes) -> None:
        """Write bytes of a stopped guest. EngineError."""
        for at in range(0, len(data), MAX_BLOCK):
            block = data[at : at + MAX_BLOCK]
            packet = f"M{address + at:x},{len(block):x}:{block.hex()}"
            answer = await self._run(packet.encode())
            if answer != b"OK":
                raise EngineError(f"QEMU's debugger refused to write at {address:#x}: {answer!r}")

    async def _run(self, packet: bytes) -> bytes:
        self._writer.write(b"$%b#%02x" % (packet, sum(packet) & 0xFF))
        try:
            async with asyncio.timeout(_LIMIT_S):
                while True:
                    await self._reader.readuntil(b"$")
                    answer = (await self._reader.readuntil(b"#"))[:-1]
                    await self._reader.readexactly(2)
                    self._writer.write(b"+")
                    # A stop or a reset over QMP sends the debugger a stop reply as well.
                    if not answer.startswith((b"T", b"S")):
                        return answer
        except (TimeoutError, OSError, asyncio.IncompleteReadError) as error:
            raise EngineError(
                f"QEMU's debugger gave no answer to {packet[:20]!r}: {error}"
            ) from None

    def close(self) -> None:
        """Close the connection; QEMU runs on."""
        self._writer.close()


class QemuDebugBoard:
    """A board that boots whatever its flash is made to hold. Use as ``async with``: it starts
    stopped.
    """

    def __init__(self, command: QemuCommand, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.console = Console("debugged", folder / "console.log")
        self._line = DescriptorWire()
        console_wire = DescriptorWire()
        self._repl = Repl(self.console, console_wire)
        uarts = {CONSOLE: console_wire, next(iter(PORTS.values()))["line"]: self._line}
        self._qemu = QemuProcess(command, folder, uarts, self.console, lambda _event: None)
        self._debugger: Debugger | None = None

    async def __aenter__(self) -> Self:
        self.console.begin("power on, stopped")
        self._repl.listen()
        near, far = socket.socketpair()
        with far:
            try:
                await self._qemu.start(debugger=far.fileno())
            except BaseException:
                near.close()
                raise
        self._debugger = await Debugger.over(near)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._debugger is not None:
            self._debugger.close()
        await self._qemu.kill()
        self._repl.close()
        self._line.close()
        self.console.close()

    @property
    def _memory(self) -> Debugger:
        if self._debugger is None:
            raise self.console.error("is not running")
        return self._debugger

    def line(self) -> DescriptorWire:
        """Return the UART of the RS-485 line."""
        return self._line

    async def stop(self) -> None:
        """Stop the board's time."""
        await self._qemu.qmp.run("stop")

    async def restart(self) -> None:
        """Reset the board and let its time go on."""
        self.console.begin("reset")
        await self._qemu.qmp.run("system_reset")
        await self._qemu.qmp.run("cont")

    async def write_memory(self, address: int, data: bytes) -> None:
        """Replace bytes, read-only memory included; the board must be stopped."""
        await self._memory.write_memory(address, data)
