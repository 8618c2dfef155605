"""The full-duplex line: both ways at once, and each fault in the direction it was armed for."""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from hil.bus import DuplexLine, Fault, FaultKind
from hil.wires.pty import Pty

BAUD = 115_200
LIMIT_S = 20


class Link:
    """A line whose two ends are read into ``heard`` as they come."""

    def __init__(self, line: DuplexLine) -> None:
        self.line = line
        self.heard = {name: bytearray() for name in line.names}
        self._fds = {n: os.open(line.path(n), os.O_RDWR | os.O_NOCTTY) for n in line.names}

    def write(self, name: str, data: bytes) -> None:
        assert os.write(self._fds[name], data) == len(data)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not condition():
                for name, fd in self._fds.items():
                    self.heard[name] += os.read(fd, 4096)
                await asyncio.sleep(0.001)

    def close(self) -> None:
        for fd in self._fds.values():
            os.close(fd)


@asynccontextmanager
async def linked(seed: int = 5, baud: int | None = None) -> AsyncIterator[Link]:
    ends = {"gateway": Pty(4095), "hall": Pty(4095)}
    async with DuplexLine(ends, seed=seed, baud=baud) as line:
        link = Link(line)
        try:
            yield link
        finally:
            link.close()


async def test_both_ends_send_at_once_at_full_speed_and_nothing_collides() -> None:
    up, down = random.Random(1).randbytes(1152), random.Random(2).randbytes(1152)
    async with linked(baud=BAUD) as link:
        begun = time.monotonic()
        link.write("hall", up)
        link.write("gateway", down)
        await link.until(lambda: len(link.heard["gateway"]) + len(link.heard["hall"]) == 2304)
        assert link.heard == {"gateway": up, "hall": down}
        # 1,152 bytes of ten bits take 0.1 s; one after the other they would take twice that.
        assert time.monotonic() - begun >= 0.1
        last = max(burst.end_ns for burst in link.line.trace.bursts)
        first = min(burst.start_ns for burst in link.line.trace.bursts)
        assert 100e6 <= last - first < 190e6
        assert (link.line.sent("hall"), link.line.sent("gateway")) == (1152, 1152)


@pytest.mark.parametrize(("origin", "hit"), [("hall", "gateway"), ("gateway", "hall")])
async def test_a_byte_fault_of_one_end_leaves_the_other_direction_alone(
    origin: str, hit: str
) -> None:
    data = bytes(1000)
    async with linked() as link:
        fault = Fault(FaultKind.BYTE_FLIP, origin=origin, times=None, rate=0.01)
        link.line.inject(fault)
        for name in link.heard:
            link.write(name, data)
        await link.until(lambda: all(len(heard) == 1000 for heard in link.heard.values()))
        other = link.heard[origin]
        assert other == data
        wrong = sum(byte != 0 for byte in link.heard[hit])
        assert 0 < wrong == fault.applied == link.line.applied[FaultKind.BYTE_FLIP] < 30
        link.line.disarm(fault)
        link.write(origin, data)
        await link.until(lambda: len(link.heard[hit]) == 2000)
        assert link.heard[hit][1000:] == data


async def test_a_fault_without_an_origin_hits_both_directions_with_different_chances() -> None:
    data = bytes(2000)
    async with linked() as link:
        link.line.inject(Fault(FaultKind.BYTE_FLIP, times=None, rate=0.01))
        for name in link.heard:
            link.write(name, data)
        await link.until(lambda: all(len(heard) == 2000 for heard in link.heard.values()))
        up, down = link.heard["gateway"], link.heard["hall"]
        assert any(up)
        assert any(down)
        assert up != down


async def test_an_unplugged_end_neither_receives_nor_sends_until_the_time_is_over() -> None:
    async with linked() as link:
        unplugged = link.line.inject(Fault(FaultKind.UNPLUG, origin="hall"))
        link.write("hall", b"lost")
        link.write("gateway", b"lost too")
        await link.until(lambda: link.line.sent("hall") == 4 and link.line.sent("gateway") == 8)
        link.line.disarm(unplugged)
        link.write("hall", b"up")
        link.write("gateway", b"down")
        await link.until(lambda: bytes(link.heard["hall"]) == b"down")
        await link.until(lambda: bytes(link.heard["gateway"]) == b"up")


async def test_levels_of_a_swapped_end_are_inverted_both_ways() -> None:
    async with linked(baud=BAUD) as link:
        link.line.inject(Fault(FaultKind.SWAP, origin="hall"))
        link.write("hall", b"line")
        link.write("gateway", b"line")
        await link.until(lambda: link.line.sent("hall") == 4 and link.line.sent("gateway") == 4)
        await link.until(lambda: bool(link.heard["gateway"]) and bool(link.heard["hall"]))
        assert b"line" not in link.heard["gateway"] + link.heard["hall"]


async def test_a_cut_in_a_burst_and_a_pause_inside_one() -> None:
    async with linked(baud=BAUD) as link:
        link.line.inject(Fault(FaultKind.CUT, origin="hall", size=3))
        link.write("hall", b"a frame")
        await link.until(lambda: bytes(link.heard["gateway"]) == b"a f")
        link.line.inject(Fault(FaultKind.SPLIT, origin="hall", delay_s=0.05))
        link.write("hall", b"whole")
        await link.until(lambda: bytes(link.heard["gateway"]) == b"a fwhole")
        burst = link.line.trace.bursts[-1]
        assert burst.end_ns - burst.start_ns >= 50e6


async def test_one_seed_disturbs_the_same_bytes_again() -> None:
    heard = []
    for _ in range(2):
        async with linked(seed=9) as link:
            link.line.inject(Fault(FaultKind.BYTE_FLIP, times=None, rate=0.02))
            link.write("hall", bytes(500))
            await link.until(lambda: len(link.heard["gateway"]) == 500)
            heard.append(bytes(link.heard["gateway"]))
    assert heard[0] == heard[1] != bytes(500)


async def test_a_line_has_two_ends_and_names_them() -> None:
    with pytest.raises(ValueError, match=r"expected two, got \['one'\]"):
        DuplexLine({"one": Pty()})
    async with linked() as link:
        with pytest.raises(LookupError, match="no end 'basin' on this line; it has gateway, hall"):
            link.line.inject(Fault(FaultKind.DROP, origin="basin"))
