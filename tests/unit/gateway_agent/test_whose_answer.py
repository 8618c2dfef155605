"""Whose answer is it? On a line an answer may be a late one, or that to another master."""

import struct
from pathlib import Path

import pytest

from gateway_agent.field.bus_errors import BusError, RefusedError
from gateway_agent.field.master import Master
from protocols.modbus_client import Read, read_request

from .line_help import DATA, GOOD, TEN, Script, obedient, on_line
from .slave import PtySlave, Reply, answer, frame, refusal, registers, until


async def test_a_late_refusal_is_not_taken_for_the_answer_to_the_next_request(
    tmp_path: Path,
) -> None:
    """The unit is one answer behind, and the one that it refused was not the newest."""
    first, second, third = (read_request(1, Read(4, *at)) for at in ((0, 2), (50, 4), (200, 4)))

    def answer_to(request: bytes) -> bytes:
        unit, function, address, count = registers(request)
        return answer(unit, *range(address, address + count), function=function)

    number = 0

    def handler(request: bytes) -> list[Reply]:
        nonlocal number
        number += 1
        late: dict[int, list[Reply]] = {
            1: [],
            2: [(0, refusal(1, 4, 6))],
            3: [(0, answer_to(second.adu)), (0.01, answer_to(request))],
        }
        return late.get(number, [(0, answer_to(request))])

    async def run(master: Master, slave: PtySlave) -> None:
        with pytest.raises(BusError, match="no answer"):
            await master.read(first)
        with pytest.raises(RefusedError):
            await master.read(second)
        assert await master.read(third) == struct.pack(">4H", *range(200, 204))
        assert await master.read(second) == struct.pack(">4H", *range(50, 54))

    assert (await on_line(tmp_path, handler, run)).late_replies == 1


async def test_a_unit_that_refuses_everything_is_asked_for_no_more_than_twice(
    tmp_path: Path,
) -> None:
    """Where a refusal may be a late one, each read costs one probe, and no time-out."""
    refuse = Script([], [(0, refusal(1, 4, 6))])

    async def run(master: Master, slave: PtySlave) -> None:
        with pytest.raises(BusError, match="no answer"):
            await master.read(TEN)
        for _ in range(5):
            with pytest.raises(RefusedError):
                await master.read(TEN)
        assert len(slave.requests) <= 11

    await on_line(tmp_path, refuse, run)


async def test_the_answer_to_another_master_that_asks_meanwhile_is_not_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = frame(bytes((1, 4, 1, 0, 0, 10)))
    theirs = answer(1, *range(10))

    async def run(master: Master, slave: PtySlave) -> None:
        slave.handler = Script([(0, other), (0.005, theirs), (0.01, GOOD)])
        with pytest.raises(BusError, match="another master asked it for as much") as caught:
            await master.read(TEN)
        assert caught.value.cause == "bad_frame"
        slave.handler = obedient
        assert await master.read(TEN) == DATA

    counters = await on_line(tmp_path, obedient, run)
    assert counters.poll_errors == {"bad_frame": 1}
    assert "another master asks unit 1" in caplog.text


async def test_an_answer_that_another_master_waits_for_is_not_taken(tmp_path: Path) -> None:
    """It asked just before us, and its answer comes first."""
    other = frame(bytes((1, 4, 1, 0, 0, 10)))
    theirs = answer(1, *range(10))

    async def run(master: Master, slave: PtySlave) -> None:
        assert await master.read(TEN) == DATA
        slave.send(other)
        await until(lambda: master._silence.is_disturbed)
        slave.handler = handler
        assert await master.read(TEN) == DATA
        assert await master.read(TEN) == DATA

    due = [theirs]

    def handler(request: bytes) -> list[Reply]:
        first = [(0.0, due.pop())] if due else []
        return [*first, (0.01, obedient(request)[0][1])]

    counters = await on_line(tmp_path, obedient, run)
    assert not counters.poll_errors
