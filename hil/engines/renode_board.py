"""One board on Renode: its machine, power, flash and parts. See :mod:`hil.engines.renode`."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from hil.engines.abilities import (
    Capability,
    HasResetCause,
    HasUniqueId,
    HasWatchdog,
    KeepsWrites,
)
from hil.engines.base import NodeSpec
from hil.engines.board import ImageBoard
from hil.engines.clock_reading import ClockReading, symbol_address
from hil.engines.deadline import Clock
from hil.engines.wiring import (
    ADC_CHANNELS,
    ADC_CODES,
    CONSOLE,
    CONSOLE_BAUD,
    PART_BAUDS,
    PORTS,
    STORE_ADDRESS,
    STORE_BYTES,
)
from hil.errors import EngineError, RenodeError, Unsupported
from hil.renode import commands
from hil.renode.emulation import RenodeEmulation
from hil.renode.rpc import parse_number
from hil.wires.line_wire import silence_s
from hil.wires.renode_uart import RenodeLine, RenodeUart

NAME: Final = "renode"
START_LIMIT_S: Final = 30.0
_MID_SCALE: Final = 2048
#: Between two looks for a power cut.
_LOOK_S: Final = 0.01
_UPTIME: Final = re.compile(r"(\d+) (\d+)")


def machine_name(spec: NodeSpec) -> str:
    """Return the name of the board's machine: letters, digits and _ only."""
    return re.sub(r"[^a-z0-9]", "_", f"n_{spec.name}".lower())


class RenodeBoard(ImageBoard[RenodeUart], KeepsWrites, HasWatchdog, HasResetCause, HasUniqueId):
    """A node as a machine of ``emulation``. Its machine is made at the first start."""

    start_limit_s = START_LIMIT_S
    time_error = EngineError

    def __init__(
        self, spec: NodeSpec, folder: Path, image: Path, emulation: RenodeEmulation
    ) -> None:
        self._console_wire = RenodeUart(CONSOLE_BAUD, tx_limit=65536)
        super().__init__(spec, folder, image, self._console_wire, clock=self.now_s)
        self.machine = machine_name(spec)
        self._emulation = emulation
        self._made = False
        self._on = False
        self._base_s = 0.0
        self._milliseconds_at = symbol_address(image)
        #: The reset that was commanded last is under way.
        self._resetting = False
        self._samples = {0: _MID_SCALE, **ADC_CODES}
        gap_us = round(silence_s(spec.line_baud) * 1e6)
        self._line = RenodeLine(spec.line_baud, emulation.clock, gap_us, emulation.quantum_us)
        self._wires["line"] = self._line
        if spec.link_baud:
            self._wires["link"] = RenodeUart(spec.link_baud)
        for port in PORTS[spec.role].keys() - {"line", "link"}:
            self._wires[port] = RenodeUart(PART_BAUDS[port])

    def is_running(self) -> bool:
        """Return True while it has power."""
        return self._on

    def now_s(self) -> float:
        """Return virtual seconds since the last power on."""
        return max(0.0, self._emulation.now_s() - self._base_s)

    def clock(self) -> Clock:
        """Return the virtual time, which deadlines count."""
        return self.now_s

    async def _do(self, *texts: str) -> str:
        answer = ""
        for text in texts:
            answer = await self._emulation.command(text, self.machine)
        return answer

    def _macro(self) -> str:
        return commands.reset_macro(commands.reset_lines(self._image, self.spec.uid, self._samples))

    async def _make(self) -> None:
        emulation = self._emulation
        await emulation.add(self.machine, self._macro(), self._store, STORE_ADDRESS)
        if emulation.watched and self._milliseconds_at is not None:
            await self._do(commands.milliseconds_at(self._milliseconds_at))
        uarts = {"console": CONSOLE, **PORTS[self.spec.role]}
        for port, wire in self._uarts():
            path = await emulation.port(self.machine, uarts[port], f"{self.machine}_{port}")
            try:
                wire.connect(path)
            except OSError as error:
                raise RenodeError(f"{path}: expected a port of Renode there: {error}") from error
        self._line.set_paced(emulation.paced)
        self._line.on_time = emulation.heard_time
        self._repl.listen()
        with contextlib.suppress(OSError):
            (self.folder / "renode.log").symlink_to(emulation.log)
        self._made = True

    def _uarts(self) -> list[tuple[str, RenodeUart]]:
        return [("console", self._console_wire), *self._wires.items()]

    def _supply(self, on: bool) -> None:
        for _, wire in self._uarts():
            wire.power(on)

    # --- power --------------------------------------------------------------------------------

    async def power(self) -> None:
        """Power on, and wait for nothing."""
        emulation = self._emulation
        self.console.begin("power on")
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
            self._supply(True)
            await emulation.power_on(self.machine)
        self._base_s = await emulation.ask_now_s()

    async def _wait_boot(self, limit_s: float | None) -> Mapping[str, object]:
        boot = await super()._wait_boot(limit_s)
        if not self._emulation.watched:
            # From here on only the watchdog (or a command) restarts it.
            await self._do(commands.reset_flag_hook(watchdog=True))
        return boot

    async def warm_reset(self, limit_s: float | None = None) -> Mapping[str, object]:
        """Pull the reset pin, which keeps RAM; return the fields of the boot line."""
        if not self._on:
            raise self.console.error("is off: expected a board that runs")
        self.console.begin("reset pin")
        self._resetting = True
        try:
            # Renode pauses a machine to reset it, and waits for its core meanwhile. A core at a
            # power cut would wait for that in turn, so it stands before.
            await self._emulation.pause()
            if self._emulation.watched:
                await self._do("sysbus.watch ExpectPin")
            else:
                await self._do(commands.reset_flag_hook(watchdog=False))
            await self._do(commands.RESET)
            await self._emulation.start()
        finally:
            self._resetting = False
        return await self._wait_boot(limit_s)

    async def kill(self) -> None:
        """Cut the power now; does nothing if it is off."""
        async with self._emulation.making:
            if not self._on:
                return
            if not self._emulation.server.lost():
                # The reset in it switches the receivers and the watchdog off.
                await self._emulation.power_off(self.machine)
                if self._emulation.watched and await self._was_cut():
                    await self._do("sysbus.watch Restore")
            self._on = False
        self._supply(False)
        self.console.end("lost its power")

    # --- time ---------------------------------------------------------------------------------

    async def pause(self) -> None:
        """Stop the time of all boards of this engine."""
        await self._emulation.pause()

    async def resume(self) -> None:
        """Let it go on."""
        await self._emulation.start()

    async def run_for(self, seconds: float) -> None:
        """From paused: let ``seconds`` of the boards' time pass, then pause."""
        await self._emulation.run_for(seconds)

    async def executed_instructions(self) -> int:
        """Return how many instructions its core has executed since the board was made."""
        return parse_number(await self._do(commands.INSTRUCTIONS))

    async def uptime(self) -> ClockReading | None:
        """Return how long it has been up, by Renode and by its own count; None: cannot be read."""
        emulation = self._emulation
        if not self._on or emulation.server.lost():
            return None
        await emulation.ask_now_s()  # fails if it has run ahead
        if not emulation.watched or self._milliseconds_at is None:
            return None
        found = _UPTIME.fullmatch(await self._do(commands.UPTIME))
        if found is None:
            raise RenodeError(f"expected two numbers from {commands.UPTIME!r}")
        # The node's is read a moment later, and both have a grain.
        slack_s = 2 * emulation.quantum_s + 0.002
        return ClockReading(int(found[1]) / 1e6, int(found[2]) / 1e3, slack_s)

    # --- flash --------------------------------------------------------------------------------

    async def read_flash(self) -> bytes:
        """Return what the sectors of the record store hold now."""
        if not self._made:
            return self._store.read_bytes()
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
        """Replace it; takes effect at the next ``start``. The board must be off: EngineError."""
        await super().write_flash(content)
        if self._made:
            await self._do(commands.load_flash(self._store, STORE_ADDRESS))

    def _need_observer(self) -> None:
        if not self._emulation.watched:
            why = self._emulation.unwatched_why or "the board was never started"
            raise Unsupported(
                NAME, Capability.POWER_CUT_AT_FLASH, f"Renode did not compile the observer: {why}"
            )

    async def cut_at_flash(self, operation: int) -> None:
        """Lose the power before the node's n-th operation on its flash from now; 0: never.

        1 is the next one. Programs of one word and erases of one sector count. Time stands, for all
        boards, from the cut on until :meth:`wait_for_cut` has seen it, or until :meth:`kill`.
        """
        self._need_observer()
        await self._do("sysbus.watch Operations 0", f"sysbus.watch CutAt {operation}")

    async def flash_operations(self) -> int:
        """Return the operations since the last :meth:`cut_at_flash`, whose 0 only starts the
        count.
        """
        self._need_observer()
        return parse_number(await self._do("sysbus.watch Operations"))

    async def _was_cut(self) -> bool:
        return "true" in (await self._do("sysbus.watch Cut")).lower()

    async def wait_for_cut(self, limit_s: float) -> bool:
        """Return True when the power was lost (the board is off then), False after ``limit_s``
        virtual seconds without, counted from when a reset that is under way is done.
        """
        self._need_observer()
        start = await self._emulation.ask_now_s()
        while True:
            now = await self._emulation.ask_now_s()
            start = now if self._resetting else start
            over = now - start > limit_s
            if over:
                # Or it would come at some operation of a later boot.
                await self._do("sysbus.watch CutAt 0")
            if await self._was_cut():
                await self.kill()
                return True
            if over:
                return False
            await asyncio.sleep(_LOOK_S)

    # --- parts --------------------------------------------------------------------------------

    async def set_adc(self, name: str, code: int) -> None:
        """Hold a 12 bit code on ``ph`` or ``turbidity``, until the next one. LookupError."""
        if name not in ADC_CHANNELS:
            raise LookupError(f"adc {name!r}: expected one of {', '.join(ADC_CHANNELS)}")
        feed = commands.feed_adc(ADC_CHANNELS[name], code)
        self._samples[ADC_CHANNELS[name]] = code
        if self._made:
            await self._do(self._macro(), feed)

    async def set_sht3x(self, **values: float | bool) -> None:
        """Set Temperature, Humidity, and the faults BadChecksum, Silent, Garbage, Saturated."""
        for name, value in values.items():
            text = str(value).lower() if isinstance(value, bool) else f"{value:.2f}"
            await self._do(f"sysbus.i2c1.sht {name} {text}")

    async def plug_sht3x(self, plugged: bool) -> None:
        """Put the sensor on its bus, or take it off."""
        await self._do(*([commands.plug_sht3x()] if plugged else commands.unplug_sht3x()))

    async def close(self) -> None:
        """Close wires and console; Renode, which has ended or forgotten it, is sent nothing."""
        self._on = False
        self._release()
        log = self.folder / "renode.log"
        if log.is_symlink():
            log.unlink()
            log.write_text(self._emulation.log_text(), encoding="utf-8")
            (self.folder / "renode-commands.log").write_text(
                self._emulation.commands_text(), encoding="utf-8"
            )
