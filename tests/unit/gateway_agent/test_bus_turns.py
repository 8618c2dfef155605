"""Turns of a technician on a bus that is polled: what the line saw, counted at its other end."""

import asyncio
import logging
import os
import struct
import termios
from itertools import pairwise
from pathlib import Path

import pytest

from gateway_agent.field import bus_turns
from protocols.modbus_client.turn import TurnAnswer, TurnQuestion

from .frames_of_nodes import AIR_WORDS
from .slave import Reply, answer, frame, refusal, until
from .test_poller import NODE, OTHER, PERIOD_MS, TIMEOUT_MS, Bench, run

SETTINGS = "0300000001"  # read holding register 0
SELECT_FREE = "100190000102abcd"  # write one register


async def asked(bench: Bench, pdu: str, unit: int = 1, baudrate: int = 0) -> TurnAnswer:
    question = TurnQuestion("line", unit, pdu, baudrate)
    return await bench.field.turn(question, "wang")


def extra(bench: Bench, reply: bytes, function: int = 3) -> None:
    """Let unit 1 answer a function with ``reply`` and go on with what is polled."""
    polled = bench.slave.handler

    def handle(request: bytes) -> list[Reply]:
        if request[0] == 1 and request[1] == function:
            return [(0, reply)] if reply else []
        return list(polled(request))

    bench.slave.handler = handle


async def test_what_a_unit_answers_passes_unchanged(tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        await until(lambda: bench.sink.seqs() == [1])
        extra(bench, answer(1, 0x1234, function=3))
        assert await asked(bench, SETTINGS) == TurnAnswer("03021234")
        extra(bench, refusal(1, 3, 2))
        assert await asked(bench, SETTINGS) == TurnAnswer("8302")
        extra(bench, b"")
        silent = await asked(bench, SETTINGS)
        assert f"no answer within {TIMEOUT_MS} ms" in silent.silence
        assert not silent.noise_bytes
        extra(bench, b"\x01\x03\x02\x00\x00\xff\xff")
        assert (await asked(bench, SETTINGS)).noise_bytes == 7
        extra(bench, frame(b"\x01\x10\x01\x90\x00\x01"), 0x10)
        assert await asked(bench, SELECT_FREE) == TurnAnswer("1001900001")
        assert await asked(bench, "") == TurnAnswer(baudrate=115200)
        assert bench.slave.requests.count(frame(bytes((1,)), bytes.fromhex(SELECT_FREE))) == 1
        await until(lambda: bench.field.slots_unaccounted() == 0)

    bench = await run(tmp_path, test)
    writes = [each for each in bench.slave.requests if each[1] in (3, 0x10)]
    assert bench.counters.site_requests == len(writes) == 5
    assert bench.counters.site_refused == 0


@pytest.mark.parametrize(
    ("unit", "pdu", "why"),
    [
        (0, SELECT_FREE, "expected 1 to 247, got 0"),
        (248, SETTINGS, "expected 1 to 247, got 248"),
        (1, "0500010000", "identification 2B 0E, got 05 00"),
        (1, "0300000000", "expected 1 to 125"),
        (1, "03ffff0002", "up to 65535"),
        (1, "100190000104abcd", "data of a write: expected 2, got 2"),
        (1, "10019000020400", "data of a write"),
        (1, "17000000010190000102", "data of a write"),
        (1, "17000000000190000102abcd", "expected 1 to 125, up to 65535, got 0 + 0"),
        (1, "zz", "non-hexadecimal"),
        (1, "03", "got 03"),
        (2, SELECT_FREE, "unit 2 is co2, no node of ours"),
    ],
)
async def test_what_no_node_takes_is_refused_and_never_on_the_line(
    tmp_path: Path, unit: int, pdu: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(bench: Bench) -> None:
        await until(lambda: bench.sink.seqs() == [1])
        refused = await asked(bench, pdu, unit)
        assert why in refused.error
        assert not refused.pdu

    bench = await run(tmp_path, test)
    assert {each[0] for each in bench.slave.requests} <= {1, 2}
    assert {each[1] for each in bench.slave.requests} == {4}
    assert (bench.counters.site_requests, bench.counters.site_refused) == (0, 1)
    assert "a request of wang was refused" in caplog.text


async def test_a_late_answer_to_a_poll_is_not_taken_for_that_to_a_turn(tmp_path: Path) -> None:
    late = f"04{0:04x}{AIR_WORDS:04x}"  # what is polled, too

    async def test(bench: Bench) -> None:
        await until(lambda: bench.sink.seqs() == [1])
        bench.line.spoil.append(lambda reply: [(TIMEOUT_MS / 1000 + 0.03, reply)])
        await until(lambda: not bench.line.spoil)
        bench.line.seq = 9
        found = bytes.fromhex((await asked(bench, late)).pdu)
        assert struct.unpack_from(">I", found, 2 + 8) == (9,)

    await run(tmp_path, test)


async def test_polls_keep_their_half_and_each_slot_is_answered_or_named(tmp_path: Path) -> None:
    """Tools ask without a pause on a bus whose polls want more time than there is."""
    took_s = 1.5 * PERIOD_MS / 1000

    async def test(bench: Bench) -> None:
        await until(lambda: bench.sink.seqs() == [1])
        polled = bench.slave.handler

        def handle(request: bytes) -> list[Reply]:
            if request[1] == 3:
                return [(took_s, answer(1, 7, function=3))]
            return [(took_s / 2, reply) for _, reply in polled(request)]

        bench.slave.handler = handle
        loop = asyncio.get_running_loop()
        before = len(bench.slave.requests)
        begin = loop.time()

        async def flood() -> None:
            while loop.time() < begin + 1:
                await asked(bench, SETTINGS)

        await asyncio.gather(*(flood() for _ in range(bus_turns.MAX_WAITING)))
        seen = bench.slave.requests[before:]
        turns = [each for each in seen if each[1] == 3]
        polls = [each for each in seen if each[1] == 4]
        # After each turn a poll is due, which goes first.
        assert len(turns) >= 5
        assert len(polls) >= len(turns)
        assert not any(a[1] == b[1] == 3 for a, b in pairwise(seen))
        await until(lambda: bench.field.slots_unaccounted() == 0)

    bench = await run(tmp_path, test)
    missed = sum(gap.slots or 0 for gap in bench.sink.gaps_of(OTHER, "operator"))
    assert missed > 5
    details = {gap.detail for gap in bench.sink.gaps_of(OTHER, "operator")}
    assert all("a technician on site had the bus" in detail for detail in details)
    # The line's own count: each slot of the device is a request or in a gap.
    answers = [each for each in bench.slave.requests if each[0] == 2]
    mark = bench.sink.marks[OTHER].slots
    assert mark is not None
    named = sum(gap.slots or 0 for gap in bench.sink.gaps(OTHER))
    first = next(each for each in bench.sink.of(OTHER) if each.readings)
    slots = round((mark.due_ms - first.stamp.resp_ms) / PERIOD_MS)
    assert abs(len(answers) + named - slots) <= 2


async def test_another_speed_is_for_one_turn(tmp_path: Path) -> None:
    speeds: list[tuple[int, int]] = []

    async def test(bench: Bench) -> None:
        await until(lambda: bench.sink.seqs() == [1])
        polled = bench.slave.handler

        def handle(request: bytes) -> list[Reply]:
            port = os.open(bench.slave.path, os.O_RDWR | os.O_NOCTTY)
            speeds.append((request[1], termios.tcgetattr(port)[4]))
            os.close(port)
            return [(0, answer(1, 7, function=3))] if request[1] == 3 else list(polled(request))

        bench.slave.handler = handle
        assert await asked(bench, SETTINGS, baudrate=19200) == TurnAnswer("03020007")
        seen = len(speeds)
        await until(lambda: len(speeds) > seen + 4)

    await run(tmp_path, test)
    assert {speed for function, speed in speeds if function == 3} == {termios.B19200}
    assert {speed for function, speed in speeds if function == 4} == {termios.B115200}


async def test_who_has_gone_away_asks_nothing(tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        await until(lambda: bench.sink.seqs() == [1])
        bench.sink.gate.clear()
        await until(lambda: bench.field.queue.full or bench.sink.held)
        tasks = [asyncio.ensure_future(asked(bench, SETTINGS)) for _ in range(6)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        refused = [task for task in tasks if task.done() and not task.cancelled()]
        bench.sink.gate.set()
        await samples_after(bench)
        assert len(refused) <= 2

    bench = await run(tmp_path, test)
    assert not any(each[1] == 3 for each in bench.slave.requests)


async def samples_after(bench: Bench) -> None:
    """Wait for ten more requests."""
    seen = len(bench.slave.requests)
    await until(lambda: len(bench.slave.requests) > seen + 10)


async def test_writes_are_in_the_log_one_by_one_and_reads_by_the_minute(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, bus_turns.__name__)

    async def test(bench: Bench) -> None:
        await until(lambda: bench.sink.seqs() == [1])
        extra(bench, frame(b"\x01\x10\x01\x90\x00\x01"), 0x10)
        for _ in range(3):
            await asked(bench, SELECT_FREE)
            await asked(bench, f"04{0:04x}{AIR_WORDS:04x}")

    await run(tmp_path, test)
    lines = [record.message for record in caplog.records if record.name == bus_turns.__name__]
    assert lines.count("bus line: wang writes to unit 1, register 0x0190 + 1") == 3
    assert [line for line in lines if "reads" in line] == ["bus line: wang reads unit 1"]


async def test_a_bus_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    async def test(bench: Bench) -> None:
        found = await bench.field.turn(TurnQuestion("hall", 1, SETTINGS), "wang")
        assert found.error == "hall: expected a bus that is polled here: line"

    assert NODE in (await run(tmp_path, test)).sink.marks
