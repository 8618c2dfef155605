"""One board on QEMU: its process, its UARTs, its power switch. See :mod:`hil.engines.qemu`."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hil.engines.base import NodeSpec, Reset
from hil.engines.console import Console, Object
from hil.engines.deadline import Deadline
from hil.engines.qmp import Event, Qmp
from hil.engines.records import provisioned
from hil.engines.wiring import CONSOLE, PORTS, SPARE, STORE_ADDRESS, STORE_BYTES
from hil.errors import EngineError
from hil.files import write_private
from hil.wires.descriptor import DescriptorWire
from hil.wires.line_wire import LineWire, silence_s

if TYPE_CHECKING:
    from hil.engines.qemu import QemuEngine

START_LIMIT_S: Final = 20.0
STOP_LIMIT_S: Final = 10.0


class QemuBoard:
    """A board in ``folder``; ``store.bin`` there is what its flash holds at the next power on."""

    def __init__(self, spec: NodeSpec, folder: Path, engine: QemuEngine) -> None:
        if spec.role not in PORTS:
            raise LookupError(f"expected a role of {', '.join(PORTS)}, got {spec.role!r}")
        self.spec = spec
        self.folder = folder
        self.boot: Mapping[str, object] = {}
        #: How often the node came up, and how often it restarted by itself.
        self.boots = 0
        self.restarts = 0
        self._engine = engine
        self._ports = {**PORTS[spec.role], **SPARE}
        self._uarts = {uart: DescriptorWire() for uart in (CONSOLE, *self._ports.values())}
        baud = 100 * spec.settings.get("baud_div_100", spec.baud // 100)
        self._uarts[self._ports["line"]] = LineWire(silence_s(baud))
        folder.mkdir(parents=True, exist_ok=True)
        self._store = folder / "store.bin"
        if not self._store.exists():
            write_private(self._store, provisioned(spec))
        self.console = Console(
            spec.name, folder / "console.log", wire=self._uarts[CONSOLE], on_object=self._said
        )
        self._process: asyncio.subprocess.Process | None = None
        self._qmp: Qmp | None = None
        self._watch: asyncio.Task[None] | None = None
        self._ran_s = 0.0
        self._since: float | None = None

    def wire(self, port: str) -> DescriptorWire:
        """``line``, a part of the role, ``spare4`` or ``spare5``. LookupError."""
        if port not in self._ports:
            names = ", ".join(self._ports)
            raise LookupError(f"a {self.spec.role} board has no port {port!r}; it has {names}")
        return self._uarts[self._ports[port]]

    def is_running(self) -> bool:
        """True while it has power."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """The QEMU that runs now. EngineError if none does."""
        if self._process is None or self._process.returncode is not None:
            raise self.console.error("is not running")
        return self._process.pid

    @property
    def qmp(self) -> Qmp:
        """The control connection. EngineError if it is off."""
        if self._qmp is None:
            raise self.console.error("is not running")
        return self._qmp

    def _said(self, fields: Object) -> None:
        if "boot_epoch" in fields and "mem_alloc" in fields:
            self.boot = fields
            self.boots += 1

    # --- power --------------------------------------------------------------------------------

    async def start(self, limit_s: float = START_LIMIT_S) -> Mapping[str, object]:
        """Power on; returns the boot line's fields. EngineError if it does not come in time."""
        await self.power()
        return await self.console.wait_json("boot_epoch", limit_s)

    async def power(self) -> None:
        """Power on, and wait for nothing: also for images that say no boot line."""
        if self.is_running():
            raise self.console.error("is running already")
        await self.kill()
        self.console.begins("power on")
        self.console.listen()
        with ExitStack() as theirs:
            serials: dict[str, int] = {}
            for uart, wire in self._uarts.items():
                near, far = socket.socketpair()
                theirs.callback(far.close)
                wire.attach(near.detach())
                serials[uart] = far.fileno()
            control, far = socket.socketpair()
            theirs.callback(far.close)
            command = self._engine.command(self._store, self.folder, serials, far.fileno())
            self._process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=(*serials.values(), far.fileno()),
                # Ctrl-C in the terminal is for the bench, which stops its boards in order.
                start_new_session=True,
            )
        self._watch = asyncio.create_task(self._attend(self._process))
        self._ran_s, self._since = 0.0, time.monotonic()
        try:
            self._qmp = await Qmp.over(control, self._event)
        except EngineError as error:
            control.close()
            await self.kill()
            raise self.console.error(f"did not come up: {error}") from None

    async def _attend(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        async for raw in process.stderr:
            self.console.note(f"QEMU: {raw.decode('utf-8', 'replace').rstrip()}")
        self.console.ends(f"ended: QEMU's exit status is {await process.wait()}")

    def _event(self, event: Event) -> None:
        name = event["event"]
        if name == "RESET":
            data = event.get("data")
            guest = isinstance(data, Mapping) and data.get("guest") is True
            if guest:
                self.restarts += 1
            self.console.note("the node resets itself" if guest else "reset by the bench")
        elif name == "STOP":
            self._stand_still()
        elif name == "RESUME" and self._since is None:
            self._since = time.monotonic()

    def _stand_still(self) -> None:
        if self._since is not None:
            self._ran_s += time.monotonic() - self._since
            self._since = None

    async def kill(self) -> None:
        """Cut the power now (SIGKILL); does nothing if it is off."""
        process = self._process
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()
        self._stand_still()
        if self._watch is not None:
            await self._watch
            self._watch = None
        if self._qmp is not None:
            await self._qmp.close()
            self._qmp = None
        for wire in self._uarts.values():
            wire.disconnect()

    async def cut_at(self, board_s: float) -> None:
        """Cut the power when ``now_s`` is ``board_s`` (some milliseconds later, not before)."""
        if not self.is_running():
            raise self.console.error("is not running")
        await asyncio.sleep(max(0.0, board_s - self.now_s()))
        await self.kill()

    async def reset(self, kind: Reset, limit_s: float = START_LIMIT_S) -> Mapping[str, object]:
        """WARM: the reset pin, RAM is kept. COLD: power off and on. Returns the boot line."""
        if kind is Reset.COLD:
            await self.kill()
            return await self.start(limit_s)
        qmp = self.qmp
        self.console.begins("reset pin")
        await qmp.run("system_reset")
        return await self.console.wait_json("boot_epoch", limit_s)

    async def wait_restart(self, seen: int, limit_s: float = START_LIMIT_S) -> Mapping[str, object]:
        """Wait until the node has reset itself more than ``seen`` times (``restarts`` before) and
        come up again; returns its boot line.
        """
        deadline = Deadline(limit_s, self.console.clock)
        try:
            await deadline.until(lambda: self.restarts > seen, "a reset by the node itself")
        except TimeoutError as error:
            raise self.console.error(str(error)) from None
        return await self.console.wait_json("boot_epoch", deadline.left_s())

    # --- time ---------------------------------------------------------------------------------

    async def pause(self) -> None:
        """Stop the board's time; does nothing if it stands."""
        await self.qmp.run("stop")
        self._stand_still()

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
        """The host's time since power on without pauses: what QEMU's clock follows."""
        running = time.monotonic() - self._since if self._since is not None else 0.0
        return self._ran_s + running

    # --- the node -----------------------------------------------------------------------------

    async def stop_sampling(self, limit_s: float = STOP_LIMIT_S) -> Mapping[str, object]:
        """Sample no more, go on serving; returns what the node sampled in this boot."""
        await self.console.interrupt(limit_s)
        self.console.write(b"import main; main.serve()\r")
        return await self.console.wait_json("sampled_frames", limit_s)

    async def read_flash(self) -> bytes:
        """What the store's sectors hold: in QEMU while it runs, in ``store.bin`` else."""
        if not self.is_running():
            return self._store.read_bytes()
        return await self.read_memory(STORE_ADDRESS, STORE_BYTES)

    async def read_memory(self, address: int, size: int) -> bytes:
        """Bytes of the board's memory, RAM or flash."""
        copy = self.folder / "memory.bin"
        write_private(copy, b"")
        try:
            await self.qmp.run("pmemsave", val=address, size=size, filename=str(copy))
            return copy.read_bytes()
        finally:
            copy.unlink()

    async def write_flash(self, content: bytes) -> None:
        """What the store's sectors hold from the next power on. The board must be off."""
        if self.is_running():
            raise self.console.error("is running: its flash can be replaced only when it is off")
        if len(content) != STORE_BYTES:
            raise ValueError(f"expected {STORE_BYTES} bytes of both sectors, got {len(content)}")
        write_private(self._store, content)

    async def close(self) -> None:
        """Power off, and let go of everything."""
        await self.kill()
        self.console.close()
        for wire in self._uarts.values():
            wire.close()
