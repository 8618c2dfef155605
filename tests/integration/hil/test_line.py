"""The RS-485 line: which endpoint receives what, and each fault as often as it was armed."""

from __future__ import annotations

import asyncio
import os
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fcntl import ioctl
from functools import partial
from pathlib import Path

import pytest

from gateway_agent.fine_timer import FineTimer
from hil.bus import Fault, FaultKind, Rs485Line
from hil.wires.pty import Pty

LIMIT_S = 20
REQUEST = bytes.fromhex("010300000001840a")
ANSWER = bytes.fromhex("0103020064b9af")


class Port:
    """What a node or a gateway does: open the path, write, read what is there."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
        self.data = b""

    def write(self, data: bytes) -> None:
        assert os.write(self._fd, data) == len(data)

    def poll(self) -> bytes:
        self.data += os.read(self._fd, 4096)
        return self.data

    def close(self) -> None:
        os.close(self._fd)


@contextmanager
def ports(line: Rs485Line, *names: str) -> Iterator[list[Port]]:
    opened = [Port(line.path(name)) for name in names]
    try:
        yield opened
    finally:
        for port in opened:
            port.close()


@contextmanager
def terminal(path: str) -> Iterator[Callable[[], int]]:
    """Yield what returns how many bytes wait in a terminal that nobody reads."""
    fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
    try:
        yield lambda: int.from_bytes(ioctl(fd, termios.FIONREAD, bytes(4)), sys.byteorder)
    finally:
        os.close(fd)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await asyncio.sleep(0.002)


async def test_path_is_raw_and_a_read_never_waits() -> None:
    async with Rs485Line(["gateway", "air"]) as line:
        fd = os.open(line.path("air"), os.O_RDWR | os.O_NOCTTY)
        try:
            settings = termios.tcgetattr(fd)
            assert settings[3] & (termios.ECHO | termios.ICANON | termios.ISIG) == 0
            assert settings[1] & termios.OPOST == 0
            assert os.read(fd, 10) == b""
        finally:
            os.close(fd)


async def test_everybody_else_hears_and_nobody_hears_himself() -> None:
    every_byte = bytes(range(256))
    async with Rs485Line(["gateway", "air", "water"]) as line:
        with ports(line, "gateway", "air", "water") as (gateway, air, water):
            gateway.write(every_byte)
            await until(lambda: len(air.poll()) == 256 and len(water.poll()) == 256)
            air.write(ANSWER)
            await until(lambda: gateway.poll() == ANSWER)
            await until(lambda: water.poll() == every_byte + ANSWER)
            assert air.poll() == every_byte
        assert (line.traffic("gateway").sent, line.traffic("gateway").heard) == (256, 7)
        assert (line.traffic("water").sent, line.traffic("water").heard) == (0, 263)
        assert not line.applied


async def test_a_reader_that_was_away_gets_only_what_a_receiver_could_hold() -> None:
    async with Rs485Line(["gateway", "air"]) as line:
        traffic = partial(line.traffic, "air")
        with ports(line, "gateway") as (gateway,), terminal(line.path("air")) as holds:
            for times in range(1, 31):
                gateway.write(bytes(256))
                await until(lambda: line.traffic("gateway").sent == times * 256)  # noqa: B023
                # The kernel moves bytes to where they are counted in a thread of its own.
                await until(lambda: holds() >= min(traffic().heard, 4095))
            assert traffic().heard + traffic().lost == 30 * 256
            assert traffic().heard <= 4096
            line.flush("air")
            with ports(line, "air") as (air,):
                assert air.poll() == b""
                gateway.write(REQUEST)
                await until(lambda: air.poll() == REQUEST)


def passed(line: Rs485Line, count: int) -> bool:
    """Whether ``count`` bytes have reached the gateway or were lost on the way."""
    return line.traffic("gateway").heard + line.traffic("gateway").lost >= count


async def disturbed(
    fault: Fault, answers: int = 3, seed: int = 7, first: int = len(ANSWER)
) -> tuple[list[bytes], Rs485Line]:
    """Return what the gateway receives of ``answers`` equal answers, one by one, under one fault.

    ``first`` is what the fault makes of the first answer's length, lost bytes included.
    """
    heard: list[bytes] = []
    async with Rs485Line(["gateway", "air"], seed=seed) as line:
        line.inject(fault)
        with ports(line, "gateway", "air") as (gateway, air):
            traffic = line.traffic("gateway")
            for number in range(answers):
                air.write(ANSWER)
                await until(partial(passed, line, first + number * len(ANSWER)))
                await until(lambda: len(gateway.poll()) == traffic.heard)
                heard.append(gateway.data[len(b"".join(heard)) :])
    return heard, line


async def test_flip_changes_one_bit_of_as_many_bursts_as_armed() -> None:
    heard, line = await disturbed(Fault(FaultKind.FLIP, origin="air", times=2))
    assert line.applied == {FaultKind.FLIP: 2}
    assert heard[2] == ANSWER
    for burst in heard[:2]:
        difference = int.from_bytes(burst, "big") ^ int.from_bytes(ANSWER, "big")
        assert difference.bit_count() == 1


async def test_drop() -> None:
    heard, line = await disturbed(Fault(FaultKind.DROP, origin="air"))
    assert heard == [b"", ANSWER, ANSWER]
    assert line.traffic("gateway").lost == len(ANSWER)


async def test_duplicate() -> None:
    heard, _ = await disturbed(Fault(FaultKind.DUPLICATE, origin="air"), first=14)
    assert heard == [ANSWER + ANSWER, ANSWER, ANSWER]


async def test_noise_before_a_frame() -> None:
    heard, line = await disturbed(Fault(FaultKind.NOISE, origin="air", size=5), first=12)
    assert [len(burst) for burst in heard] == [12, 7, 7]
    assert heard[0].endswith(ANSWER)
    assert line.noise_bytes == 5


async def test_cut() -> None:
    heard, line = await disturbed(Fault(FaultKind.CUT, origin="air", size=4))
    assert heard == [ANSWER[:4], ANSWER, ANSWER]
    assert line.traffic("gateway").lost == len(ANSWER) - 4


async def test_burst_too_short_to_be_cut_passes_and_leaves_the_fault_armed() -> None:
    fault = Fault(FaultKind.CUT, origin="air", size=len(ANSWER))
    heard, line = await disturbed(fault)
    assert heard == [ANSWER] * 3
    assert not line.applied
    assert fault.applied == 0


async def test_foreign_answer_is_another_unit_with_a_good_crc() -> None:
    heard, _ = await disturbed(Fault(FaultKind.FOREIGN, origin="air", unit=9))
    # CRC of 09 03 02 00 64 by an independent CRC-16/MODBUS calculator.
    assert heard[0] == bytes.fromhex("0903020064586e")
    assert heard[1:] == [ANSWER, ANSWER]


async def test_faults_of_one_direction_leave_the_other_alone() -> None:
    heard, line = await disturbed(Fault(FaultKind.DROP, origin="gateway", times=None))
    assert heard == [ANSWER] * 3
    assert not line.applied


async def test_rate_and_seed_decide_which_bursts_are_hit() -> None:
    async def hits(seed: int) -> list[bool]:
        fault = Fault(FaultKind.DROP, origin="air", times=None, rate=0.5)
        heard, _ = await disturbed(fault, answers=12, seed=seed)
        assert fault.applied == heard.count(b"")
        return [burst == b"" for burst in heard]

    first = await hits(1)
    assert first == await hits(1)
    assert first != await hits(2)
    assert any(first)
    assert not all(first)


async def test_late_answer_comes_after_the_next_request() -> None:
    async with Rs485Line(["gateway", "air"]) as line:
        line.inject(Fault(FaultKind.DELAY, origin="air", delay_s=1.0))
        with ports(line, "gateway", "air") as (gateway, air):
            loop = asyncio.get_running_loop()
            start = loop.time()
            air.write(ANSWER)
            gateway.write(REQUEST)
            await until(lambda: air.poll() == REQUEST)
            assert gateway.poll() == b""
            await until(lambda: gateway.poll() == ANSWER)
            assert loop.time() - start >= 1.0


async def test_silenced_node_hears_and_says_nothing_until_it_is_back() -> None:
    async with Rs485Line(["gateway", "air", "water"]) as line:
        with ports(line, "gateway", "air", "water") as (gateway, air, water):
            line.silence("air", silent=True)
            gateway.write(REQUEST)
            await until(lambda: water.poll() == REQUEST)
            air.write(ANSWER)
            await until(lambda: line.traffic("gateway").lost == len(ANSWER))
            assert air.poll() == b""
            assert gateway.poll() == b""
            line.silence("air", silent=False)
            gateway.write(REQUEST)
            await until(lambda: air.poll() == REQUEST)


async def test_noise_burst_is_heard_by_all() -> None:
    async with Rs485Line(["gateway", "air"], seed=3) as line:
        with ports(line, "gateway", "air") as (gateway, air):
            line.noise(20)
            await until(lambda: len(gateway.poll()) == 20)
            assert air.poll() == gateway.data
        assert line.noise_bytes == 20


async def test_pacing_takes_the_time_of_the_bytes() -> None:
    async with Rs485Line(["gateway", "air"], baud=9600) as line:
        with ports(line, "gateway", "air") as (gateway, air):
            loop = asyncio.get_running_loop()
            start = loop.time()
            gateway.write(bytes(96))
            await until(lambda: len(air.poll()) == 96)
            # 96 bytes of 10 bits at 9600 baud are 100 ms.
            assert loop.time() - start >= 0.1


async def test_a_fine_timer_is_never_early_and_counts_only_its_last_start() -> None:
    loop = asyncio.get_running_loop()
    calls: list[float] = []
    rang = asyncio.Event()

    def on_time() -> None:
        calls.append(loop.time() - start)
        rang.set()

    timer = FineTimer(loop, on_time)
    start = loop.time()
    timer.start(0)
    timer.start(30_000_000)
    await asyncio.wait_for(rang.wait(), 10)
    timer.start(1)
    timer.close()
    timer.close()
    await asyncio.sleep(0)
    (took,) = calls
    assert took >= 0.03


async def test_unknown_and_doubled_names_say_what_is_there() -> None:
    async with Rs485Line(["gateway", "air"]) as line:
        with pytest.raises(LookupError, match="it has gateway, air"):
            line.path("soil")
        with pytest.raises(LookupError, match="soil"):
            line.inject(Fault(FaultKind.DROP, origin="soil"))
    with pytest.raises(ValueError, match="must differ"):
        Rs485Line(["air", "air"])


async def test_what_a_full_receiver_cannot_hold_is_lost_and_counted() -> None:
    pty = Pty(rx_limit=64)
    try:
        for number in range(1, 5):
            assert pty.write(bytes(15)) == 15
            # The kernel hands written bytes over in its own time.
            await until(partial(holds, pty, 15 * number))
        assert pty.write(b"0123456789") == 4
        await until(partial(holds, pty, 64))
        assert pty.write(b"x") == 0
        assert pty.overrun == 7
    finally:
        pty.close()


def holds(pty: Pty, count: int) -> bool:
    return pty.pending() == count


def test_closed_pty_gives_its_descriptors_back() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    pty = Pty()
    path = pty.path
    pty.close()
    pty.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    with pytest.raises(OSError, match="No such file"):
        os.open(path, os.O_RDWR | os.O_NOCTTY)
