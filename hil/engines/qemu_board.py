"""One board on QEMU: its power switch, its time, its flash. See :mod:`hil.engines.qemu`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from hil.engines.base import NodeSpec
from hil.engines.board import ImageBoard
from hil.engines.clock_reading import ClockReading, symbol_address
from hil.engines.deadline import Deadline
from hil.engines.qemu_command import QemuCommand
from hil.engines.qemu_process import QemuProcess
from hil.engines.qmp import Event, Qmp
from hil.engines.wiring import CONSOLE, PORTS, SPARE, STORE_ADDRESS, STORE_BYTES
from hil.errors import HostTooSlow
from hil.files import write_private
from hil.wires.descriptor import DescriptorWire
from hil.wires.line_wire import LineWire, silence_s

START_LIMIT_S: Final = 20.0
#: Between the moment that counts as power on (or reset) and the first millisecond of the node.
_START_SLACK_S: Final = 0.1
#: A node whose count does not rise in this time has stopped, however busy the host is.
_COUNTS_S: Final = 3.0


class QemuBoard(ImageBoard[DescriptorWire]):
    """A board in ``folder``; ``store.bin`` there is what its flash holds at each power on.

    Its ports are ``line``, ``link``, the parts of the role, and the spare UART ``spare5``.
    """

    start_limit_s = START_LIMIT_S
    # Its time is the host's, of which it gets a share: the node is not to blame.
    time_error = HostTooSlow

    def __init__(self, spec: NodeSpec, folder: Path, command: QemuCommand) -> None:
        console_wire = DescriptorWire()
        super().__init__(spec, folder, command.image, console_wire)
        #: How often the node restarted by itself.
        self.restarts = 0
        uarts = {CONSOLE: console_wire}
        for port, uart in {**PORTS[spec.role], **SPARE}.items():
            uarts[uart] = self._wires[port] = DescriptorWire() if port != "line" else _line(spec)
        self._qemu = QemuProcess(command, folder, uarts, self.console, self._on_event)
        self._ran_s = 0.0
        self._since: float | None = None
        self._reset_s = 0.0
        self._milliseconds_at = symbol_address(command.image)
        self.console.lag = self.lag_s

    def is_running(self) -> bool:
        """Return True while it has power."""
        return self._qemu.is_running()

    @property
    def pid(self) -> int:
        """The QEMU that runs now. EngineError if none does."""
        return self._qemu.pid

    @property
    def qmp(self) -> Qmp:
        """The control connection. EngineError if it is off."""
        return self._qemu.qmp

    # --- power --------------------------------------------------------------------------------

    async def power(self) -> None:
        """Power on, and wait for nothing: also for images that print no boot line."""
        if self.is_running():
            raise self.console.error("is running already")
        await self.kill()
        self.console.begin("power on")
        self._repl.listen()
        await self._qemu.start(store=self._store)
        self._ran_s, self._since, self._reset_s = 0.0, time.monotonic(), 0.0

    def _on_event(self, event: Event) -> None:
        name = event["event"]
        if name == "RESET":
            data = event.get("data")
            guest = isinstance(data, Mapping) and data.get("guest") is True
            self._reset_s = self.now_s()
            if guest:
                self.restarts += 1
            self.console.note("the node resets itself" if guest else "reset by the bench")
        elif name == "STOP":
            self._stop_time()
        elif name == "RESUME" and self._since is None:
            self._since = time.monotonic()

    def _stop_time(self) -> None:
        if self._since is not None:
            self._ran_s += time.monotonic() - self._since
            self._since = None

    async def kill(self) -> None:
        """Cut the power now (SIGKILL); does nothing if it is off."""
        await self._qemu.kill()
        self._stop_time()

    async def cut_at(self, board_s: float) -> None:
        """Cut the power when ``now_s`` is ``board_s`` (some milliseconds later, not before)."""
        if not self.is_running():
            raise self.console.error("is not running")
        await asyncio.sleep(max(0.0, board_s - self.now_s()))
        await self.kill()

    async def warm_reset(self, limit_s: float | None = None) -> Mapping[str, object]:
        """Pull the reset pin, which keeps RAM; return the fields of the boot line."""
        qmp = self.qmp
        self.console.begin("reset pin")
        await qmp.run("system_reset")
        return await self._wait_boot(limit_s)

    async def wait_restart(self, seen: int, limit_s: float = START_LIMIT_S) -> Mapping[str, object]:
        """Wait until the node has reset itself more than ``seen`` times (``restarts`` before) and
        has come up again; return its boot line.
        """
        deadline = Deadline(limit_s, lag=self.lag_s)
        try:
            await deadline.until(lambda: self.restarts > seen, "a reset by the node itself")
        except TimeoutError as error:
            raise self.console.error(str(error)) from None
        return await self._wait_boot(deadline.left_s())

    # --- time ---------------------------------------------------------------------------------

    async def pause(self) -> None:
        """Stop the board's time; does nothing if it stands."""
        await self.qmp.run("stop")
        self._stop_time()

    async def resume(self) -> None:
        """Let it go on; does nothing if it does."""
        await self.qmp.run("cont")
        if self._since is None:
            self._since = time.monotonic()

    async def run_for(self, seconds: float) -> None:
        """From paused: let ``seconds`` pass (a few milliseconds more), then pause."""
        end = self.now_s() + seconds
        await self.resume()
        await asyncio.sleep(max(0.0, end - self.now_s()))
        await self.pause()

    def now_s(self) -> float:
        """Return the host's time since power on without pauses: what QEMU's clock follows."""
        running = time.monotonic() - self._since if self._since is not None else 0.0
        return self._ran_s + running

    async def uptime(self) -> ClockReading | None:
        """Return how long it has been up by host and own count; None: cannot be read."""
        if not self.is_running() or self._milliseconds_at is None:
            return None
        begun = self.now_s()
        count = int.from_bytes(await self.read_memory(self._milliseconds_at, 4), "little")
        return ClockReading(
            begun - self._reset_s, count / 1e3, self.now_s() - begun + _START_SLACK_S
        )

    async def lag_s(self) -> float:
        """Return the seconds by which its own count is behind the host's clock since its reset.

        A count that stands is no slow host: the node has stopped, or switched its interrupts off.
        """
        first = await self.uptime()
        if first is None or not first.apart():
            return 0.0
        deadline = Deadline(_COUNTS_S)
        while not deadline.over():
            await deadline.look()
            now = await self.uptime()
            if now is None:
                break
            if now.own_s != first.own_s:
                return max(0.0, now.engine_s - now.own_s)
        return 0.0

    # --- memory -------------------------------------------------------------------------------

    async def read_flash(self) -> bytes:
        """Return the content of the store's sectors: of QEMU while it runs, else ``store.bin``."""
        if not self.is_running():
            return self._store.read_bytes()
        return await self.read_memory(STORE_ADDRESS, STORE_BYTES)

    async def read_memory(self, address: int, size: int) -> bytes:
        """Return bytes of the board's memory, RAM or flash."""
        copy = self.folder / "memory.bin"
        write_private(copy, b"")
        try:
            await self.qmp.run("pmemsave", val=address, size=size, filename=str(copy))
            return copy.read_bytes()
        finally:
            copy.unlink()


def _line(spec: NodeSpec) -> LineWire:
    return LineWire(silence_s(spec.line_baud))
