"""What is announced to a node whose time is virtual: in the end what passes, at its time."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise

import pytest

from hil.bus.fault import Fault, FaultKind
from hil.bus.medium import Medium
from hil.bus.trace import NOISE, Trace

REQUEST = bytes.fromhex("010300000001840a")
BYTE = 1_042_000
SILENCE = 5_511_000
LAG = 6_000_000


class Node:
    """What a node hears: bytes with the times at which they will have passed."""

    def __init__(self) -> None:
        self.due: list[tuple[int, int]] = []
        self.passed = b""

    @property
    def heard(self) -> bytes:
        return bytes(byte for _, byte in sorted(self.due, key=lambda entry: entry[0]))


class Line:
    """A medium that announces; time stops wherever something is due."""

    def __init__(self, *names: str, seed: int = 1) -> None:
        self.now = 0
        self.nodes = {name: Node() for name in names}
        self.retracted = 0
        self.trace = Trace(1000, clock_ns=lambda: self.now)
        self.medium = Medium(
            names, self._passed, self.trace, seed=seed, byte_ns=BYTE, grain_ns=1 << 62,
            announcer=self, silence_ns=SILENCE, lags={"gateway": LAG, NOISE: LAG},
        )  # fmt: skip

    def announce(self, name: str, data: bytes, times: Sequence[int]) -> None:
        assert len(data) == len(times) > 0
        assert min(times) > self.now - 100 * BYTE
        self.nodes[name].due += zip(times, data, strict=True)

    def retract(self, name: str, after: int) -> None:
        node = self.nodes[name]
        kept = [entry for entry in node.due if entry[0] <= after]
        self.retracted += len(node.due) - len(kept)
        node.due = kept

    def _passed(self, name: str, data: bytes) -> int:
        self.nodes[name].passed += data
        return len(data)

    def run(self, until: int | None = None) -> None:
        while (due := self.medium.due()) is not None and (until is None or due <= until):
            self.now = max(self.now, due)
            self.medium.advance(self.now)
        self.now = max(self.now, until or 0)
        self.medium.advance(self.now)

    def send(self, name: str, data: bytes, *, apart: bool = False) -> None:
        self.medium.write(name, data, self.now, apart=apart)


def test_a_frame_is_announced_whole_when_it_begins() -> None:
    line = Line("gateway", "air", "water")
    line.run(5_000_000)
    line.send("gateway", REQUEST)
    expected = [(5_000_000 + BYTE * (i + 1), byte) for i, byte in enumerate(REQUEST)]
    assert line.nodes["air"].due == line.nodes["water"].due == expected
    assert line.nodes["gateway"].due == []
    assert line.nodes["air"].passed == b""
    line.run()
    assert line.now == 5_000_000 + 8 * BYTE
    assert line.nodes["air"].passed == REQUEST
    assert line.retracted == 0


def test_what_waits_for_the_line_is_announced_when_it_begins() -> None:
    line = Line("gateway", "air")
    for _ in range(3):
        line.send("gateway", bytes(100))
    assert len(line.nodes["air"].due) == 100
    line.run(150 * BYTE)
    assert len(line.nodes["air"].due) == 200
    line.run()
    assert len(line.nodes["air"].due) == 300


def test_a_pause_of_a_fault_is_one_of_the_announced_times() -> None:
    line = Line("gateway", "air")
    line.medium.arm(Fault(FaultKind.SPLIT, origin="gateway", delay_s=0.00275), 0)
    line.send("gateway", REQUEST)
    line.run()
    times = [at for at, _ in line.nodes["air"].due]
    pauses = [later - at for at, later in pairwise(times)]
    assert sorted(pauses) == [BYTE] * 6 + [BYTE + 2_750_000]
    assert line.nodes["air"].heard == REQUEST


def test_two_at_once_take_back_what_was_announced_of_the_first() -> None:
    line = Line("gateway", "air", "water", "camera")
    line.send("air", b"\xf0" * 8)
    line.run(3 * BYTE + BYTE // 2)
    line.send("water", b"\x3c" * 8)
    assert line.retracted > 0
    line.run()
    for name in ("gateway", "camera"):
        node = line.nodes[name]
        assert node.heard == node.passed
        assert node.heard[:3] == b"\xf0" * 3
        assert node.heard != b"\xf0" * 8
    assert line.trace.collisions == 1


def test_an_endpoint_that_goes_takes_the_rest_of_its_frame_along() -> None:
    line = Line("gateway", "air", "water")
    line.send("gateway", REQUEST)
    line.run(3 * BYTE)
    line.medium.plug("gateway", False)
    line.run()
    assert line.nodes["air"].heard == REQUEST[:3]
    line.medium.plug("gateway", True)
    line.send("gateway", REQUEST, apart=True)
    line.run(line.now + 4 * BYTE + SILENCE)
    line.medium.plug("water", False)
    line.run()
    assert line.nodes["air"].heard == REQUEST[:3] + REQUEST
    assert len(line.nodes["water"].heard) < len(line.nodes["air"].heard)


def test_a_line_that_is_held_carries_no_more_from_then_on() -> None:
    line = Line("gateway", "air", "water")
    line.send("gateway", REQUEST)
    line.run(3 * BYTE)
    fault = Fault(FaultKind.STUCK, origin="water", level=0, lasts_s=0.004)
    line.medium.arm(fault, line.now)
    line.run()
    # A break is one byte of zeros.
    assert line.nodes["air"].heard[:4] == REQUEST[:3] + b"\0"


def test_a_write_that_is_apart_keeps_the_silence_of_the_line() -> None:
    line = Line("gateway", "air", "water")
    line.send("gateway", REQUEST)
    line.send("gateway", REQUEST, apart=True)
    line.run()
    times = [at for at, _ in line.nodes["air"].due]
    assert times[8] - times[7] == SILENCE + BYTE
    line.send("water", REQUEST)
    line.send("gateway", REQUEST, apart=True)
    line.run()
    assert line.trace.collisions == 0
    line.run(line.now + 100 * BYTE)
    line.send("gateway", REQUEST, apart=True)
    assert line.nodes["air"].due[-8][0] == line.now + BYTE


def test_the_trace_has_the_times_of_the_nodes() -> None:
    line = Line("gateway", "air")
    line.send("gateway", REQUEST)
    line.run(8 * BYTE + LAG + 4_000_000)
    line.send("air", b"\x01\x83\x02\xc0\xf1")
    line.run()
    request, answer = line.trace.bursts
    assert (request.start_ns, request.end_ns) == (LAG, LAG + 8 * BYTE)
    assert request.byte_time(7) == LAG + 7 * BYTE
    # 4 ms after the node has heard the last byte.
    assert answer.start_ns - request.end_ns == 4_000_000


def test_a_swapped_pair_is_announced_as_it_passes() -> None:
    line = Line("gateway", "air", "water")
    line.medium.arm(Fault(FaultKind.SWAP, origin="air"), 0)
    line.send("gateway", REQUEST)
    line.run(40 * BYTE)
    line.send("air", REQUEST)
    line.run()
    for node in line.nodes.values():
        assert node.heard == node.passed
    assert line.nodes["water"].heard.startswith(REQUEST)
    assert line.nodes["air"].heard not in (b"", REQUEST)


@pytest.mark.parametrize("seed", range(30))
def test_any_storm_is_announced_as_it_passes(seed: int) -> None:
    names = ("gateway", "air", "water", "camera")
    rng = random.Random(seed)
    line = Line(*names, seed=seed)
    # A wire pair that is swapped in the midst of a frame has spoiled what was heard before, too, by
    # the time it passes: only announced bytes are right then.
    states = (FaultKind.STUCK, FaultKind.UNPLUG, FaultKind.SWAP)
    kinds = [kind for kind in FaultKind if kind not in states]
    for _ in range(60):
        line.run(line.now + rng.randrange(20 * BYTE))
        if rng.random() < 0.3:
            fault = Fault(rng.choice(kinds), rng.choice(names), rate=0.5, lasts_s=0.05)
            line.medium.arm(fault, line.now)
        line.send(rng.choice(names), rng.randbytes(rng.randrange(1, 20)), apart=rng.random() < 0.2)
    line.run()
    for name, node in line.nodes.items():
        assert node.heard == node.passed, name
