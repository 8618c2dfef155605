"""Boxes that answer with another unit or transaction id, or another length: named, or allowed."""

import asyncio
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import structs

from gateway_agent.clock import SystemClock
from gateway_agent.config import (
    ConfigError,
    ProfileDevice,
    SerialBus,
    TcpBus,
    load,
)
from gateway_agent.counters import Counters
from gateway_agent.field.bus_errors import BusError
from gateway_agent.field.field import Field
from gateway_agent.field.master import Master
from gateway_agent.field.planner import plan_bus
from gateway_agent.field.reader import request_for
from protocols.modbus_client import Read, read_request

from .field_help import config_of
from .slave import PtySlave, Reply, TcpSlave, answer, mbap, raw_answer, registers, until
from .test_poller import Memory

READ = Read(4, 0, 2)
ASK = read_request(3, READ)
DATA = b"\x00\x07\x00\x08"

Change = Callable[[int, int, bytes], tuple[int, int, bytes]]  # of (transaction id, unit, data)


class Box:
    """Answers by what ``change`` makes of the answer that would be right."""

    def __init__(self, change: Change) -> None:
        self.change = change
        self.served = 0

    def __call__(self, request: bytes) -> list[Reply]:
        tid, _, _, unit, function, _, count = struct.unpack(">HHHBBHH", request)
        tid, unit, data = self.change(tid, unit, DATA[: 2 * count].ljust(2 * count, b"\x00"))
        self.served += 1
        return [(0, mbap(tid, unit, bytes((function, len(data))) + data))]


def tcp(port: int, **more: object) -> TcpBus:
    bus = TcpBus(name="net", host="127.0.0.1", port=port, timeout_ms=80, quiet_ms=5, device=())
    return structs.replace(bus, **more)


def device(**more: object) -> ProfileDevice:
    own = ProfileDevice(name="m", unit=3, profile="senseair-s8")
    return structs.replace(own, **more)


@pytest.mark.parametrize(
    ("change", "cause", "text"),
    [
        (lambda tid, unit, data: (tid + 1, unit, data), "bad_frame", "check_transaction_id"),
        (lambda tid, unit, data: (0, unit, data), "bad_frame", "check_transaction_id"),
        (lambda tid, unit, data: (tid, 255, data), "wrong_unit", "answer_unit = 255"),
        (lambda tid, unit, data: (tid, unit, data * 2), "bad_frame", "8 bytes of data instead of"),
        (lambda tid, unit, data: (tid, unit, data[2:]), "bad_frame", "2 bytes of data instead of"),
    ],
    ids=["id + 1", "id 0", "unit 255", "twice as long", "too short"],
)
async def test_it_is_named_as_what_it_is(change: Change, cause: str, text: str) -> None:
    box = Box(change)
    net = await TcpSlave(box).start()
    counters = Counters()
    master = Master(tcp(net.port), counters)
    try:
        for _ in range(2):
            with pytest.raises(BusError) as caught:
                await master.read(ASK)
            assert caught.value.cause == cause
            assert text in caught.value.detail
            assert "no answer" not in caught.value.detail
    finally:
        master.close()
        await net.close()
    assert counters.poll_errors == {cause: 2}
    assert counters.foreign_answers == box.served == 2


async def test_answers_to_earlier_requests_only_are_mentioned() -> None:
    net = await TcpSlave(Box(lambda tid, unit, data: (tid - 1, unit, data))).start()
    master = Master(tcp(net.port), Counters())
    try:
        with pytest.raises(BusError, match="check_transaction_id"):
            await master.read(ASK)
        with pytest.raises(BusError, match="no answer within 80 ms, but one to an earlier request"):
            await master.read(ASK)
    finally:
        master.close()
        await net.close()


@pytest.mark.parametrize(
    "change",
    [
        lambda tid, unit, data: (tid + 1, unit, data),
        lambda tid, unit, data: (0, unit, data),
        lambda tid, unit, data: (tid, unit, data),
    ],
    ids=["id + 1", "id 0", "the right id"],
)
async def test_any_transaction_id_may_be_allowed(change: Change) -> None:
    net = await TcpSlave(Box(change)).start()
    counters = Counters()
    master = Master(tcp(net.port, check_transaction_id=False), counters)
    try:
        for _ in range(5):
            assert await master.read(ASK) == DATA
    finally:
        master.close()
        await net.close()
    assert not counters.poll_errors
    assert not counters.foreign_answers


async def test_without_ids_a_late_answer_is_not_taken_for_the_next() -> None:
    """The rule of a line holds: first something that has another shape is asked for."""
    asked: list[int] = []

    def slow_once(request: bytes) -> list[Reply]:
        _, _, _, unit, function, _, count = struct.unpack(">HHHBBHH", request)
        asked.append(count)
        old = mbap(0, unit, bytes((function, 4)) + b"\xff\xff\xff\xff")
        if len(asked) == 1:
            return []
        data = DATA[: 2 * count].ljust(2 * count, b"\x00")
        good = mbap(0, unit, bytes((function, len(data))) + data)
        return [(0, old + good if len(asked) == 2 else good)]

    net = await TcpSlave(slow_once).start()
    counters = Counters()
    master = Master(tcp(net.port, check_transaction_id=False), counters)
    try:
        with pytest.raises(BusError, match="no answer"):
            await master.read(ASK)
        assert await master.read(ASK) == DATA
    finally:
        master.close()
        await net.close()
    assert asked[0] == asked[2] == 2 != asked[1]
    assert counters.late_replies == 1


@pytest.mark.parametrize("other", [0, 1, 255])
async def test_another_unit_in_the_answers_may_be_named(tmp_path: Path, other: int) -> None:
    net = await TcpSlave(Box(lambda tid, unit, data: (tid, other, data))).start()
    line = PtySlave(
        tmp_path,
        lambda request: [(0, raw_answer(other, DATA, 4))] if registers(request)[0] == 3 else [],
    )
    serial = SerialBus(
        name="line", port=str(line.path), baudrate=115200, timeout_ms=500, quiet_ms=5, device=()
    )
    request = request_for(device(answer_unit=other), READ)
    for bus in (tcp(net.port), serial):
        counters = Counters()
        master = Master(bus, counters)
        try:
            for _ in range(3):
                assert await master.read(request) == DATA
        finally:
            master.close()
        assert not counters.poll_errors
        assert counters.foreign_answers == 0
    line.close()
    await net.close()


async def test_a_wrong_length_on_a_line_is_no_wrong_unit(tmp_path: Path) -> None:
    line = PtySlave(tmp_path, lambda request: [(0, answer(3, 0, 77, 0, 77))])
    serial = SerialBus(
        name="line", port=str(line.path), baudrate=115200, timeout_ms=60, quiet_ms=5, device=()
    )
    master = Master(serial, Counters())
    try:
        with pytest.raises(BusError, match="function 4 with 8 bytes of data instead of 4") as error:
            await master.read(ASK)
    finally:
        master.close()
        line.close()
        await asyncio.sleep(0)
    assert error.value.cause == "bad_frame"


CONFIG = """[gateway]
id = "g"
state_dir = "state"
key = "k.pem"
[uplink]
host = "h"
receipt = "puback"
[[bus]]
name = "line"
type = "rtu"
port = "/dev/ttyUSB7"
"""


def config_with(folder: Path, *units: int, kind: str = "profile") -> Path:
    path = folder / "gateway.toml"
    text = CONFIG
    for at, unit in enumerate(units):
        text += f'[[bus.device]]\nname = "d{at}"\nunit = {unit}\nperiod_ms = {500 + 60000 * at}\n'
        text += f'kind = "{kind}"\nprofile = "senseair-s8"\n'
    path.write_text(text, encoding="utf-8")
    return path


def test_one_device_may_be_polled_with_two_periods(tmp_path: Path) -> None:
    (bus,) = load(config_with(tmp_path, 1, 1, 2)).bus
    assert [item.period_ms for item in bus.device] == [500, 60500, 120500]


@pytest.mark.parametrize("unit", [0, 248, 255])
def test_a_reserved_address_is_taken_with_a_warning(tmp_path: Path, unit: int) -> None:
    (bus,) = load(config_with(tmp_path, unit)).bus
    (warning,) = plan_bus(bus, [(READ,)]).warnings
    assert f"d0: {unit} is " in warning
    assert "only device on the line" in warning


def test_an_address_of_a_node_is_its_own(tmp_path: Path) -> None:
    path = config_with(tmp_path, 1, 1)
    node = '\n[[bus.device]]\nname = "n"\nunit = 1\nkind = "node"\nrole = "air"\n'
    node += 'uid = "0123456789abcdef01234567"\nkey = "n.key"\n'
    path.write_text(path.read_text(encoding="utf-8") + node, encoding="utf-8")
    with pytest.raises(ConfigError, match="because a node has it"):
        load(path)
    path.write_text(CONFIG + node.replace("unit = 1", "unit = 248"), encoding="utf-8")
    with pytest.raises(ConfigError, match="from 1 to 247"):
        load(path)


async def test_both_periods_of_one_device_are_polled(tmp_path: Path) -> None:
    """A late answer to one is not taken for the other: what is pending is kept by address."""
    served: list[int] = []

    def co2(request: bytes) -> list[Reply]:
        unit, function, _, count = registers(request)
        served.append(unit)
        return [(0, raw_answer(unit, b"\x00\x00\x00\x00\x00\x00\x01\x9f"[: 2 * count], function))]

    line = PtySlave(tmp_path, co2)
    fast = ProfileDevice(name="fast", unit=1, profile="senseair-s8", period_ms=20)
    slow = structs.replace(fast, name="slow", period_ms=200)
    config = config_of(
        tmp_path,
        SerialBus(
            name="line",
            port=str(line.path),
            baudrate=115200,
            quiet_ms=5,
            device=(fast, slow),
        ),
    )
    sink, counters = Memory(), Counters()
    field = Field(config, SystemClock(), sink, {}, counters)
    task = asyncio.create_task(field.run())
    try:
        await until(lambda: len(sink.of("g.slow")) >= 3)
    finally:
        task.cancel()
        await asyncio.wait({task})
        line.close()
    assert len(sink.of("g.fast")) > 2 * len(sink.of("g.slow"))
    assert not counters.poll_errors
    assert set(served) == {1}
