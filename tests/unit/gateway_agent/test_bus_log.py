"""An operator reads at the default level what happened to a port and to a device, once each."""

import asyncio
import logging
from pathlib import Path

import pytest

from gateway_agent.clock import SystemClock
from gateway_agent.config import (
    ProfileDevice,
    SerialBus,
)
from gateway_agent.counters import Counters
from gateway_agent.field import bus_log, bus_port, schedule
from gateway_agent.field.bus_log import DeviceLog
from gateway_agent.field.field import Field

from .field_help import config_of
from .slave import PtySlave, Reply, raw_answer, registers, until
from .test_poller import Memory

WORDS = b"\x00\x00\x00\x00\x00\x00\x01\x9f"


async def test_the_story_of_a_port_and_of_a_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bus_port, "RECONNECT_S", (0.01, 0.05))
    monkeypatch.setattr(schedule, "PROBE_MIN_MS", 20)
    caplog.set_level(logging.WARNING)  # the default of the command
    dead: set[int] = set()

    def line(request: bytes) -> list[Reply]:
        unit, function, _, count = registers(request)
        return [] if unit in dead else [(0, raw_answer(unit, WORDS[: 2 * count], function))]

    slave = PtySlave(tmp_path, line)
    devices = tuple(
        ProfileDevice(name=f"co2-{unit}", unit=unit, profile="senseair-s8", period_ms=20)
        for unit in (1, 2)
    )
    config = config_of(
        tmp_path,
        SerialBus(
            name="roof",
            port=str(slave.path),
            baudrate=115200,
            timeout_ms=500,
            quiet_ms=5,
            device=devices,
        ),
    )

    def lines() -> list[str]:
        return [item.getMessage() for item in caplog.records if "bus roof" in item.getMessage()]

    def states() -> list[str]:
        return [item.state for item in field.status(0)]

    counters = Counters()
    field = Field(config, SystemClock(), Memory(), {}, counters)
    task = asyncio.create_task(field.run())
    try:
        await until(lambda: states() == ["ok", "ok"])
        assert lines() == [f"bus roof: {slave.path} is open"]
        caplog.clear()

        slave.unplug()
        await until(lambda: counters.poll_errors["bus_down"] > 5)
        # One line for the port; which of its two faults is seen first is a matter of chance.
        assert 1 <= len(lines()) <= 2
        assert all("was lost" in line or "cannot be opened" in line for line in lines())
        caplog.clear()
        slave.plug()
        await until(lambda: states() == ["ok", "ok"])
        assert f"bus roof: {slave.path} works again" in lines()
        caplog.clear()

        dead.add(2)
        await until(lambda: states()[1] == "quarantined")
        polls = counters.polls
        await until(lambda: counters.polls > polls + 20)
        lost, quarantined = lines()
        assert lost == "bus roof: co2-2 (unit 2): lost: unit 2: no answer within 500 ms"
        assert quarantined.startswith("bus roof: co2-2 (unit 2): quarantined, it is only probed")
        caplog.clear()
        dead.clear()
        await until(lines)
        (back,) = lines()
        assert back.startswith("bus roof: co2-2 (unit 2): back after ")
    finally:
        task.cancel()
        await asyncio.wait({task})
        slave.close()


def test_a_device_that_comes_and_goes_gets_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    device = DeviceLog("x")
    for second in range(600):
        device.polled("no answer" if second % 2 else "", False, 1_000_000 + 1000 * second)
    assert len(caplog.records) <= 6 + 10
    caplog.clear()
    # After a quiet time the next line is what is true then.
    device.polled("no answer", True, 3_000_000)
    device.polled("no answer", True, 3_001_000)
    assert len(caplog.records) == 1
    assert "quarantined" in caplog.records[0].getMessage()
    assert caplog.records[0].name == bus_log.__name__
