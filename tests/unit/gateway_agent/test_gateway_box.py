"""Behind one Modbus TCP gateway box a device is switched off; the box answers for it, late."""

import asyncio
import struct
from collections import Counter
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

PERIOD_MS = 200
BOX_S = 0.15  # the box's own time-out
DEAD = 9

POINT = """[[point]]
name = "v{0}"
register = {0}
type = "u16"
"""


class Box:
    """Serves units 1 and 2 at once; answers for unit 9 with an exception, if it is not ``on``."""

    def __init__(self, code: int) -> None:
        self.code = code
        self.on = False
        self.served: Counter[int] = Counter()  # good answers by unit
        self.refused = 0

    def __call__(self, request: bytes) -> list[Reply]:
        tid, _, _, unit, function, _, count = struct.unpack(">HHHBBHH", request)
        if unit == DEAD and not self.on:
            self.refused += 1
            return [(BOX_S, mbap(tid, unit, bytes((function | 0x80, self.code))))]
        self.served[unit] += 1
        data = struct.pack(f">{count}H", *[unit] * count)
        return [(0, mbap(tid, unit, bytes((function, len(data))) + data))]


async def test_a_device_that_answered_in_this_poll_is_asked_for_its_other_blocks(
    tmp_path: Path,
) -> None:
    head = '[profile]\nname = "x"\ntitle = "x"\nsource = "made up"\n'
    path = tmp_path / "three.toml"
    path.write_text(head + "".join(map(POINT.format, (0, 100, 200))), encoding="utf-8")

    def handler(request: bytes) -> list[Reply]:
        tid, _, _, unit, function, address, _ = struct.unpack(">HHHBBHH", request)
        if address == 100:
            return [(0, mbap(tid, unit, bytes((function | 0x80, 0x0B))))]
        return [(0, mbap(tid, unit, bytes((function, 2)) + address.to_bytes(2, "big")))]

    net = await TcpSlave(handler).start()
    own = ProfileDevice(name="m", unit=1, profile=str(path), period_ms=50)
    bus = TcpBus(name="box", host="127.0.0.1", port=net.port, timeout_ms=1000, device=(own,))
    sink = Memory()
    field = Field(config_of(tmp_path, bus), SystemClock(), sink, {}, Counters())
    task = asyncio.create_task(field.run())
    try:
        await until(lambda: sink.of("g.m"))
    finally:
        task.cancel()
        await asyncio.wait({task})
        await net.close()
    values = {item.name: item.value for item in sink.of("g.m")[0].values}
    assert values == {"v0": 0, "v200": 200}


@pytest.mark.parametrize("code", [0x0A, 0x0B])
async def test_a_silent_device_behind_a_box_costs_the_others_nothing(
    tmp_path: Path, code: int
) -> None:
    head = '[profile]\nname = "x"\ntitle = "x"\nsource = "made up"\n'
    (tmp_path / "one.toml").write_text(head + POINT.format(0), encoding="utf-8")
    blocks = "".join(POINT.format(100 * block) for block in range(4))
    (tmp_path / "four.toml").write_text(head + blocks, encoding="utf-8")
    box = Box(code)
    net = await TcpSlave(box).start()

    def device(unit: int, profile: str) -> ProfileDevice:
        path = str(tmp_path / f"{profile}.toml")
        return ProfileDevice(name=f"d{unit}", unit=unit, profile=path, period_ms=PERIOD_MS)

    config = config_of(
        tmp_path,
        TcpBus(
            name="box",
            host="127.0.0.1",
            port=net.port,
            timeout_ms=1000,
            device=(device(1, "one"), device(2, "one"), device(DEAD, "four")),
        ),
    )
    sink = Memory()
    counters = Counters()
    field = Field(config, SystemClock(), sink, {}, counters)
    task = asyncio.create_task(field.run())
    try:
        await until(lambda: box.served[1] >= 25 and box.served[2] >= 25)
        # One block of each of the three polls before the quarantine, and few probes.
        assert field.status(0)[2].state == "quarantined"
        assert 3 <= box.refused <= 6
        assert field.status(0)[0].skipped == field.status(0)[1].skipped == 0
        assert "exception" in field.status(0)[2].problem
        box.on = True
        await until(lambda: box.served[DEAD] >= 8)
        await until(lambda: sink.gaps_of(f"g.d{DEAD}", "bus_timeout"))
    finally:
        task.cancel()
        await asyncio.wait({task})
        await net.close()
    assert counters.poll_errors[f"exception_{code:02x}"] == box.refused
    assert {gap.cause for gap in sink.gaps(f"g.d{DEAD}")} - {"bus_busy"} == {"bus_timeout"}
    for unit in (1, 2):
        assert {gap.cause for gap in sink.gaps(f"g.d{unit}")} <= {"bus_busy"}
