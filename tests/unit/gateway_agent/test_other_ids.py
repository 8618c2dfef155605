"""Boxes that answer with another unit or transaction id, or another length: named, or allowed."""

import asyncio
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import structs

from gateway_agent.config import ProfileDevice, SerialBus, TcpBus
from gateway_agent.counters import Counters
from gateway_agent.field.bus_errors import BusError
from gateway_agent.field.master import Master
from gateway_agent.field.reader import request_for
from protocols.modbus_client import Read, read_request

from .slave import PtySlave, Reply, TcpSlave, answer, mbap, raw_answer, registers

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
