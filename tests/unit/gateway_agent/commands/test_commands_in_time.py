"""A stream of commands beside the polls, in simulated time: what the line saw, counted there."""

import asyncio
import contextlib
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from gateway_agent.clock import Wall
from gateway_agent.commands.command import Command
from gateway_agent.commands.desk import CommandDesk
from gateway_agent.config import ProfileDevice, SerialBus
from gateway_agent.counters import Counters
from gateway_agent.field import line_silence, serial_line
from gateway_agent.field.bus_turns import MAX_WAITING
from gateway_agent.field.field import Field
from tests.unit.gateway_agent.field_help import config_of
from tests.unit.gateway_agent.line_time import SimulatedLine, SimulatedLoop, SimulatedTimer
from tests.unit.gateway_agent.test_poller import Memory

PROFILE = """
[profile]
name = "meter"
title = "a meter"
source = "made for this test"

[[point]]
name = "level"
register = 0
type = "u16"
write = { low = 0, high = 10 }
"""
PERIOD_MS = 500
SECONDS = 20
# The units that commands are for, hardly polled: for each somebody asks again and again, without a
# pause, so that always as many requests wait as a bus lets wait.
ASKED = range(9, 9 + MAX_WAITING)


class LoopClock:
    """The boot clock is the simulated loop's."""

    boot_id = bytes(16)

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop

    def boot_ms(self) -> int:
        return round(self._loop.now * 1000)

    def wall(self) -> Wall:
        return Wall(None, 0, 0)


class NotingLine(SimulatedLine):
    """Keeps when each unit was asked."""

    asked: dict[int, list[float]]

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert isinstance(self._loop, SimulatedLoop)
        self.asked.setdefault(data[0], []).append(self._loop.now)
        super().write(data)


def test_a_stream_of_commands_makes_no_poll_miss_its_slot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = SimulatedLoop()
    lines: list[NotingLine] = []

    def open_line(bus: SerialBus, link: asyncio.Protocol) -> NotingLine:
        lines.append(NotingLine(link, bus.baudrate, 0.02, ()))
        lines[-1].asked = {}
        return lines[-1]

    monkeypatch.setattr(serial_line, "SerialLine", open_line)
    monkeypatch.setattr(line_silence, "FineTimer", SimulatedTimer)
    (tmp_path / "meter.toml").write_text(PROFILE)
    units = {1: PERIOD_MS, 2: PERIOD_MS, 3: PERIOD_MS, **dict.fromkeys(ASKED, 86_400_000)}
    devices = tuple(
        ProfileDevice(
            name=f"m{unit}", unit=unit, period_ms=period, profile=str(tmp_path / "meter.toml")
        )
        for unit, period in units.items()
    )
    bus = SerialBus(name="b", port="/dev/null", baudrate=9600, device=devices)
    config = msgspec.structs.replace(config_of(tmp_path), bus=(bus,))
    counters = Counters()
    done = 0

    async def ask(desk: CommandDesk, unit: int) -> None:
        nonlocal done
        while True:
            result = await desk.run(Command(action="get", device=f"m{unit}"), "ana")
            done += result.outcome == "done"

    async def run() -> None:
        field = Field(config, LoopClock(loop), Memory(), {}, counters)
        desk = CommandDesk("g", LoopClock(loop), counters)
        desk.open(field)
        tasks = [asyncio.create_task(field.run())]
        tasks += [asyncio.create_task(ask(desk, unit)) for unit in ASKED]
        await asyncio.sleep(SECONDS)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    with contextlib.closing(loop):
        loop.run_until_complete(run())
    (line,) = lines
    assert counters.commands.keys() == {"done", "failed"}
    assert counters.commands["failed"] == len(ASKED)  # cut by the end
    assert done > 10 * SECONDS  # at least ten commands a second
    assert counters.skipped_slots == 0
    longest = max(line.busy_s)
    for unit in (1, 2, 3):
        times = line.asked[unit]
        assert abs(len(times) - SECONDS * 1000 / PERIOD_MS) <= 1
        waits = [after - before for before, after in pairwise(times)]
        # Late by one turn of a command and the other polls at most.
        assert max(waits) <= PERIOD_MS / 1000 + 4 * (longest + 0.005)
