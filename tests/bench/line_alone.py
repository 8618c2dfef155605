"""A serial line polled by the gateway's field side as if the machine did nothing else.

The line and the timers are simulated (``tests/unit/gateway_agent/line_time.py``), but every step
of the gateway takes the CPU time that it takes here. So what it does between two polls counts, and
who else has the CPU meanwhile does not. The way to a store's thread and the port's driver are left
out; :mod:`.bus_share` has them.
"""

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final
from unittest import mock

from gateway_agent.clock import Wall
from gateway_agent.config import ProfileDevice, SerialBus
from gateway_agent.counters import Counters
from gateway_agent.field import bus_port, line_silence, serial_line
from gateway_agent.field.field import Field
from gateway_agent.store.mark import Mark
from protocols.uplink import CLOCK_NONE, Record
from protocols.wire.modbus.timing import t35_us
from tests.unit.gateway_agent.field_help import config_of
from tests.unit.gateway_agent.line_time import BITS, SimulatedLine, SimulatedLoop, SimulatedTimer

from .gateway import profile_of

WAKE_UP_S: Final = 0.00005  # from a timer or a byte to the process, measured on an idle machine
_POLLS: Final = 300
_WARM_UP: Final = 50


class _CpuLoop(SimulatedLoop):
    """Its clock goes on by itself as this process uses the CPU."""

    @property
    def now(self) -> float:
        return self._idle + time.thread_time()

    @now.setter
    def now(self, value: float) -> None:
        self._idle = value - time.thread_time()

    def time(self) -> float:
        return self.now


class LoopTime:
    """The gateway's clock in the time of a loop."""

    boot_id = bytes(16)

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop

    def boot_ms(self) -> int:
        return int(self._loop.now * 1000)

    def wall(self) -> Wall:
        return Wall(None, 0, CLOCK_NONE)


class NoStore:
    """A store that has everything at once."""

    async def put(self, records: Sequence[Record], marks: Mapping[str, Mark]) -> None:
        pass


def share(folder: Path, baudrate: int, registers: int, turnaround_ms: float) -> tuple[float, int]:
    """Return the polls made of those possible with pauses of t3.5, and how many were shorter."""
    loop = _CpuLoop(WAKE_UP_S)
    lines: list[SimulatedLine] = []

    def open_line(_: SerialBus, link: asyncio.Protocol) -> SimulatedLine:
        lines.append(SimulatedLine(link, baudrate, turnaround_ms / 1000, ()))
        lines[-1].read_s = WAKE_UP_S
        return lines[-1]

    async def run() -> None:
        profile = folder / "bench.toml"
        profile.write_text(profile_of(registers))
        device = ProfileDevice(name="d", unit=1, profile=str(profile), period_ms=1)
        bus = SerialBus(name="b", port="simulated", baudrate=baudrate, device=(device,))
        field = Field(config_of(folder, bus), LoopTime(loop), NoStore(), {}, Counters())
        task = asyncio.ensure_future(field.run())
        while not task.done() and not (lines and len(lines[0].pauses) >= _WARM_UP + _POLLS):
            await asyncio.sleep(0.1)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    with (
        mock.patch.object(serial_line, "SerialLine", open_line),
        mock.patch.object(line_silence, "FineTimer", SimulatedTimer),
        mock.patch.object(bus_port, "log"),
        contextlib.closing(loop),
    ):
        loop.run_until_complete(run())
    (line,) = lines
    silence_s = t35_us(baudrate, BITS) / 1e6
    pauses = line.pauses[_WARM_UP:]
    took_s = sum(line.busy_s[_WARM_UP : _WARM_UP + len(pauses)])
    possible_s = took_s + len(pauses) * silence_s
    return possible_s / (took_s + sum(pauses)), sum(pause < silence_s for pause in pauses)
