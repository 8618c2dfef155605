"""The master against slaves that misbehave: every answer it gives is the one to its request."""

import asyncio
import os
import resource
import struct
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gateway_agent.config import Bus, RtuOverTcpBus, TcpBus
from gateway_agent.counters import Counters
from gateway_agent.field.bus_errors import BusDownError, BusError, RefusedError
from gateway_agent.field.master import Master
from protocols.modbus_client import Read, read_request
from protocols.wire.modbus.pdu import READ_INPUT

from .line_help import (
    DATA,
    GOOD,
    QUIET_MS,
    TEN,
    TIMEOUT_MS,
    VALUES,
    Script,
    obedient,
    on_line,
)
from .slave import (
    Handler,
    PtySlave,
    Reply,
    TcpSlave,
    answer,
    frame,
    mbap,
    raw_answer,
    refusal,
    registers,
    until,
)


def tcp_bus(port: int, kind: str = "tcp", timeout_ms: int = TIMEOUT_MS) -> Bus:
    kinds: dict[str, type[TcpBus | RtuOverTcpBus]] = {
        "tcp": TcpBus,
        "rtu-over-tcp": RtuOverTcpBus,
    }
    return kinds[kind](
        name="net",
        host="127.0.0.1",
        port=port,
        baudrate=115200,
        timeout_ms=timeout_ms,
        quiet_ms=QUIET_MS,
        device=(),
    )


@pytest.mark.parametrize(
    "replies",
    [
        [(0.0, GOOD)],
        [(0.001 * i, bytes((byte,))) for i, byte in enumerate(GOOD)],
        [(0.0, b"\xff\x00" + GOOD)],
        [(0.0, b"\x01\x04\x14" + GOOD)],  # noise that looks like the answer's own beginning
        [(0.0, b"\x55\x03\x40" + GOOD)],  # noise that looks like a long frame of another unit
        [(0.0, b"\x01\x84" + GOOD)],
        [(0.0, answer(2, 7, 8) + GOOD)],  # a frame of another unit, then ours, in one piece
        [(0.0, TEN.adu + GOOD)],  # an adapter that echoes
        [(0.0, GOOD[:-1] + bytes((GOOD[-1] ^ 1,)) + GOOD)],  # damaged, then whole
    ],
    ids=["whole", "bytes", "noise", "header", "length", "refusal", "foreign", "echo", "damaged"],
)
async def test_the_answer_is_found(tmp_path: Path, replies: list[Reply]) -> None:
    async def run(master: Master, slave: PtySlave) -> None:
        assert await master.read(TEN) == DATA
        assert await master.read(TEN) == DATA

    counters = await on_line(tmp_path, Script(replies), run)
    assert counters.polls == 2
    assert not counters.poll_errors


@pytest.mark.parametrize(
    ("reply", "cause", "text", "foreign"),
    [
        (b"", "bus_timeout", f"no answer within {TIMEOUT_MS} ms", 0),
        (GOOD[:-1] + bytes((GOOD[-1] ^ 0x40,)), "crc", "damaged or cut short", 0),
        (GOOD[:9], "crc", "damaged or cut short", 0),
        (b"\x00\xfe\xff\x13", "crc", "4 bytes that are no frame", 0),
        (answer(7, *VALUES), "wrong_unit", "unit 7 answered function 4", 1),
        (answer(1, *VALUES, function=3), "bad_frame", "unit 1 answered function 3 instead of 4", 1),
        (answer(1, *VALUES[:9]), "bad_frame", "18 bytes of data instead of 20", 1),
        (answer(1, *VALUES, 110), "bad_frame", "22 bytes of data instead of 20", 1),
        (answer(7, 1) + answer(8, 2), "wrong_unit", "unit 8 answered", 2),
    ],
    ids=["silent", "crc", "cut", "noise", "unit", "function", "short", "long", "two"],
)
async def test_what_is_no_answer_has_a_cause(
    tmp_path: Path, reply: bytes, cause: str, text: str, foreign: int
) -> None:
    async def run(master: Master, slave: PtySlave) -> None:
        with pytest.raises(BusError) as caught:
            await master.read(TEN)
        assert caught.value.cause == cause
        assert text in caught.value.detail
        slave.handler = obedient
        assert await master.read(TEN) == DATA

    counters = await on_line(tmp_path, Script([(0, reply)]), run)
    assert counters.poll_errors == {cause: 1}
    assert counters.foreign_answers == foreign
    assert counters.late_replies == 0


async def test_an_echo_is_no_noise(tmp_path: Path) -> None:
    async def run(master: Master, slave: PtySlave) -> None:
        assert await master.read(TEN) == DATA
        assert master.counters.noise_bytes == 0

    await on_line(tmp_path, Script([(0, TEN.adu + GOOD)]), run)


async def test_an_exception_is_counted_by_code(tmp_path: Path) -> None:
    async def run(master: Master, slave: PtySlave) -> None:
        for code in (2, 6, 2):
            slave.handler = Script([(0, refusal(1, 4, code))])
            with pytest.raises(RefusedError) as caught:
                await master.read(TEN)
            assert caught.value.code == code

    counters = await on_line(tmp_path, obedient, run)
    assert counters.poll_errors == {"exception_02": 2, "exception_06": 1}


async def test_a_late_answer_is_never_taken_for_the_next(tmp_path: Path) -> None:
    """The old value comes while the new one is waited for, and both look alike."""
    old = answer(1, *(value + 1000 for value in VALUES))

    number = 0

    def handler(request: bytes) -> list[Reply]:
        nonlocal number
        number += 1
        late: dict[int, list[Reply]] = {1: [], 2: [(0, old), (0.01, obedient(request)[0][1])]}
        return late.get(number, obedient(request))

    async def run(master: Master, slave: PtySlave) -> None:
        with pytest.raises(BusError, match=f"no answer within {TIMEOUT_MS} ms"):
            await master.read(TEN)
        assert await master.read(TEN) == DATA
        assert await master.read(TEN) == DATA
        counts = [registers(request)[3] for request in slave.requests]
        # Between the two reads stands a probe whose answer has another length.
        assert counts[0] == 10
        assert counts[1] != 10
        assert counts[2:] == [10, 10]

    counters = await on_line(tmp_path, handler, run)
    assert counters.late_replies == 1
    assert counters.foreign_answers == 0


async def test_an_answer_is_not_waited_for_longer_than_the_caller_allows(tmp_path: Path) -> None:
    """The next request is another one's, and due; the answer that was too late is not its."""
    five = read_request(1, Read(READ_INPUT, 0, 5))

    async def run(master: Master, slave: PtySlave) -> None:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        with pytest.raises(BusError, match="no answer"):
            await master.ask(five, begin + TIMEOUT_MS / 4000)
        assert loop.time() - begin < TIMEOUT_MS / 2000
        slave.handler = Script([(0.0, answer(1, *VALUES[:5])), (0.01, GOOD)])
        assert await master.read(TEN) == DATA
        slave.handler = Script([(TIMEOUT_MS / 2000, GOOD)])
        assert await master.read(TEN) == DATA, "with the whole timeout again"

    counters = await on_line(tmp_path, Script([(0, b"")]), run)
    assert counters.late_replies == 1


async def test_a_late_answer_between_requests_is_drained(tmp_path: Path) -> None:
    async def run(master: Master, slave: PtySlave) -> None:
        with pytest.raises(BusError):
            await master.read(TEN)
        slave.send(answer(1, *(value + 1 for value in VALUES)))
        slave.handler = obedient
        assert await master.read(TEN) == DATA

    counters = await on_line(tmp_path, Script([(0, b"")]), run)
    assert counters.late_replies == 1


async def test_a_late_answer_does_not_disturb_another_unit(tmp_path: Path) -> None:
    other = read_request(2, Read(READ_INPUT, 0, 10))

    async def run(master: Master, slave: PtySlave) -> None:
        with pytest.raises(BusError):
            await master.read(TEN)
        slave.handler = Script(
            [(0.0, answer(1, *reversed(VALUES))), (0.01, answer(2, *VALUES))],
        )
        assert await master.read(other) == DATA

    counters = await on_line(tmp_path, Script([(0, b"")]), run)
    assert counters.late_replies == 1
    assert counters.poll_errors == {"bus_timeout": 1}


async def test_time_in_which_the_gateway_stood_still_does_not_count(tmp_path: Path) -> None:
    """The whole process stops for two timeouts while the device is answering."""

    def handler(request: bytes) -> list[Reply]:
        time.sleep(2 * TIMEOUT_MS / 1000)
        return [(0.001, GOOD)]

    async def run(master: Master, slave: PtySlave) -> None:
        assert await master.read(TEN) == DATA

    assert not (await on_line(tmp_path, handler, run)).poll_errors


async def test_a_babbling_line_is_used_again_when_it_falls_silent(tmp_path: Path) -> None:
    async def run(master: Master, slave: PtySlave) -> None:
        with pytest.raises(BusError):
            await master.read(TEN)
        loop = asyncio.get_running_loop()
        for step in range(20):
            loop.call_later(0.005 * step, slave.send, b"\xfe\xfe\xfe")
        slave.handler = obedient
        assert await master.read(TEN) == DATA
        assert master.counters.noise_bytes == 4 + 60

    counters = await on_line(tmp_path, Script([(0, b"\xfe\xfe\xfe\xfe")]), run)
    assert counters.poll_errors == {"crc": 1}


async def test_a_port_that_vanishes_and_returns(tmp_path: Path) -> None:
    async def run(master: Master, slave: PtySlave) -> None:
        assert await master.read(TEN) == DATA
        slave.unplug()
        with pytest.raises(BusError):
            await master.read(TEN)
        with pytest.raises(BusDownError, match="line"):
            await master.read(TEN)
        slave.plug()
        deadline = asyncio.get_running_loop().time() + 20
        while True:
            try:
                assert await master.read(TEN) == DATA
                break
            except BusDownError:
                assert asyncio.get_running_loop().time() < deadline
                await asyncio.sleep(0.02)

    counters = await on_line(tmp_path, obedient, run)
    assert counters.poll_errors["bus_down"] >= 1


async def test_a_cancelled_request_leaves_nothing_behind(tmp_path: Path) -> None:
    """Its answer comes into the next request and is not taken for that one's."""

    async def run(master: Master, slave: PtySlave) -> None:
        task = asyncio.create_task(master.read(TEN))
        await until(lambda: slave.requests)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        slave.handler = obedient
        slave.send(answer(1, *reversed(VALUES)))
        assert await master.read(TEN) == DATA

    assert (await on_line(tmp_path, Script([]), run)).late_replies == 1


# --- TCP ----------------------------------------------------------------------------------------


async def on_net(
    handler: Handler, test: Callable[[Master, TcpSlave], Awaitable[None]], kind: str = "tcp"
) -> Counters:
    counters = Counters()
    slave = await TcpSlave(handler).start()
    master = Master(tcp_bus(slave.port, kind), counters)
    try:
        await test(master, slave)
    finally:
        master.close()
        await asyncio.sleep(0)
        await slave.close()
    return counters


PDU = b"\x04\x14" + DATA


def echo_tid(request: bytes) -> list[Reply]:
    (tid,) = struct.unpack(">H", request[:2])
    return [(0, mbap(tid, 1, PDU))]


@pytest.mark.parametrize("cut", [0, 1, 5, 7, 8, 20])
async def test_tcp_answers_may_come_cut(cut: int) -> None:
    def handler(request: bytes) -> list[Reply]:
        data = echo_tid(request)[0][1]
        return [(0, data[:cut]), (0.01, data[cut:])] if cut else [(0, data)]

    async def run(master: Master, slave: TcpSlave) -> None:
        for _ in range(3):
            assert await master.read(TEN) == DATA
        assert slave.requests[0] == bytes.fromhex("000100000006 01 04 0000 000a")
        assert slave.connections == 1

    counters = await on_net(handler, run)
    assert counters.polls == 3


async def test_tcp_late_and_foreign_answers_are_known_by_their_ids() -> None:
    def handler(request: bytes) -> list[Reply]:
        (tid,) = struct.unpack(">H", request[:2])
        if tid == 1:
            return []
        late = mbap(1, 1, b"\x04\x14" + bytes(20))
        foreign = mbap(tid, 9, PDU)
        short = mbap(tid, 1, b"\x04\x02\x00\x00")
        return [(0, late + foreign + short + mbap(tid, 1, PDU))]

    async def run(master: Master, slave: TcpSlave) -> None:
        with pytest.raises(BusError) as caught:
            await master.read(TEN)
        assert caught.value.cause == "bus_timeout"
        assert await master.read(TEN) == DATA

    counters = await on_net(handler, run)
    assert counters.late_replies == 1
    assert counters.foreign_answers == 2


async def test_tcp_peer_that_speaks_something_else_is_connected_anew() -> None:
    async def run(master: Master, slave: TcpSlave) -> None:
        with pytest.raises(BusError, match="MBAP header: expected protocol id 0"):
            await master.read(TEN)
        slave.handler = echo_tid
        assert await master.read(TEN) == DATA
        assert slave.connections == 2

    counters = await on_net(Script([(0, b"HTTP/1.1 400 Bad Request\r\n")]), run)
    assert counters.poll_errors == {"crc": 1}


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        # A serial server that passes bytes on.
        (lambda tid: answer(1, 7), "7 bytes within .* no whole answer; .*rtu-over-tcp"),
        # Its header gives one byte more than come.
        (lambda tid: mbap(tid, 1, PDU + b"\0")[:-1], "29 bytes within"),
        (lambda tid: mbap(tid, 1, b"\x04\x16" + DATA), "22 bytes of data instead of 20"),
    ],
    ids=["RTU", "short", "byte count"],
)
async def test_tcp_what_is_no_answer_is_named(reply: Callable[[int], bytes], text: str) -> None:
    def handler(request: bytes) -> list[Reply]:
        return [(0, reply(struct.unpack(">H", request[:2])[0]))]

    async def run(master: Master, slave: TcpSlave) -> None:
        with pytest.raises(BusError, match=text) as caught:
            await master.read(TEN)
        assert caught.value.cause == "bad_frame"

    await on_net(handler, run)


async def test_tcp_a_late_answer_gives_the_next_request_its_time_anew() -> None:
    """A box was waiting for a silent device until then, and asks the next one only now."""

    def handler(request: bytes) -> list[Reply]:
        (tid,) = struct.unpack(">H", request[:2])
        if tid == 1:
            return [(1.75 * TIMEOUT_MS / 1000, mbap(1, 1, b"\x84\x0b"))]
        return [(1.2 * TIMEOUT_MS / 1000, mbap(tid, 2, PDU))]

    async def run(master: Master, slave: TcpSlave) -> None:
        with pytest.raises(BusError, match="no answer"):
            await master.read(TEN)
        assert await master.read(read_request(2, Read(READ_INPUT, 0, 10))) == DATA

    counters = await on_net(handler, run)
    assert counters.late_replies == 1


async def test_tcp_a_unit_is_waited_for_longer_behind_one_that_was_silent() -> None:
    """The box waits for that one, silent itself, and serves nobody meanwhile."""

    def handler(request: bytes) -> list[Reply]:
        tid, unit = struct.unpack(">HxxxxB", request[:7])
        return [] if unit == 1 else [(1.5 * TIMEOUT_MS / 1000, mbap(tid, 2, PDU))]

    async def run(master: Master, slave: TcpSlave) -> None:
        other = read_request(2, Read(READ_INPUT, 0, 10))
        with pytest.raises(BusError, match=f"no answer within {TIMEOUT_MS} ms"):
            await master.read(TEN)
        assert await master.read(other) == DATA
        with pytest.raises(BusError, match=f"no answer within {TIMEOUT_MS} ms"):
            await master.read(other)

    await on_net(handler, run)


async def test_tcp_late_answers_without_end_hold_no_request_for_ever() -> None:
    def handler(request: bytes) -> list[Reply]:
        late = mbap(1, 1, PDU)
        return [] if request[1] == 1 else [(0.01 * step, late) for step in range(400)]

    async def run(master: Master, slave: TcpSlave) -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(BusError, match="no answer"):
            await master.read(TEN)
        begun = loop.time()
        with pytest.raises(BusError, match="no answer"):
            await master.read(TEN)
        assert loop.time() - begun < 3.9

    await on_net(handler, run)


async def test_tcp_peer_gone_silent_is_connected_anew() -> None:
    async def run(master: Master, slave: TcpSlave) -> None:
        for _ in range(3):
            with pytest.raises(BusError):
                await master.read(TEN)
        slave.handler = echo_tid
        assert await master.read(TEN) == DATA
        assert slave.connections == 2

    await on_net(Script([]), run)


async def test_tcp_exception_answer() -> None:
    def handler(request: bytes) -> list[Reply]:
        (tid,) = struct.unpack(">H", request[:2])
        return [(0, mbap(tid, 1, b"\x84\x02"))]

    async def run(master: Master, slave: TcpSlave) -> None:
        with pytest.raises(RefusedError, match="exception 02"):
            await master.read(TEN)

    await on_net(handler, run)


async def test_rtu_over_tcp_keeps_the_rules_of_a_line() -> None:
    async def run(master: Master, slave: TcpSlave) -> None:
        assert await master.read(TEN) == DATA
        slave.handler = Script([(0, answer(9, 1))])
        with pytest.raises(BusError, match="unit 9 answered"):
            await master.read(TEN)
        slave.handler = obedient
        assert await master.read(TEN) == DATA

    counters = await on_net(obedient, run, "rtu-over-tcp")
    assert counters.foreign_answers == 1


async def test_nobody_listens() -> None:
    counters = Counters()
    slave = await TcpSlave(echo_tid).start()
    await slave.close()
    master = Master(tcp_bus(slave.port), counters)
    for _ in range(5):
        with pytest.raises(BusDownError, match=f"127.0.0.1:{slave.port}"):
            await master.read(TEN)
    master.close()
    # Attempts have a distance: asking again does not hammer the peer.
    assert counters.poll_errors == {"bus_down": 1}


def test_frames_of_the_slave_are_real() -> None:
    assert frame(bytes.fromhex("018302")) == bytes.fromhex("018302c0f1")
    assert raw_answer(1, b"\x00\x2a", 3)[:5] == bytes.fromhex("010302002a")


async def test_a_port_is_read_that_got_a_high_number(tmp_path: Path) -> None:
    """Beside a thousand connections; select(2) takes no number above 1023."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1200), hard))
    others = [os.open("/dev/null", os.O_RDONLY) for _ in range(1024)]

    async def run(master: Master, slave: PtySlave) -> None:
        assert await master.read(TEN) == DATA

    try:
        await on_line(tmp_path, obedient, run)
    finally:
        for other in others:
            os.close(other)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
