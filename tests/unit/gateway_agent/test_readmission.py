"""A device that was away is read again, also if it answers nothing but what its profile asks for.

Devices are made up: each notes which requests it answered, and ignores (no exception) what does not
fit its values, as meters of 32 bit floats do.
"""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway_agent.clock import SystemClock
from gateway_agent.config import (
    Bus,
    ProfileDevice,
    RtuOverTcpBus,
    SerialBus,
    TcpBus,
)
from gateway_agent.counters import Counters
from gateway_agent.field import late_answers, schedule
from gateway_agent.field.bus_errors import BusError
from gateway_agent.field.field import Field
from gateway_agent.field.master import Master
from gateway_agent.field.planner import Span, probe_reads
from protocols.modbus_client import Read, read_request

from .field_help import config_of
from .slave import PtySlave, Reply, TcpSlave, answer, mbap, raw_answer, registers, until
from .test_poller import Memory

PROFILE = """[profile]
name = "meter"
title = "Meter"
source = "made up"
[[point]]
name = "a"
register = 0
type = "f32"
[[point]]
name = "b"
register = 2
type = "f32"
"""
DATA = struct.pack(">4f", 1.5, 2.5, 3.5, 4.5)

Fits = Callable[[int, int], bool]  # address, count


class Meter:
    """Answers what fits, on a line or over TCP, while it is not away."""

    def __init__(self, fits: Fits) -> None:
        self.fits = fits
        self.away = False
        self.answered: list[tuple[int, int]] = []

    def data(self, address: int, count: int) -> bytes | None:
        if self.away or not self.fits(address, count):
            return None
        self.answered.append((address, count))
        return DATA[2 * address : 2 * (address + count)].ljust(2 * count, b"\x00")

    def on_line(self, request: bytes) -> list[Reply]:
        unit, function, address, count = registers(request)
        data = self.data(address, count)
        return [] if data is None else [(0, raw_answer(unit, data, function))]

    def on_net(self, request: bytes) -> list[Reply]:
        tid, _, _, unit, function, address, count = struct.unpack(">HHHBBHH", request)
        data = self.data(address, count)
        if data is None:
            return []
        return [(0, mbap(tid, unit, bytes((function, len(data))) + data))]


@asynccontextmanager
async def bus_with(folder: Path, kind: str, meter: Meter) -> AsyncIterator[Bus]:
    (folder / "meter.toml").write_text(PROFILE, encoding="utf-8")
    profile = str(folder / "meter.toml")
    devices = (ProfileDevice(name="m", unit=1, profile=profile, period_ms=20),)
    line = PtySlave(folder, meter.on_line)
    net = await TcpSlave(meter.on_net if kind == "tcp" else meter.on_line).start()
    made = TcpBus if kind == "tcp" else RtuOverTcpBus
    try:
        if kind == "rtu":
            yield SerialBus(
                name="line",
                port=str(line.path),
                baudrate=115200,
                timeout_ms=60,
                quiet_ms=5,
                device=devices,
            )
        else:
            yield made(
                name="net",
                host="127.0.0.1",
                port=net.port,
                baudrate=115200,
                timeout_ms=60,
                quiet_ms=5,
                device=devices,
            )
    finally:
        line.close()
        await net.close()


@pytest.mark.parametrize("kind", ["rtu", "rtu-over-tcp", "tcp"])
@pytest.mark.parametrize(
    "fits",
    [
        lambda address, count: (address, count) == (0, 4),
        lambda address, count: address % 2 == 0 and count % 2 == 0,
        lambda address, count: count == 1 or (address, count) == (0, 4),
    ],
    ids=["its own block only", "even counts only", "one register or its block"],
)
async def test_a_device_that_was_away_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, fits: Fits
) -> None:
    monkeypatch.setattr(late_answers, "LATEST_S", 1.0)
    monkeypatch.setattr(schedule, "PROBE_MIN_MS", 20)
    monkeypatch.setattr(schedule, "PROBE_MAX_MS", 100)
    meter = Meter(fits)
    async with bus_with(tmp_path, kind, meter) as bus:
        config = config_of(tmp_path, bus)
        sink = Memory()
        field = Field(config, SystemClock(), sink, {}, Counters())
        task = asyncio.create_task(field.run())
        try:
            await until(lambda: len(meter.answered) > 2)
            meter.away = True
            await until(lambda: field.status(0)[0].state == "quarantined")
            meter.away = False
            back = len(meter.answered)
            await until(lambda: len(meter.answered) > back + 10)
            await until(lambda: sink.gaps("g.m"))
            await until(lambda: field.status(0)[0].state == "ok")
        finally:
            task.cancel()
            await asyncio.wait({task})
    values = [item.values for item in sink.of("g.m") if item.gap is None]
    assert {tuple(value.value for value in row) for row in values} == {(1.5, 2.5)}


async def test_its_own_block_is_not_asked_for_while_an_answer_may_be_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device of one answer only, whose last answer is late by almost as much as can be."""
    monkeypatch.setattr(late_answers, "LATEST_S", 0.6)
    own = read_request(1, Read(4, 0, 4))
    asked: list[tuple[float, int]] = []
    loop = asyncio.get_running_loop()

    def handler(request: bytes) -> list[Reply]:
        _, _, _, count = registers(request)
        asked.append((loop.time(), count))
        fresh = len([words for _, words in asked if words == 4]) > 1
        value = 7 if fresh else 666
        return [(0 if fresh else 0.5, answer(1, *(value,) * 4))] if count == 4 else []

    line = PtySlave(tmp_path, handler)
    bus = SerialBus(
        name="line", port=str(line.path), baudrate=115200, timeout_ms=60, quiet_ms=5, device=()
    )
    counters = Counters()
    master = Master(bus, counters)
    got = b""
    try:
        while not got:
            try:
                got = await master.read(own)
            except BusError:
                continue
    finally:
        master.close()
        line.close()
    assert got == struct.pack(">4H", 7, 7, 7, 7)
    first, second = [time for time, count in asked if count == 4][:2]
    assert second - first >= 0.5
    assert counters.late_replies == 1


def test_probes_begin_with_what_the_device_is_known_to_answer() -> None:
    spans = [Span(4, 10, 2), Span(4, 12, 4), Span(3, 65535, 1)]
    reads = [Read(4, 10, 6), Read(3, 65535, 1)]
    probes = probe_reads(reads, spans)
    assert probes[:4] == (Read(3, 65535, 1), Read(4, 10, 6), Read(4, 10, 2), Read(4, 12, 4))
    assert len({(read.function, read.words) for read in probes}) == len(probes)
    assert all(read.address + read.words <= 65536 for read in probes)


def test_probes_of_floats_are_whole_floats_first() -> None:
    probes = probe_reads([Read(4, 0, 2)], [Span(4, 0, 2)])
    assert [read.words for read in probes][:4] == [2, 4, 6, 8]
    assert {1, 3, 5, 7} <= {read.words for read in probes}
