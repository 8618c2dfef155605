"""The RS-485 line in the virtual time of nodes on Renode, whose ports meet it once in a quantum.

Each node has a port of the stand-in, which listens at a socket and keeps time as ``LinePort.cs``
does; the master is a serial port of the host.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import pytest_asyncio

from hil.bus import decode
from hil.bus.fault import Fault, FaultKind
from hil.bus.line import Rs485Line
from hil.renode.fake.clock import FakeClock
from hil.renode.fake.port import FakePort
from hil.wires.line_wire import silence_s
from hil.wires.pty import Pty
from hil.wires.renode_uart import RenodeLine
from hil.wires.virtual_clock import VirtualClock

REQUEST = bytes.fromhex("010300000001840a")
OTHER = bytes.fromhex("0203000000018439")
ANSWER = bytes.fromhex("0103020064b9af")
BAUD, BYTE_US = 9600, 1042
GAP_US = round(silence_s(BAUD) * 1e6)
#: From the request's last byte to the answer's first.
TURNAROUND_US = 4321
LIMIT_S = 45


class Core:
    """What a clock asks of a machine: it runs."""

    paused = False
    own_s = 0.0
    running = True


class Rate(FakeClock):
    """A clock whose seconds are ``rate`` of the host's."""

    def __init__(self, rate: float = 1.0) -> None:
        super().__init__(lambda: [Core()])
        self.quantum_s = 0.001
        self._rate_of_host = rate

    def now_s(self) -> float:
        return super().now_s() * self._rate_of_host


class Node:
    """A node that takes the request of its address, and what it heard, each byte with its time."""

    def __init__(self, port: FakePort, request: bytes, answer: bytes) -> None:
        self.port = port
        self.heard: list[tuple[int, int]] = []
        self.answers = True
        self._request, self._answer = request, answer
        port.listen(self._hear)

    def _hear(self, data: bytes, at_us: int) -> None:
        pause = at_us - self.heard[-1][0] if self.heard else GAP_US
        self.heard += [(at_us, byte) for byte in data]
        if pause > BYTE_US + 2 * GAP_US // 3:
            self._begun = b""
        self._begun += data
        if self._begun == self._request and self.answers:
            self.port.send(self._answer, at_us + TURNAROUND_US)

    @property
    def data(self) -> bytes:
        return bytes(byte for _, byte in self.heard)

    @property
    def pauses(self) -> list[int]:
        return [later - at for (at, _), (later, _) in pairwise(self.heard)]


class Bench:
    """A line with two nodes, and its master's end."""

    def __init__(self, folder: Path, rate: float) -> None:
        self.clock = Rate(rate)
        self.time = VirtualClock()
        self.nodes, self.wires = {}, {}
        for name, request in (("air", REQUEST), ("water", OTHER)):
            port = FakePort(folder / name, self.clock)
            self.nodes[name] = Node(port, request, ANSWER)
            self.wires[name] = RenodeLine(BAUD, self.time, GAP_US, 1000)
        gateway = Pty(rx_limit=4095)
        self.line = Rs485Line(
            {"gateway": gateway, **self.wires}, seed=3, baud=BAUD, clock=self.time
        )
        self._folder = folder
        self._fd = os.open(gateway.path, os.O_RDWR | os.O_NOCTTY)
        self.got = b""

    async def open(self) -> None:
        for name, wire in self.wires.items():
            wire.connect(self._folder / name)
            wire.power(True)
        await self.line.__aenter__()
        self.clock.start(True)
        await self.until(lambda: self.time.now_ns() > 0)

    def close(self) -> None:
        self.line.close()
        os.close(self._fd)
        for node in self.nodes.values():
            node.port.close()

    def write(self, data: bytes) -> None:
        os.write(self._fd, data)

    def read(self) -> bytes:
        self.got += os.read(self._fd, 4096)
        return self.got

    def took(self, count: int) -> bool:
        return self.line.traffic("gateway").sent == count

    def has(self, count: int) -> bool:
        return len(self.read()) >= count

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not condition():
                await asyncio.sleep(0.001)


@pytest_asyncio.fixture
async def bench(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    # A slow time gives a busy host its chance to be there in time.
    made = Bench(tmp_path, getattr(request, "param", 0.2))
    await made.open()
    yield made
    made.close()


async def test_request_and_answer_have_the_times_of_the_wire(bench: Bench) -> None:
    air, water = bench.nodes["air"], bench.nodes["water"]
    bench.write(REQUEST)
    await bench.until(lambda: bench.read() == ANSWER)
    assert air.data == REQUEST
    assert set(air.pauses) == {BYTE_US}
    # The trace has the node's own times: that of each byte, and the turnaround.
    asked, answered = decode.frames(bench.line.trace.bursts)
    assert (asked.data, answered.data) == (REQUEST, ANSWER)
    if not any(wire.late for wire in bench.wires.values()):
        # Both nodes hear the same byte in the same microsecond.
        assert air.heard == water.heard[: len(REQUEST)]
        assert asked.end_ns == 1000 * air.heard[-1][0]
    assert answered.start_ns == 1000 * (air.heard[-1][0] + TURNAROUND_US)
    assert answered.end_ns - answered.start_ns == 1000 * len(ANSWER) * BYTE_US
    # It is heard when its last byte has left, not when the node sent it.
    assert bench.time.now_ns() >= answered.end_ns
    await bench.until(lambda: water.data == REQUEST + ANSWER)
    # The other node hears the answer as long after the request as it stands on the line.
    assert water.pauses[len(REQUEST) - 1] >= TURNAROUND_US + BYTE_US


@pytest.mark.parametrize("bench", [0.3, 1.0, 3.0], indirect=True)
async def test_a_host_that_stands_still_tears_no_frame(bench: Bench) -> None:
    for number in range(12):
        bench.write(REQUEST)
        await bench.until(partial(bench.took, len(REQUEST) * (number + 1)))
        if number % 2:
            time.sleep(0.03)  # noqa: ASYNC251 - nothing of the bench runs meanwhile
        await bench.until(partial(bench.has, len(ANSWER) * (number + 1)))
    assert bench.read() == ANSWER * 12
    for name, node in bench.nodes.items():
        for at, pause in enumerate(node.pauses, 1):
            assert pause == BYTE_US or pause >= GAP_US, (name, at, pause)


@pytest.mark.parametrize("bench", [0.2], indirect=True)
async def test_a_silence_of_the_host_is_one_in_the_nodes_time(bench: Bench) -> None:
    for node in bench.nodes.values():
        node.answers = False
    for number, request in enumerate((OTHER, REQUEST, OTHER), 1):
        bench.write(request)
        await bench.until(partial(bench.took, number * len(request)))
        await asyncio.sleep(0.006)  # t3.5 of the host is a fifth of it for the nodes
    air = bench.nodes["air"]
    await bench.until(lambda: len(air.data) == 3 * len(REQUEST))
    assert air.data == OTHER + REQUEST + OTHER
    assert [pause for pause in air.pauses if pause != BYTE_US] == [GAP_US + BYTE_US] * 2


async def test_a_pause_in_a_damaged_frame_is_that_of_the_fault(bench: Bench) -> None:
    fault = bench.line.inject(Fault(FaultKind.SPLIT, origin="gateway", delay_s=0.0027))
    bench.write(REQUEST)
    await bench.until(lambda: all(node.data == REQUEST for node in bench.nodes.values()))
    assert fault.applied == 1
    for node in bench.nodes.values():
        assert sorted(node.pauses) == [BYTE_US] * 6 + [BYTE_US + 2700]


async def test_a_late_answer_is_late_in_virtual_time(bench: Bench) -> None:
    bench.line.inject(Fault(FaultKind.DELAY, origin="air", delay_s=0.2))
    bench.write(REQUEST)
    await bench.until(lambda: bench.read() == ANSWER)
    _, answered = decode.frames(bench.line.trace.bursts)
    # What is held back for the fault is whole after 3 ms.
    late_us = answered.start_ns // 1000 - bench.nodes["air"].heard[-1][0]
    assert late_us == TURNAROUND_US + 3000 + 200_000


async def test_two_answers_at_once_collide_on_the_line(bench: Bench) -> None:
    other = bytes(byte ^ 0x0F for byte in ANSWER)
    at_us = bench.nodes["air"].port.now_us() + 50_000
    bench.nodes["air"].port.send(ANSWER, at_us)
    bench.nodes["water"].port.send(other, at_us)
    await bench.until(partial(bench.has, len(ANSWER)))
    assert bench.line.collisions == 1
    # Both drive the line at the same microsecond: a low level wins.
    assert bench.got == bytes(byte & (byte ^ 0x0F) for byte in ANSWER)


async def test_noise_takes_its_time_and_is_heard_alike(bench: Bench) -> None:
    bench.line.noise(50)
    await bench.until(lambda: len(bench.read()) == 50)
    for node in bench.nodes.values():
        await bench.until(lambda node=node: len(node.data) == 50)  # type: ignore[misc]
        assert node.data == bench.got
        assert set(node.pauses) == {BYTE_US}


async def test_a_node_that_is_unplugged_or_off_hears_no_more(bench: Bench) -> None:
    for node in bench.nodes.values():
        node.answers = False
    bench.write(bytes(range(100)))
    water = bench.nodes["water"]
    await bench.until(lambda: len(water.data) > 5)
    bench.line.silence("water", silent=True)
    bench.wires["air"].power(False)
    heard = [len(node.data) for node in bench.nodes.values()]
    await bench.until(lambda: bench.line.traffic("gateway").sent == 100)
    end = bench.time.now_ns() + 150_000_000
    await bench.until(lambda: bench.time.now_ns() > end)
    for node, before in zip(bench.nodes.values(), heard, strict=True):
        # What was on its way in the moment is heard, nothing of what was due later.
        assert len(node.data) - before <= 4
        assert len(node.data) < 60
    bench.line.silence("water", silent=False)
    bench.wires["air"].power(True)
    for node in bench.nodes.values():
        node.heard.clear()
    bench.write(REQUEST)
    await bench.until(lambda: all(n.data == REQUEST for n in bench.nodes.values()))


async def test_the_line_stands_while_the_emulation_does(bench: Bench) -> None:
    air = bench.nodes["air"]
    bench.write(bytes(range(200)))
    await bench.until(lambda: len(air.heard) > 2)
    bench.clock.start(False)
    await asyncio.sleep(0.05)
    stood, heard = bench.time.now_ns(), len(air.heard)
    await asyncio.sleep(0.1)
    assert (bench.time.now_ns(), len(air.heard)) == (stood, heard)
    assert heard < 200
    bench.clock.start(True)
    await bench.until(lambda: len(air.heard) == 200)
    assert air.data == bytes(range(200))
    assert set(air.pauses) == {BYTE_US}


async def test_what_comes_too_late_is_counted(bench: Bench) -> None:
    wire = bench.wires["air"]
    await bench.until(lambda: bench.time.now_ns() > 50_000_000)
    assert (wire.late, wire.late_us) == (0, 0)
    wire.announce(b"late", [1000 * BYTE_US * n for n in range(1, 5)])
    await bench.until(lambda: bench.nodes["air"].data == b"late")
    await bench.until(lambda: wire.late == 1)
    assert wire.late_us > 0
    assert bench.line.late() == {"air": (1, wire.late_us), "water": (0, 0)}


def test_a_line_of_virtual_time_needs_a_speed() -> None:
    wire = RenodeLine(BAUD, VirtualClock(), GAP_US, 1000)
    with pytest.raises(ValueError, match="expected a number for wires that carry times"):
        Rs485Line({"air": wire})
