"""The board's image on Renode: one emulation, one machine for each board, one virtual time.

Its time follows the host's and may lag behind, so what is outside (line, parts, gateway) works in
real time. ``pause`` and ``run_for`` act on all boards of an engine at once: that is what sharing a
clock means. A board that is off is a machine whose core stands still; its flash keeps.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final, Self

from hil.engines.base import Capability, NodeSpec, Reset
from hil.engines.console import Console
from hil.engines.records import provisioned
from hil.engines.wiring import ADC_CHANNELS, CONSOLE, PORTS, STORE_ADDRESS, STORE_BYTES
from hil.errors import CommandError, EngineError, RenodeError, Unsupported
from hil.files import write_private
from hil.renode import commands
from hil.renode.emulation import RenodeEmulation
from hil.renode.rpc import parse_number
from hil.wires.pty_wire import PtyLine, PtyWire

NAME: Final = "renode"
START_LIMIT_S: Final = 30.0
STOP_LIMIT_S: Final = 10.0
_MID_SCALE: Final = 2048
#: Between two looks for a power cut: until it is seen virtual time flies (see `power_off`).
_LOOK_S: Final = 0.01


def machine_name(spec: NodeSpec) -> str:
    """What the board's machine is called: letters, digits and _ only."""
    return re.sub(r"[^a-z0-9]", "_", f"n_{spec.name}".lower())


class RenodeBoard:
    """A node as a machine of ``emulation``. Its machine is made at the first start."""

    def __init__(
        self, spec: NodeSpec, folder: Path, image: Path, emulation: RenodeEmulation
    ) -> None:
        if spec.role not in PORTS:
            raise EngineError(f"role {spec.role!r}: expected one of {', '.join(PORTS)}")
        self.spec = spec
        self.folder = folder
        self.boot: Mapping[str, object] = {}
        self.boots = 0
        self.machine = machine_name(spec)
        self._image = image
        self._emulation = emulation
        self._made = False
        self._on = False
        self._base_s = 0.0
        self._samples = {0: _MID_SCALE, **dict.fromkeys(ADC_CHANNELS.values(), _MID_SCALE)}
        folder.mkdir(parents=True, exist_ok=True)
        self._flash = folder / "store.bin"
        if not self._flash.exists():
            write_private(self._flash, provisioned(spec))
        self._line = PtyLine()
        self._wires = {
            port: self._line if port == "line" else PtyWire() for port in PORTS[spec.role]
        }
        self._console_wire = PtyWire(tx_limit=65536)
        self.console = Console(
            spec.name, folder / "console.log", wire=self._console_wire, clock=self.now_s
        )

    def wire(self, port: str) -> PtyWire:
        """The UART of that name. LookupError."""
        if port not in self._wires:
            names = ", ".join(self._wires)
            raise LookupError(f"a {self.spec.role} node has no port {port!r}; it has {names}")
        return self._wires[port]

    def is_running(self) -> bool:
        """True while it has power."""
        return self._on

    def now_s(self) -> float:
        """Virtual seconds since the last power on."""
        return max(0.0, self._emulation.now_s(self.machine) - self._base_s)

    async def _do(self, *texts: str) -> str:
        answer = ""
        for text in texts:
            answer = await self._emulation.command(text, self.machine)
        return answer

    def _macro(self) -> str:
        return commands.reset_macro(commands.reset_lines(self._image, self.spec.uid, self._samples))

    async def _make(self) -> None:
        emulation = self._emulation
        await emulation.add(self.machine, self._macro(), self._flash, STORE_ADDRESS)
        uarts = {"console": CONSOLE, **PORTS[self.spec.role]}
        for port, uart in uarts.items():
            link = await emulation.terminal(self.machine, uart, f"{self.machine}_{port}")
            wire = self._console_wire if port == "console" else self._wires[port]
            wire.connect(link)
        self.console.listen()
        with contextlib.suppress(OSError):
            (self.folder / "renode.log").symlink_to(emulation.log)
        self._made = True

    async def start(self, limit_s: float = START_LIMIT_S) -> Mapping[str, object]:
        """Power on; returns ``boot``. EngineError if the line does not come within ``limit_s``."""
        if self._on:
            raise self.console.error("is running already")
        emulation = self._emulation
        self.console.begins("power on")
        async with emulation.making:
            if not self._made:
                await self._make()
            else:
                # 1.16.1 lets a core run before it has found its program, if time passes meanwhile.
                await emulation.pause()
                if emulation.watched:
                    await self._do("sysbus.watch ExpectPowerOn")
                else:
                    await self._do(commands.reset_flag_hook(watchdog=False))
                await self._do(commands.FORGET_RAM, commands.RESET, commands.GO)
            self._on = True
            await emulation.power_on(self.machine)
        self._base_s = await emulation.time_s(self.machine)
        return await self._comes_up(limit_s)

    async def _comes_up(self, limit_s: float) -> Mapping[str, object]:
        self.boot = await self.console.wait_json("boot_epoch", limit_s)
        self.boots += 1
        if not self._emulation.watched:
            # From here on only the watchdog (or a command) restarts it.
            await self._do(commands.reset_flag_hook(watchdog=True))
        return self.boot

    async def reset(self, kind: Reset, limit_s: float = START_LIMIT_S) -> Mapping[str, object]:
        """Start anew; returns ``boot``."""
        if kind is Reset.COLD:
            await self.kill()
            return await self.start(limit_s)
        if not self._on:
            raise self.console.error("is off: expected a board that runs")
        self.console.begins("reset pin")
        await self._emulation.start()
        if self._emulation.watched:
            await self._do("sysbus.watch ExpectPin")
        else:
            await self._do(commands.reset_flag_hook(watchdog=False))
        # Nothing after it: it may end in a power cut, which stops the time.
        await self._do(commands.RESET)
        return await self._comes_up(limit_s)

    async def kill(self) -> None:
        """Cut the power now; does nothing if it is off."""
        async with self._emulation.making:
            if not self._on:
                return
            # The reset in it switches the receivers and the watchdog off.
            await self._emulation.power_off(self.machine)
            if self._emulation.watched and await self._was_cut():
                await self._do("sysbus.watch Restore")
            self._on = False
        self._line.forget()
        self.console.ends("lost its power")

    async def pause(self) -> None:
        """Stop the time of all boards of this engine."""
        await self._emulation.pause()

    async def resume(self) -> None:
        """Let it go on."""
        await self._emulation.start()

    async def run_for(self, seconds: float) -> None:
        """From paused: let ``seconds`` of the boards' time pass, then pause."""
        await self._emulation.run_for(seconds)

    async def stop_sampling(self, limit_s: float = STOP_LIMIT_S) -> Mapping[str, object]:
        """Sample no more, go on serving; returns sampled_frames, sampled_readings, boot_epoch."""
        await self.console.interrupt(limit_s)
        self.console.write(b"import main; main.serve()\r")
        return await self.console.wait_json("sampled_frames", limit_s)

    async def read_flash(self) -> bytes:
        """What the sectors of the record store hold now."""
        if not self._made:
            return self._flash.read_bytes()
        dump = self._emulation.folder / f"{self.machine}.flash"
        dump.unlink(missing_ok=True)
        await self._do(commands.dump_flash(dump))
        start = STORE_ADDRESS - commands.FLASH_BASE
        content = (await asyncio.to_thread(dump.read_bytes))[start : start + STORE_BYTES]
        dump.unlink()
        if len(content) != STORE_BYTES:
            raise RenodeError(
                f"{dump}: expected {STORE_BYTES} bytes of the store, got {len(content)}"
            )
        return content

    async def write_flash(self, content: bytes) -> None:
        """Replace it; takes effect at the next ``start``. The board must be off."""
        if self._on:
            raise self.console.error("is on: expected a board that is off, to write its flash")
        if len(content) != STORE_BYTES:
            raise ValueError(f"flash: expected {STORE_BYTES} bytes, got {len(content)}")
        write_private(self._flash, content)
        if self._made:
            await self._do(commands.load_flash(self._flash, STORE_ADDRESS))

    # --- what only this engine can do ---------------------------------------------------------

    def _need_watch(self, capability: Capability) -> None:
        if not self._emulation.watched:
            why = self._emulation.unwatched_why or "the board was never started"
            raise Unsupported(NAME, capability, f"Renode did not compile the observer: {why}")

    async def cut_at_flash(self, operation: int) -> None:
        """Lose the power before the node's n-th operation on its flash from now; 0: never.

        1 is the next one. Programs of one word and erases of one sector count;
        :meth:`wait_for_cut` waits for it.
        """
        self._need_watch(Capability.POWER_CUT_AT_FLASH)
        await self._do("sysbus.watch Operations 0", f"sysbus.watch CutAt {operation}")

    async def flash_operations(self) -> int:
        """Operations since the last :meth:`cut_at_flash`, whose 0 only starts the count."""
        self._need_watch(Capability.POWER_CUT_AT_FLASH)
        return parse_number(await self._do("sysbus.watch Operations"))

    async def _was_cut(self) -> bool:
        return "true" in (await self._do("sysbus.watch Cut")).lower()

    async def wait_for_cut(self, limit_s: float) -> bool:
        """True when the power was lost (the board is off then), False after ``limit_s`` virtual
        seconds without."""
        self._need_watch(Capability.POWER_CUT_AT_FLASH)
        start = self.now_s()
        while True:
            # The time first: it flies from the cut on.
            over = self.now_s() - start > limit_s
            if over:
                # Or it would come at some operation of a later boot.
                await self._do("sysbus.watch CutAt 0")
            if await self._was_cut():
                await self.kill()
                return True
            if over:
                return False
            await asyncio.sleep(_LOOK_S)

    async def set_adc(self, name: str, code: int) -> None:
        """A 12 bit code on ``ph`` or ``turbidity``, until the next one. LookupError."""
        if name not in ADC_CHANNELS:
            raise LookupError(f"adc {name!r}: expected one of {', '.join(ADC_CHANNELS)}")
        feed = commands.feed_adc(ADC_CHANNELS[name], code)
        self._samples[ADC_CHANNELS[name]] = code
        if self._made:
            await self._do(self._macro(), feed)

    async def set_sht3x(self, **values: float | bool) -> None:
        """Temperature, Humidity, and the faults BadChecksum, Silent, Garbage, Saturated."""
        for name, value in values.items():
            text = str(value).lower() if isinstance(value, bool) else f"{value:.2f}"
            await self._do(f"sysbus.i2c1.sht {name} {text}")

    async def plug_sht3x(self, plugged: bool) -> None:
        """On its bus, or off."""
        await self._do(*([commands.plug_sht3x()] if plugged else commands.unplug_sht3x()))

    def close(self) -> None:
        """Close wires and console."""
        self._on = False
        self.console.close()
        for wire in self._wires.values():
            wire.close()
        log = self.folder / "renode.log"
        if log.is_symlink():
            target = log.resolve()
            log.unlink()
            with contextlib.suppress(OSError):
                shutil.copyfile(target, log)
                shutil.copyfile(
                    target.with_name("commands.log"), self.folder / "renode-commands.log"
                )


class RenodeEngine:
    """``image`` is the ELF file of the board; see :class:`hil.renode.emulation.RenodeEmulation`."""

    name = NAME
    capabilities: Final = frozenset(Capability) - {Capability.ONEWIRE}
    #: Why it has not the rest.
    lacks: Final[Mapping[Capability, str]] = {
        Capability.ONEWIRE: "its GPIO has no open drain, and a pin's time has the grain of a "
        "quantum: bit slots of 60 us cannot be answered",
    }

    def __init__(
        self,
        image: Path,
        *,
        seed: int = 0,
        quantum_s: float = commands.QUANTUM_S,
        ahead: bool = False,
    ) -> None:
        self._image = image
        self._seed = seed
        self._quantum_s = quantum_s
        self._ahead = ahead
        self._emulation: RenodeEmulation | None = None
        self._boards: list[RenodeBoard] = []

    @property
    def emulation(self) -> RenodeEmulation:
        """The running one. EngineError outside of ``async with``."""
        if self._emulation is None:
            raise EngineError("engine renode: expected `async with` around its use")
        return self._emulation

    def logs(self) -> Mapping[str, Callable[[], str]]:
        """What Renode printed, and what it was told."""
        names = {"renode.log": "renode.log", "renode-commands.log": "commands.log"}
        return {name: partial(self._log, file) for name, file in names.items()}

    def _log(self, file: str) -> str:
        return (self.emulation.folder / file).read_text(encoding="utf-8", errors="replace")

    async def __aenter__(self) -> Self:
        if not self._image.is_file():
            raise EngineError(f"{self._image}: expected the ELF file of the board's image")
        self._emulation = RenodeEmulation(
            seed=self._seed, quantum_s=self._quantum_s, ahead=self._ahead
        )
        try:
            await self._emulation.open()
        except BaseException:
            await self._emulation.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.emulation.close()
        for board in self._boards:
            board.close()
        self.emulation.forget()

    async def board(self, spec: NodeSpec, folder: Path) -> RenodeBoard:
        """A board in ``folder`` (made if missing; its store survives restarts), switched off."""
        if machine_name(spec) in (other.machine for other in self._boards):
            raise EngineError(f"node {spec.name}: expected a name no other board has")
        board = RenodeBoard(spec, folder, self._image, self.emulation)
        self._boards.append(board)
        return board


__all__ = ["NAME", "CommandError", "RenodeBoard", "RenodeEngine"]
