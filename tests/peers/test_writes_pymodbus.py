"""Writable points of a profile against a device of pymodbus: what is sent, what it then has."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from gateway_agent.clock import SystemClock
from gateway_agent.commands import desk as desk_module
from gateway_agent.commands.command import Command, CommandResult
from gateway_agent.commands.desk import CommandDesk
from gateway_agent.config import (
    GatewayConfig,
    GatewayIdentity,
    MqttUplink,
    OutboxConfig,
    ProfileDevice,
    TcpBus,
)
from gateway_agent.counters import Counters
from gateway_agent.field.field import Field
from tests.unit.gateway_agent.slave import until
from tests.unit.gateway_agent.store_help import WALL_MS, StillClock
from tests.unit.gateway_agent.test_poller import Memory

PROFILE = """
[profile]
name = "pump"
title = "a pump"
source = "made for this test"

[[point]]
name = "speed"
unit = "%"
register = 0
type = "u16"
scale = 0.1
write = { low = 20, high = 90, step = 0.5, confirm = true }

[[point]]
name = "pressure"
unit = "bar"
register = 2
type = "f32"
order = "CDAB"
write = { low = 0, high = 10 }

[[point]]
name = "volume"
unit = "l"
register = 4
type = "bcd32"
write = { low = 0, high = 99999999, by = "17" }

[[point]]
name = "mode"
register = 6
type = "u16"
mask = 0x00F0
values = { 0 = "off", 1 = "auto", 2 = "manual" }
write = { low = 0, high = 2 }

[[point]]
name = "lamp"
register = 6
type = "u16"
bit = 1
write = {}

[[point]]
name = "clock"
register = 8
type = "datetime_words"
utc_offset_min = 480
write = {}

[[point]]
name = "valve"
table = "coil"
register = 3
type = "bool"
write = {}

[[point]]
name = "alarm"
table = "coil"
register = 4
type = "bool"
write = { by = "0F" }

[[point]]
name = "raw"
register = 6
type = "u16"

[[point]]
name = "flow"
register = 1
type = "u16"
"""
WRITES = (5, 6, 15, 16, 22, 23)


class Pump:
    """The device: every write it was asked for, and what it does about one."""

    def __init__(self) -> None:
        self.writes: list[tuple[int, int, list[int]]] = []
        self.stubborn = False  # it answers a write, and keeps what it had
        self.refuses = False
        self.busy = 0  # times that it is busy before it does something
        self.port = 0

    async def act(
        self, function: int, _: int, address: int, count: int, own: list[int], new: object
    ) -> ExcCodes | None:
        if function not in WRITES or new is None:
            return None
        assert isinstance(new, list)
        self.writes.append((function, address, [int(value) for value in new]))
        if self.busy:
            self.busy -= 1
            return ExcCodes.DEVICE_BUSY
        if self.refuses:
            return ExcCodes.DEVICE_FAILURE
        if self.stubborn:
            new[:] = own[: len(new)]
        return None


@asynccontextmanager
async def pump() -> AsyncIterator[Pump]:
    found = Pump()
    bits = [SimData(0, values=[False] * 16, datatype=DataType.BITS)]
    words = [SimData(0, values=[0] * 6 + [0x0F01] + [0] * 9, datatype=DataType.REGISTERS)]
    device = SimDevice(1, simdata=(bits, bits, words, words), action=found.act)
    server = ModbusTcpServer(device, address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    assert isinstance(server.transport, asyncio.Server)
    found.port = server.transport.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        await server.shutdown()  # type: ignore[no-untyped-call]  # untyped there


@asynccontextmanager
async def desk_for(
    folder: Path, device: Pump, sink: Memory | None = None
) -> AsyncIterator[CommandDesk]:
    """A desk whose field polls the pump."""
    (folder / "pump.toml").write_text(PROFILE)
    profile = ProfileDevice(name="pump", unit=1, period_ms=50, profile=str(folder / "pump.toml"))
    bus = TcpBus(
        name="hall", host="127.0.0.1", port=device.port, timeout_ms=2000, device=(profile,)
    )
    config = GatewayConfig(
        gateway=GatewayIdentity(id="g", state_dir=folder, key=folder / "gateway.key"),
        uplink=MqttUplink(host="127.0.0.1", receipt="puback"),
        outbox=OutboxConfig(commit_ms=1),
        bus=(bus,),
    )
    field = Field(config, SystemClock(), sink or Memory(), {}, Counters())
    desk = CommandDesk("g", StillClock(), Counters())
    desk.open(field)
    task = asyncio.create_task(field.run())
    try:
        yield desk
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_each_kind_of_point_is_written_within_its_limits(tmp_path: Path) -> None:
    async with pump() as device, desk_for(tmp_path, device) as desk:

        async def told(point: str, value: str, confirm: bool = False) -> CommandResult:
            wanted = Command(
                action="set", device="hall/pump", point=point, value=value, confirm=confirm
            )
            return await desk.run(wanted, "ana")

        done = [
            await told("speed", "40 %", confirm=True),
            await told("pressure", "2.5 bar"),
            await told("volume", "12345678"),
            await told("mode", "auto"),
            await told("mode", "2"),
            await told("lamp", "1"),
            await told("valve", "1"),
            await told("alarm", "1"),
            await told("clock", "now"),
        ]
        assert [one.outcome for one in done] == ["done"] * len(done), [one.text for one in done]
        assert [one.text for one in done[:5]] == [
            "speed: 0 % -> 40 %",
            "pressure: 0 bar -> 2.5 bar",
            "volume: 0 l -> 12345678 l",
            "mode: off -> auto",
            "mode: auto -> manual",
        ]
        # By hand: 40 % in tenths; 2.5 as an IEEE 754 float, low word first; two digits a byte; the
        # mask of the mode; a coil is 1.
        assert device.writes[:2] == [(6, 0, [400]), (16, 2, [0x0000, 0x4020])]
        assert device.writes[2] == (23, 4, [0x1234, 0x5678])
        assert [one[:2] for one in device.writes[3:6]] == [(22, 6)] * 3
        assert [(one[0], one[1], one[2][:1]) for one in device.writes[6:8]] == [
            (5, 3, [1]),
            (15, 4, [1]),
        ]
        # WALL_MS is 2025-10-09 08:53:20 UTC; the clock is 8 hours ahead.
        assert WALL_MS == 1_760_000_000_000
        assert device.writes[8] == (16, 8, [2025, 10, 9, 16, 53, 20])
        found = await desk.run(Command(action="get", device="pump"), "ana")
        values = {one.name: one.text or one.value for one in found.values}
        assert values["mode"] == "manual"
        assert values["lamp"] == 1.0
        raw = await desk.run(Command(action="get", device="pump", point="raw"), "ana")
        # Before 0x0F01; 2 in bits 4 to 7, and bit 1: the others are as they were.
        assert [one.value for one in raw.values] == [0x0F23]
        assert (values["speed"], values["valve"], values["alarm"]) == (40.0, 1.0, 1.0)
        assert "flow" not in values  # nobody may write it
        before = len(device.writes)
        refused = [
            await told("speed", "40 %"),
            await told("speed", "90.5 %", confirm=True),
            await told("speed", "20.3 %", confirm=True),
            await told("speed", "5 s", confirm=True),
            await told("pressure", "-1"),
            await told("volume", "0.5"),
            await told("mode", "3"),
            await told("clock", "5"),
            await told("flow", "1"),
            await told("nothing", "1"),
            await desk.run(Command(action="restart", device="pump"), "ana"),
        ]
        assert [one.outcome for one in refused] == ["refused"] * len(refused)
        words = [one.text for one in refused]
        assert "--confirm" in words[0]
        assert "expected 20 to 90, got 90.5" in words[1]
        assert "expected 20 and steps of 0.5, got 20.3" in words[2]
        assert "expected a multiple of 1, got 0.5" in words[5]
        assert "may be written: speed, pressure, volume" in words[8]
        assert len(device.writes) == before


async def test_what_does_not_read_back_is_no_success(tmp_path: Path) -> None:
    async with pump() as device, desk_for(tmp_path, device) as desk:
        wanted = Command(action="set", device="pump", point="pressure", value="3 bar")
        device.stubborn = True
        stubborn = await desk.run(wanted, "ana")
        assert stubborn.outcome == "failed"
        assert "expected 3 bar after the write, read 0 bar" in stubborn.text
        device.refuses = True
        refused = await desk.run(wanted, "ana")
        assert refused.outcome == "failed"
        assert "exception 04, server device failure" in refused.text


async def test_a_device_that_is_busy_is_asked_again(tmp_path: Path) -> None:
    async with pump() as device, desk_for(tmp_path, device) as desk:
        wanted = Command(action="set", device="pump", point="pressure", value="3 bar")
        device.busy = 2
        assert (await desk.run(wanted, "ana")).outcome == "done"
        device.busy = 3
        busy = await desk.run(wanted, "ana")
        assert (busy.outcome, "device busy" in busy.text) == ("failed", True)


async def test_nothing_is_sent_before_its_record_is_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = Memory()
    wanted = Command(action="set", device="pump", point="pressure", value="3 bar")
    async with pump() as device, desk_for(tmp_path, device, sink) as desk:
        await until(lambda: sink.records)
        sink.gate.clear()
        monkeypatch.setattr(desk_module, "STORE_S", 0.2)
        refused = await desk.run(wanted, "ana")
        assert refused.outcome == "refused"
        assert "the outbox takes no record, so nothing may be changed" in refused.text
        assert device.writes == []
        sink.gate.set()
        monkeypatch.setattr(desk_module, "STORE_S", 10.0)
        assert (await desk.run(wanted, "ana")).outcome == "done"
        assert len(device.writes) == 1
        # Who leaves in the middle is named with what he began.
        sink.gate.clear()
        leaving = asyncio.create_task(desk.run(wanted, "bo"))
        await until(lambda: sink.held)
        leaving.cancel()
        await asyncio.wait({leaving})
        sink.gate.set()
        await until(lambda: [one for one in names(sink) if one[1] == "bo"][1:])
    assert names(sink) == [
        ("command-taken", "ana"),  # whose record came too late for it
        ("command-refused", "ana"),
        ("command-taken", "ana"),
        ("command-done", "ana"),
        ("command-taken", "bo"),
        ("command-failed", "bo"),
    ]


def names(sink: Memory) -> list[tuple[str, str]]:
    actions = [one.action for one in sink.records if one.action is not None]
    return [(action.name, action.operator) for action in actions]


async def test_a_clock_gets_the_time_of_its_write(tmp_path: Path) -> None:
    """The record that goes before may wait for the store for seconds."""
    sink = Memory()
    async with pump() as device, desk_for(tmp_path, device, sink) as desk:
        clock = desk._clock
        assert isinstance(clock, StillClock)
        sink.gate.clear()
        command = Command(action="set", device="hall/pump", point="clock", value="now")
        telling = asyncio.create_task(desk.run(command, "ana"))
        await until(lambda: desk._running)
        clock.wall_ms = WALL_MS + 8000
        sink.gate.set()
        assert (await telling).outcome == "done"
        # 1,760,000,000 s are 2025-10-09 16:53:20 at UTC+8.
        assert device.writes == [(16, 8, [2025, 10, 9, 16, 53, 28])]
