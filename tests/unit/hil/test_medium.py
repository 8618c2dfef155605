"""The pair of wires by an injected clock: pacing, collisions, faults, and what is written down."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import pytest

from hil.bus import uart
from hil.bus.fault import BYTE_KINDS, Fault, FaultKind, Plan
from hil.bus.medium import Medium
from hil.bus.trace import Trace, load

REQUEST = bytes.fromhex("010300000001840a")
ANSWER = bytes.fromhex("0103020064b9af")
MS = 1_000_000
#: One byte at 9600 baud.
BYTE = 1_041_667


class Bench:
    """A medium, the time, and what each endpoint has received, with the times."""

    def __init__(
        self, *names: str, byte_ns: int = 0, grain_ns: int = 0, seed: int = 1, limit: int = 100
    ) -> None:
        self.now = 0
        self.heard: dict[str, bytes] = dict.fromkeys(names, b"")
        self.chunks: list[tuple[int, str, int]] = []
        self.trace = Trace(limit, clock_ns=lambda: self.now)
        self.medium = Medium(
            names, self._hear, self.trace, seed=seed, byte_ns=byte_ns, grain_ns=grain_ns
        )

    def _hear(self, name: str, data: bytes) -> int:
        self.heard[name] += data
        self.chunks.append((self.now, name, len(data)))
        return len(data)

    def send(self, name: str, data: bytes, at: int | None = None) -> None:
        if at is not None:
            self.run(at)
        self.medium.write(name, data, self.now)

    def run(self, until: int | None = None) -> None:
        """Pass time, stopping wherever something is due."""
        while (due := self.medium.due()) is not None and (until is None or due <= until):
            self.now = max(self.now, due)
            self.medium.advance(self.now)
        self.now = max(self.now, until or 0)


def test_bytes_come_one_by_one_and_the_total_is_exact() -> None:
    bench = Bench("gateway", "air", byte_ns=BYTE)
    bench.send("gateway", REQUEST)
    bench.run()
    assert [chunk[0] for chunk in bench.chunks] == [BYTE * n for n in range(1, 9)]
    assert bench.heard["air"] == REQUEST
    (burst,) = bench.trace.bursts
    assert (burst.start_ns, burst.end_ns) == (0, 8 * BYTE)
    assert [burst.byte_time(i) for i in range(8)] == [BYTE * n for n in range(8)]
    with pytest.raises(IndexError, match="has 8 bytes"):
        burst.byte_time(8)


@pytest.mark.parametrize(
    ("grain_ns", "moments"), [(3 * BYTE, [3, 6, 8]), (1 << 62, [8])], ids=["three", "whole"]
)
def test_grain_bounds_the_number_of_chunks_not_the_total(grain_ns: int, moments: list[int]) -> None:
    bench = Bench("gateway", "air", byte_ns=BYTE, grain_ns=grain_ns)
    bench.send("gateway", REQUEST)
    bench.run()
    assert [chunk[0] for chunk in bench.chunks] == [BYTE * n for n in moments]


def test_late_caller_gets_everything_that_has_passed_at_once() -> None:
    bench = Bench("gateway", "air", byte_ns=BYTE)
    bench.send("gateway", REQUEST)
    bench.now = 20 * BYTE
    bench.medium.advance(bench.now)
    assert bench.chunks == [(20 * BYTE, "air", 8)]


def test_pieces_of_one_answer_follow_each_other_and_are_one_burst() -> None:
    bench = Bench("gateway", "air", byte_ns=BYTE)
    bench.send("air", ANSWER[:3])
    bench.send("air", ANSWER[3:], at=BYTE)
    bench.run()
    assert bench.now == 7 * BYTE
    assert [burst.heard for burst in bench.trace.bursts] == [ANSWER]


# Collisions


def test_a_third_endpoint_receives_the_and_of_two_that_send_at_once() -> None:
    bench = Bench("gateway", "air", "water", byte_ns=BYTE)
    bench.send("air", b"\xf0\x55")
    bench.send("water", b"\x3c\x0f")
    bench.run()
    assert bench.heard["gateway"] == b"\x30\x05"
    # Both drove all the time: neither could receive.
    assert bench.heard["air"] == bench.heard["water"] == b""
    assert bench.trace.collisions == 1
    assert [burst.collided for burst in bench.trace.bursts] == [True, True]
    assert bench.medium.endpoint("gateway").traffic.lost == 4


def test_bytes_before_and_after_an_overlap_are_whole() -> None:
    bench = Bench("gateway", "air", byte_ns=BYTE)
    bench.send("gateway", bytes(range(16)))
    bench.send("air", b"\xaa", at=BYTE * 9 // 2)
    bench.run()
    heard = bench.heard["air"]
    assert heard.startswith(bytes(range(4)))
    assert heard.endswith(bytes(range(7, 16)))
    assert bench.trace.collisions == 1


def test_nothing_collides_where_bytes_follow_each_other_or_take_no_time() -> None:
    bench = Bench("gateway", "air", byte_ns=BYTE)
    bench.send("gateway", REQUEST)
    bench.send("air", ANSWER, at=8 * BYTE)
    bench.run()
    assert bench.trace.collisions == 0
    unpaced = Bench("gateway", "air")
    unpaced.send("gateway", REQUEST)
    unpaced.send("air", ANSWER)
    assert unpaced.heard == {"gateway": ANSWER, "air": REQUEST}
    assert unpaced.trace.collisions == 0


@pytest.mark.parametrize("seed", range(20))
def test_any_storm_of_senders_ends_and_every_byte_is_in_the_trace(seed: int) -> None:
    names = ("gateway", "air", "water", "camera")
    rng = random.Random(seed)
    bench = Bench(*names, byte_ns=BYTE, grain_ns=3 * BYTE, seed=seed, limit=1000)
    kinds = [kind for kind in FaultKind if kind not in (FaultKind.STUCK, FaultKind.UNPLUG)]
    sent = dict.fromkeys(names, b"")
    for _ in range(60):
        bench.run(bench.now + rng.randrange(20 * BYTE))
        if rng.random() < 0.3:
            fault = Fault(rng.choice(kinds), rng.choice(names), rate=0.5, lasts_s=0.05)
            bench.medium.arm(fault, bench.now)
        name = rng.choice(names)
        data = rng.randbytes(rng.randrange(1, 20))
        sent[name] += data
        bench.send(name, data)
    bench.run()
    bench.medium.close()
    for name in names:
        logged = b"".join(burst.sent for burst in bench.trace.bursts if burst.origin == name)
        assert len(logged) == len(sent[name]), f"seed {seed}, {name}"
    applied = sum(fault.applied for fault in bench.medium.faults.armed)
    assert sum(bench.trace.faults.values()) >= applied > 0, f"seed {seed}"


# The UART


def test_a_uart_takes_back_what_was_sent() -> None:
    data = bytes(range(256))
    low = uart.merge(
        interval
        for index, byte in enumerate(data)
        for interval in uart.signal(byte, 1000 + index * uart.TICKS_PER_BYTE)
    )
    got = uart.receive(low, 0)
    assert bytes(received.byte for received in got) == data
    assert all(received.framed for received in got)
    assert [received.tick for received in got[:2]] == [1000, 1000 + uart.TICKS_PER_BYTE]


def test_a_break_is_one_zero_without_a_stop_bit_and_a_spike_is_nothing() -> None:
    assert uart.receive([(100, 1000)], 0) == [uart.Received(100, 0, framed=False)]
    assert uart.receive([(100, 107)], 0) == []


def test_a_swapped_sender_and_a_swapped_receiver_make_garbage() -> None:
    bench = Bench("gateway", "air", "water", byte_ns=BYTE)
    fault = Fault(FaultKind.SWAP, "air")
    bench.medium.arm(fault, 0)
    bench.send("gateway", REQUEST)
    bench.run()
    assert bench.heard["water"] == REQUEST
    assert bench.heard["air"] not in (b"", REQUEST)
    bench.send("air", ANSWER)
    bench.run()
    assert bench.heard["gateway"] not in (b"", ANSWER)
    assert bench.trace.faults[FaultKind.SWAP, "air"] == 1
    assert bench.medium.framing_errors > 0
    bench.medium.disarm(fault)
    before = bench.heard["gateway"]
    bench.send("air", ANSWER)
    bench.run()
    assert bench.heard["gateway"] == before + ANSWER


# States


@pytest.mark.parametrize(("level", "edge"), [(0, b"\0"), (1, b"")])
def test_a_stuck_driver_is_a_break_or_silence(level: int, edge: bytes) -> None:
    bench = Bench("gateway", "air", "water")
    bench.medium.arm(Fault(FaultKind.STUCK, "water", level=level, lasts_s=0.1), 0)
    bench.send("gateway", REQUEST)
    bench.send("air", ANSWER, at=50 * MS)
    assert bench.heard == {"gateway": edge, "air": edge, "water": b""}
    bench.send("gateway", REQUEST, at=101 * MS)
    assert bench.heard["air"] == edge + REQUEST
    assert bench.trace.faults == {(FaultKind.STUCK, "water"): 2}


def test_unplugged_in_the_middle_of_an_answer_and_back() -> None:
    bench = Bench("gateway", "air", byte_ns=BYTE)
    bench.send("air", ANSWER)
    bench.run(3 * BYTE)
    bench.medium.arm(Fault(FaultKind.UNPLUG, "air", lasts_s=0.02), bench.now)
    bench.run()
    assert bench.heard["gateway"] == ANSWER[:3]
    bench.send("gateway", REQUEST, at=100 * MS)
    bench.run()
    assert bench.heard["air"] == REQUEST
    burst = bench.trace.bursts[0]
    assert (burst.sent, burst.heard) == (ANSWER, ANSWER[:3])
    assert burst.faults[0].kind is FaultKind.UNPLUG


def test_a_state_may_begin_after_some_bursts() -> None:
    bench = Bench("gateway", "air")
    bench.medium.arm(Fault(FaultKind.UNPLUG, "air", after=2), 0)
    for number in range(4):
        bench.send("air", ANSWER, at=number * 100 * MS)
    bench.run()
    assert bench.heard["gateway"] == ANSWER * 2


# Bursts and bytes


def test_split_is_longer_than_t15_and_shorter_than_t35() -> None:
    for byte_ns, t15, t35 in ((BYTE, 1.5 * BYTE, 3.5 * BYTE), (86_806, 750_000, 1_750_000)):
        bench = Bench("gateway", "air", byte_ns=byte_ns)
        bench.medium.arm(Fault(FaultKind.SPLIT), 0)
        bench.send("air", ANSWER)
        bench.run()
        assert bench.heard["gateway"] == ANSWER
        times = [bench.trace.bursts[0].byte_time(i) for i in range(len(ANSWER))]
        gaps = [b - a - byte_ns for a, b in pairwise(times)]
        assert sum(gap > 1 for gap in gaps) == 1
        assert t15 < max(gaps) < t35
        (mark,) = bench.trace.bursts[0].faults
        assert gaps.index(max(gaps)) == mark.at - 1


def test_split_takes_its_time_on_an_unpaced_line_too() -> None:
    bench = Bench("gateway", "air")
    bench.medium.arm(Fault(FaultKind.SPLIT, delay_s=0.01), 0)
    bench.send("air", ANSWER)
    bench.run()
    assert [chunk[0] for chunk in bench.chunks] == [3 * MS, 13 * MS]


def test_faults_in_a_row_each_get_their_turn() -> None:
    bench = Bench("gateway", "air")
    bench.medium.arm(Fault(FaultKind.FOREIGN, times=None, rate=0.0), 0)
    cut = Fault(FaultKind.CUT, size=4, after=1)
    bench.medium.arm(cut, 0)
    for number in range(3):
        bench.send("air", ANSWER, at=number * 100 * MS)
    bench.run()
    assert bench.heard["gateway"] == ANSWER + ANSWER[:4] + ANSWER
    assert cut.applied == 1


@pytest.mark.parametrize("kind", sorted(BYTE_KINDS))
@pytest.mark.parametrize("seed", [1, 2])
def test_every_byte_fault_is_counted_and_written_down(kind: FaultKind, seed: int) -> None:
    bench = Bench("gateway", "air", seed=seed, limit=1000)
    fault = Fault(kind, "air", times=None, rate=0.01)
    bench.medium.arm(fault, 0)
    frame = bytes(range(40))
    for number in range(500):
        bench.send("air", frame, at=number * 10 * MS)
    assert 120 < fault.applied < 280, f"seed {seed}"
    assert bench.trace.faults == {(kind, "air"): fault.applied}
    heard = bench.heard["gateway"]
    change = {FaultKind.BYTE_DROP: -1, FaultKind.BYTE_FLIP: 0}.get(kind, 1)
    assert len(heard) == 500 * 40 + change * fault.applied
    if kind is FaultKind.BYTE_FLIP:
        wrong = [a ^ b for a, b in zip(heard, frame * 500, strict=True)]
        assert sum(value.bit_count() for value in wrong) == fault.applied
    for burst in bench.trace.bursts:
        assert (burst.heard != burst.sent) == bool(burst.faults)


def test_times_bounds_bytes_too_and_the_other_direction_is_left_alone() -> None:
    bench = Bench("gateway", "air")
    fault = Fault(FaultKind.BYTE_DROP, "air", times=3)
    bench.medium.arm(fault, 0)
    bench.send("gateway", REQUEST)
    bench.send("air", ANSWER)
    assert bench.heard == {"gateway": ANSWER[3:], "air": REQUEST}


def test_one_seed_is_one_run() -> None:
    def run(seed: int) -> dict[str, bytes]:
        bench = Bench("gateway", "air", byte_ns=BYTE, seed=seed)
        plan = Plan(
            seed,
            (Fault(FaultKind.BYTE_FLIP, times=None, rate=0.2), Fault(FaultKind.CUT, rate=0.3)),
        )
        for fault in Plan.parse(plan.to_toml()).faults:
            bench.medium.arm(fault, 0)
        for number in range(20):
            bench.send(("gateway", "air")[number % 2], ANSWER, at=number * 100 * MS)
        bench.run()
        return bench.heard

    assert run(5) == run(5)
    assert run(5) != run(6)


# Plans and traces


def test_a_plan_can_be_written_down_and_read() -> None:
    plan = Plan(
        42,
        (
            Fault(FaultKind.FLIP, "air", times=None, rate=0.01),
            Fault(FaultKind.STUCK, "water", level=1, lasts_s=0.5, after=3),
            Fault(FaultKind.DELAY, times=2, delay_s=0.15),
        ),
    )
    assert Plan.parse(plan.to_toml()) == plan
    assert Plan.parse(plan.to_json()) == plan
    assert '[[fault]]\nkind = "flip"\norigin = "air"\ntimes = "unlimited"' in plan.to_toml()
    plan.faults[0].applied = 3
    assert plan.fresh()[0].applied == 0


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("seed = 1.5", "seed: expected an integer, got 1.5"),
        ("sed = 1", "unknown key 'sed'; known are seed and fault"),
        ("seed =", "expected TOML or JSON"),
        ("fault = 3", r"expected \[\[fault\]\] tables"),
        ("fault = [3]", "fault 1: expected a table"),
        ('[[fault]]\nkind = "flop"', "fault 1: kind: expected one of flip, drop"),
        ('[[fault]]\nkind = "flip"\nratio = 1', "fault 1: unknown key 'ratio'"),
        ('[[fault]]\nkind = "flip"\nrate = "x"', "fault 1: rate: expected a number, got 'x'"),
        ('[[fault]]\nkind = "flip"\nrate = 2', "fault 1: rate: expected 0 to 1, got 2"),
        ('[[fault]]\nkind = "flip"\ntimes = 0', "fault 1: times: expected 1 or more"),
        ('[[fault]]\nkind = "flip"\nunit = 1.0', "fault 1: unit: expected an integer"),
        ('[[fault]]\nkind = "stuck"', "fault 1: origin: stuck is of one endpoint"),
        ('[[fault]]\nkind = "flip"\norigin = 3', "fault 1: origin: expected an endpoint's name"),
    ],
)
def test_a_wrong_plan_says_where_and_what(text: str, match: str) -> None:
    with pytest.raises(ValueError, match=f"bad.toml: {match}"):
        Plan.parse(text, "bad.toml")


def test_trace_forgets_the_oldest_and_the_file_keeps_all(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    trace = Trace(limit=2, path=path, clock_ns=lambda: 0)
    medium = Medium(["gateway", "air"], lambda _name, data: len(data), trace, byte_ns=BYTE)
    medium.arm(Fault(FaultKind.CUT, size=2), 0)
    for number in range(5):
        medium.write("air", ANSWER, number * 100 * MS)
    medium.advance(600 * MS)
    medium.close()
    trace.close()
    assert (trace.total, trace.forgotten, len(trace.bursts)) == (5, 3, 2)
    written = load(path)
    assert [burst.number for burst in written] == [0, 1, 2, 3, 4]
    assert written[3:] == list(trace.bursts)
    assert (written[0].sent, written[0].heard) == (ANSWER, ANSWER[:2])
    path.write_text(path.read_text() + "{}\n")
    with pytest.raises(ValueError, match=r"trace.jsonl:6: expected a burst"):
        load(path)
