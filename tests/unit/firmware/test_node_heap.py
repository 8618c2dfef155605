"""Polls through the server task leave the heap as it was. Only MicroPython measures it."""

import asyncio

from firmware.node.serve import Server
from protocols.wire.modbus.server import RtuServer
from tests.unit.firmware.fakes import growth
from tests.unit.firmware.node_fakes import framed, make_bank

_POLLS = 300  # in each of growth's six calls


class Line:
    """Always has the next request; counts the answers and keeps none."""

    def __init__(self) -> None:
        self.request = framed(b"\x04\x00\x00\x00\x1c")
        self.answers = 0
        self.left = 0

    async def receive(self, buf: bytearray) -> int:
        while not self.left:
            await asyncio.sleep(0)
        self.left -= 1
        buf[: len(self.request)] = self.request
        return len(self.request)

    def any(self) -> int:
        return 0

    def readinto(self, buf: bytearray, nbytes: int) -> int | None:
        return 0

    def write(self, buf: memoryview) -> int | None:
        self.answers += 1
        return len(buf)


class Clock:
    """A board of which the server needs the time only; it passes by sleeping."""

    def __init__(self) -> None:
        self.us = 0

    def now_us(self) -> int:
        return self.us & 0x3FFFFFFF

    def ticks_diff(self, a: int, b: int) -> int:
        return ((a - b + 0x20000000) & 0x3FFFFFFF) - 0x20000000

    async def sleep_ms(self, ms: int) -> None:
        self.us += 1000 * ms
        await asyncio.sleep(0)


def test_polls_leave_the_heap_as_it_was() -> None:
    clock = Clock()
    line = Line()
    rtu = RtuServer(1, make_bank(), {}, 9600, False, clock.ticks_diff)
    server = Server(clock, line, rtu, lambda: None, lambda: None)  # type: ignore[arg-type]  # a clock has less than a board

    async def polls() -> None:
        task = asyncio.create_task(server.run())
        line.left = _POLLS
        want = line.answers + _POLLS
        while line.answers < want:
            await asyncio.sleep(0)
        task.cancel()

    grown = growth(lambda: asyncio.run(polls()))
    assert server.polls == 6 * _POLLS
    assert grown <= 0
