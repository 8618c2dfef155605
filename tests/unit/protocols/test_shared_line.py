"""Several servers on one line, each hearing all the others and reading when it gets round to it."""

import tracemalloc
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.wire.modbus.server import NEED_DATA, SILENT, RtuServer
from tests.unit.protocols.wire.support import IDENTITY, REFUSED, Bank, with_crc

SILENCE_US = 20_000
UNITS = (1, 2, 3)


@dataclass
class Node:
    """A server with the bytes it has not read yet."""

    server: RtuServer
    bank: Bank
    pending: bytearray = field(default_factory=bytearray)

    def read(self, sizes: list[int], now_us: int) -> int:
        """Read everything in pieces, as from a small buffer; the result after the silence."""
        at = turn = 0
        while at < len(self.pending):
            piece = bytes(self.pending[at : at + sizes[turn % len(sizes)]])
            self.server.feed(piece, len(piece), now_us)
            assert self.server.poll(now_us) in (NEED_DATA, SILENT)
            at += len(piece)
            turn += 1
        self.pending.clear()
        return self.server.poll(now_us + SILENCE_US)


@dataclass(frozen=True)
class Step:
    """One request of the master and who does not read while it is answered."""

    unit: int
    kind: str
    address: int
    values: list[int]
    asleep: set[int]
    sizes: list[int]
    answered: bool

    def request(self) -> bytes:
        address = self.address.to_bytes(2, "big")
        count = len(self.values).to_bytes(2, "big")
        data = b"".join(value.to_bytes(2, "big") for value in self.values)
        head = bytes([self.unit])
        if self.kind == "input":
            return with_crc(head + b"\x04" + address + count)
        if self.kind == "holding":
            return with_crc(head + b"\x03" + address + count)
        if self.kind == "one":
            return with_crc(head + b"\x06" + address + data[:2])
        if self.kind == "identity":
            return with_crc(head + b"\x2b\x0e\x01\x00")
        return with_crc(head + b"\x10" + address + count + bytes([len(data)]) + data)


_values = st.lists(
    # Bytes that look like addresses and functions, so that data look like frames.
    st.one_of(
        st.integers(0, 0xFFFE), st.sampled_from([0x0103, 0x0104, 0x0106, 0x0203, 0x0304, 0x0000])
    ).filter(lambda value: value != REFUSED),
    min_size=1,
    max_size=30,
)
_steps = st.builds(
    Step,
    st.sampled_from([0, 1, 2, 3, 9]),
    st.sampled_from(["input", "holding", "one", "many", "identity"]),
    st.integers(0, 90),
    _values,
    st.sets(st.sampled_from(UNITS)),
    st.lists(st.integers(1, 256), min_size=1, max_size=3),
    st.booleans(),
)


@settings(max_examples=300)
@given(st.lists(_steps, min_size=1, max_size=12), st.binary(min_size=240, max_size=240))
def test_each_server_answers_its_own_requests_and_nothing_else(
    steps: list[Step], registers: bytes
) -> None:
    registers = registers.replace(b"\xff\xff", b"\xff\xfe")
    nodes = {}
    model: dict[int, bytearray] = {}
    for unit in UNITS:
        bank = Bank(registers, registers)
        nodes[unit] = Node(RtuServer(unit, bank, IDENTITY, 9600, strict=False), bank)
        model[unit] = bytearray(registers)
    now_us = 0
    for step in steps:
        now_us += 10 * SILENCE_US
        request = step.request()
        for node in nodes.values():
            node.pending += request
        answer = b""
        for unit, node in nodes.items():
            if unit == step.unit:
                # It reads all that was sent while it slept, the request last, and must answer.
                length = node.read(step.sizes, now_us)
                assert length > NEED_DATA
                answer = bytes(node.server.tx[:length])
                assert answer[:1] == bytes([unit])
                expect(step, answer, model[unit], registers)
            elif unit not in step.asleep:
                assert node.read(step.sizes, now_us) == SILENT
        if step.unit == 0 and step.kind in ("one", "many"):
            for held in model.values():
                write(step, held)
        now_us += SILENCE_US
        for unit, node in nodes.items():
            if unit != step.unit and answer:
                node.pending += answer
                if unit not in step.asleep:
                    assert node.read(step.sizes, now_us) == SILENT
    for unit, node in nodes.items():
        now_us += 10 * SILENCE_US
        if node.pending:
            assert node.read([256], now_us) == SILENT
        assert node.bank.holding == model[unit]
        assert node.server.counters.bus_error == 0


def write(step: Step, held: bytearray) -> None:
    """What a write does to the registers of the model."""
    values = step.values[:1] if step.kind == "one" else step.values
    if 2 * (step.address + len(values)) <= len(held):
        data = b"".join(value.to_bytes(2, "big") for value in values)
        held[2 * step.address : 2 * step.address + len(data)] = data


def expect(step: Step, answer: bytes, held: bytearray, inputs: bytes) -> None:
    """The right answer of the right node, and the model brought up to date."""
    count = 1 if step.kind == "one" else len(step.values)
    start, end = 2 * step.address, 2 * (step.address + count)
    if step.kind == "identity":
        assert answer[1:3] == b"\x2b\x0e"
        return
    if end > len(held):
        assert answer[1] & 0x80
        assert answer[2] == 2
        return
    if step.kind in ("one", "many"):
        write(step, held)
        assert answer[1:6] == step.request()[1:6]
        return
    expected = inputs if step.kind == "input" else held
    assert answer[3:-2] == expected[start:end]


@given(
    st.lists(st.tuples(st.binary(max_size=400), st.integers(0, 10_000)), max_size=20), st.booleans()
)
def test_any_bytes_in_any_rhythm(pieces: list[tuple[bytes, int]], strict: bool) -> None:
    server = RtuServer(1, Bank(bytes(64), bytes(64)), IDENTITY, 9600, strict)
    now_us = 0
    for data, pause_us in pieces:
        server.feed(data, len(data), now_us)
        now_us += pause_us
        result = server.poll(now_us)
        assert result in (NEED_DATA, SILENT) or 5 <= result <= 256
        assert -1 <= server.wait_us(now_us) <= 4011
    assert len(server.tx) == 256


def test_memory_does_not_grow() -> None:
    server = RtuServer(1, Bank(bytes(64), bytes(64)), IDENTITY, 9600, strict=False)
    noise = bytes(range(256)) * 16

    def traffic() -> None:
        now_us = 0
        for turn in range(40):
            server.feed(noise, len(noise), now_us)
            now_us += 20_000 * (turn % 2)
            server.poll(now_us)

    traffic()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        traffic()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak - before < 4096
