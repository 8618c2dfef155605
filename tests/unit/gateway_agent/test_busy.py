"""A device that is busy, or lacks a value for a moment, is asked again within its slot."""

import asyncio
import struct
from collections.abc import Callable, Container
from pathlib import Path

import pytest

from gateway_agent.clock import SystemClock
from gateway_agent.config import (
    ProfileDevice,
    TcpBus,
)
from gateway_agent.counters import Counters
from gateway_agent.field.field import Field

from .field_help import config_of
from .slave import Reply, TcpSlave, mbap, until
from .test_poller import Memory

PROFILE = '[profile]\nname = "x"\ntitle = "x"\nsource = "made up"\n' + "".join(
    f'[[point]]\nname = "v{at}"\nregister = {at}\ntype = "u16"\n' for at in (0, 100)
)


class Busy:
    """Refuses each block ``times`` before it answers; a block in ``ever`` it always refuses."""

    def __init__(self, code: int, times: int, ever: tuple[int, ...] = ()) -> None:
        self.code = code
        self.times = times
        self.ever = ever
        self.left: dict[int, int] = {}
        self.refused = 0

    def __call__(self, request: bytes) -> list[Reply]:
        tid, _, _, unit, function, address, count = struct.unpack(">HHHBBHH", request)
        left = self.left.setdefault(address, self.times)
        if address in self.ever or left:
            self.left[address] = max(0, left - 1)
            self.refused += 1
            return [(0, mbap(tid, unit, bytes((function | 0x80, self.code))))]
        self.left[address] = self.times
        data = struct.pack(f">{count}H", *[address] * count)
        return [(0, mbap(tid, unit, bytes((function, len(data))) + data))]


async def poll(
    folder: Path, device: Callable[[bytes], list[Reply]], polls: int, profile: str = PROFILE
) -> tuple[Memory, Counters, str]:
    (folder / "x.toml").write_text(profile, encoding="utf-8")
    net = await TcpSlave(device).start()
    own = ProfileDevice(name="m", unit=1, profile=str(folder / "x.toml"), period_ms=1000)
    config = config_of(folder, TcpBus(name="net", host="127.0.0.1", port=net.port, device=(own,)))
    sink, counters = Memory(), Counters()
    field = Field(config, SystemClock(), sink, {}, counters)
    task = asyncio.create_task(field.run())
    try:
        await until(lambda: field.status(0)[0].polls > polls)
        (status,) = field.status(0)
    finally:
        task.cancel()
        await asyncio.wait({task})
        await net.close()
    assert status.skipped == 0
    assert status.state != "quarantined"
    return sink, counters, status.problem


@pytest.mark.parametrize("code", [5, 6])
async def test_a_busy_device_is_asked_again_within_its_slot(tmp_path: Path, code: int) -> None:
    device = Busy(code, times=2)
    sink, counters, problem = await poll(tmp_path, device, 3)
    rows = [[item.value for item in record.values] for record in sink.of("g.m")]
    assert len(rows) >= 3
    assert all(row == [0, 100] for row in rows)
    assert set(counters.gaps) <= {"bus_busy"}
    assert problem == ""
    # The last one may not have been read any more.
    assert device.refused - counters.poll_errors[f"exception_{code:02x}"] <= 1
    assert device.refused >= 12


async def test_a_part_that_stays_busy_is_named_and_costs_the_others_nothing(
    tmp_path: Path,
) -> None:
    device = Busy(6, times=0, ever=(0,))
    sink, counters, problem = await poll(tmp_path, device, 3)
    for record in sink.of("g.m"):
        assert [item.value for item in record.values] == [100]
        assert [(item.name, item.quality) for item in record.failures] == [("v0", "busy")]
    assert set(counters.gaps) <= {"bus_busy"}
    assert "server device busy" in problem


async def test_a_device_that_stays_busy_is_a_gap_of_that_name(tmp_path: Path) -> None:
    device = Busy(6, times=0, ever=(0, 100))
    asyncio.get_running_loop().call_later(1.5, setattr, device, "ever", ())
    sink, counters, _ = await poll(tmp_path, device, 4)
    assert counters.poll_errors.keys() == {"exception_06"}
    (gap,) = sink.gaps_of("g.m", "device_busy")
    assert "server device busy" in gap.detail


LACKING = PROFILE.replace('type = "u16"\n', 'type = "u16"\ninvalid = ["0xFFFF"]\n')


class Lacking:
    """Has no value for the second point at the requests whose numbers are given, from 1."""

    def __init__(self, lacking: Container[int]) -> None:
        self.lacking = lacking
        self.asked = 0  # for the second point

    def __call__(self, request: bytes) -> list[Reply]:
        tid, _, _, unit, function, address, count = struct.unpack(">HHHBBHH", request)
        self.asked += address == 100
        lacks = address == 100 and self.asked in self.lacking
        data = struct.pack(f">{count}H", *[0xFFFF if lacks else address] * count)
        return [(0, mbap(tid, unit, bytes((function, len(data))) + data))]


async def test_a_value_that_is_away_for_a_moment_is_asked_for_again(tmp_path: Path) -> None:
    device = Lacking({2, 5})
    sink, _, problem = await poll(tmp_path, device, 4, LACKING)
    rows = [[item.value for item in record.values] for record in sink.of("g.m")]
    assert len(rows) >= 4
    assert all(row == [0, 100] for row in rows)
    assert device.asked >= len(rows) + 2
    assert problem == ""


async def test_a_value_that_stays_away_is_named_and_not_asked_for_twice(tmp_path: Path) -> None:
    device = Lacking(range(2, 1000))
    sink, counters, _ = await poll(tmp_path, device, 4, LACKING)
    first, *others = sink.of("g.m")
    assert [item.value for item in first.values] == [0, 100]
    for record in others:
        assert [item.value for item in record.values] == [0]
        assert [(item.name, item.quality) for item in record.failures] == [("v100", "no-value")]
    assert device.asked <= counters.polls + 1
