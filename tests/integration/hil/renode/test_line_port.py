"""LinePort.cs itself, compiled and run beside a small machine whose time has a quantum.

``line_port/Quantum.cs`` declares the names of Renode that the model uses, as they are in 1.16.1 and
in its head of 2026-08-21, and keeps time as Renode does.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from select import select

import pytest

from hil.renode.commands import LINE_MODEL
from hil.tools import TOOLS
from hil.wires.line_port_codec import (
    Decoder,
    Delivered,
    Message,
    Now,
    Retract,
    Sent,
    Ticks,
    TimedPiece,
    encode,
)

pytestmark = [pytest.mark.tool("mcs", "mono"), pytest.mark.timeout(60)]

MACHINE = Path(__file__).parent / "line_port/Quantum.cs"
QUANTUM = 1000
#: At 9600 baud: a byte, and the silence that a node needs between two frames.
BYTE, GAP = 1042, 5500
REQUEST = bytes.fromhex("010300000001840a")


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("line_port") / "line_port.exe"
    subprocess.run(
        ["mcs", "-warnaserror", "-nowarn:67", f"-out:{made}", str(LINE_MODEL), str(MACHINE)],
        check=True,
        timeout=50,
    )
    return made


class Machine:
    """The process, and the host's end of its line port."""

    def __init__(self, program: Path, folder: Path) -> None:
        mono = TOOLS["mono"].find()
        assert mono is not None
        self._process = subprocess.Popen(
            [mono, program, folder / "port"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()
        self._path = str(folder / "port")
        self._calls = 0
        self.connect()

    def there(self) -> list[Message]:
        """Return the messages of the port that are there."""
        if not select([self._port], [], [], 0)[0]:
            return []
        return list(self._decoder.feed(self._port.recv(65536)))

    def connect(self) -> None:
        self._decoder = Decoder()
        self._port = socket.socket(socket.AF_UNIX)
        self._port.settimeout(20)
        self._port.connect(self._path)

    def close(self) -> None:
        self.hang_up()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        assert self._process.wait(20) == 0

    def hang_up(self) -> None:
        self._port.close()

    def _answer(self) -> list[str]:
        assert self._process.stdout is not None
        lines: list[str] = []
        for line in self._process.stdout:
            if line == "done\n":
                return lines
            lines.append(line)
        raise AssertionError(f"the machine ended: {lines}")

    def command(self, text: str) -> list[str]:
        assert self._process.stdin is not None
        self._process.stdin.write(text + "\n")
        self._process.stdin.flush()
        return self._answer()

    def send(self, *messages: Message, calls: int = 1) -> None:
        """Send messages, and wait until the port has asked ``calls`` times for a meeting."""
        self._port.sendall(b"".join(map(encode, messages)))
        self._calls += calls
        self.command(f"calls {self._calls}")

    def run(self, us: int, calls: int = 0) -> list[tuple[int, int]]:
        """Let time pass; return when each byte reached the UART."""
        self._calls += calls
        heard = [line.split() for line in self.command(f"run {us}")]
        return [(int(at), int(value, 16)) for _, at, value in heard]

    def messages(self, count: int) -> list[Message]:
        """Return the next messages of the port."""
        messages: list[Message] = []
        while len(messages) < count:
            messages += self._decoder.feed(self._port.recv(65536))
        assert len(messages) == count, messages
        return messages


@pytest.fixture
def machine(program: Path, tmp_path: Path) -> Iterator[Machine]:
    made = Machine(program, tmp_path)
    yield made
    made.close()


def frame(number: int, due: int, data: bytes = REQUEST, gap: int = GAP) -> TimedPiece:
    return TimedPiece(number, due, gap, tuple(BYTE * i for i in range(len(data))), data)


def test_each_byte_comes_at_its_time_in_the_midst_of_a_quantum(machine: Machine) -> None:
    machine.send(frame(1, 20_300))
    heard = machine.run(40_000)
    assert heard == [(20_300 + BYTE * i, value) for i, value in enumerate(REQUEST)]
    assert machine.messages(1) == [Delivered(1, 20_300, 20_300 + 7 * BYTE, 8)]


def test_a_piece_that_comes_late_keeps_the_spacing_of_its_bytes(machine: Machine) -> None:
    machine.run(50_000)
    machine.send(frame(1, 20_300))
    heard = machine.run(20_000)
    # It was given at the end of the quantum that had begun.
    assert heard[0][0] == 51_001
    assert {later - at for (at, _), (later, _) in pairwise(heard)} == {BYTE}


def test_pieces_at_once_follow_each_other_with_their_gap(machine: Machine) -> None:
    machine.send(frame(1, 0, gap=0), frame(2, 0, gap=0), frame(3, 0, gap=700), calls=3)
    times = [at for at, _ in machine.run(40_000)]
    assert times[0] == 1001
    assert times[8] == times[7]
    assert times[16] - times[15] == 700


@pytest.mark.parametrize("pause", [BYTE, 2750, GAP, 60_000])
def test_a_pause_that_was_planned_stays_so_although_the_first_piece_is_late(
    machine: Machine, pause: int
) -> None:
    due = 1000
    machine.run(9000)
    machine.send(frame(1, due, b"abc"), frame(2, due + 2 * BYTE + pause, b"def"), calls=2)
    times = [at for at, _ in machine.run(100_000)]
    assert times[0] == 10_001
    # What is longer than the silence a node needs makes up for the delay.
    assert times[3] - times[2] == (pause if pause < 50_000 else 60_000 - 9001)


def test_what_the_node_sends_is_stamped_within_the_quantum(machine: Machine) -> None:
    machine.command("send 5123 01030200057847")
    assert machine.run(10_000, calls=1) == []
    assert machine.messages(1) == [Sent(5123, 5135, bytes.fromhex("01030200057847"))]


def test_a_stamp_is_as_precise_while_other_machines_wait_for_their_turn(machine: Machine) -> None:
    machine.command("others")
    machine.command("send 5123 01030200057847")
    machine.run(10_000, calls=1)
    assert machine.messages(1) == [Sent(5123, 5135, bytes.fromhex("01030200057847"))]


def test_an_answer_over_a_meeting_is_two_messages_with_times_of_their_own(
    machine: Machine,
) -> None:
    machine.command("send 5996 0102030405")
    machine.run(10_000, calls=2)
    assert machine.messages(2) == [Sent(5996, 6000, b"\1\2\3"), Sent(6002, 6004, b"\4\5")]


def test_time_is_shown_steadily_and_never_before_what_was_sent_in_it(machine: Machine) -> None:
    machine.send(Ticks(3 * QUANTUM))
    machine.command("send 4500 aa")
    shown: list[Message] = []
    # At most one sign comes in a millisecond of the host, so some may be left out.
    while sum(isinstance(message, Now) for message in shown) < 5:
        machine.run(3 * QUANTUM)
        shown += machine.there()
    at = next(i for i, message in enumerate(shown) if isinstance(message, Sent))
    assert all(message.now_us < 4500 for message in shown[:at] if isinstance(message, Now))
    times = [message.now_us for message in shown if isinstance(message, Now)]
    assert all(later - now >= 3 * QUANTUM for now, later in pairwise(times))


def test_what_was_retracted_does_not_reach_the_node(machine: Machine) -> None:
    machine.send(frame(1, 10_000), frame(2, 40_000), calls=2)
    assert len(machine.run(12_000)) == 2
    # The frame that follows shows that the port has taken what comes before it.
    machine.send(Retract(10_000 + 4 * BYTE), frame(3, 50_000, b"z"))
    heard = machine.run(60_000)
    assert bytes(value for _, value in heard) == REQUEST[2:4] + b"z"
    assert machine.messages(3) == [
        Delivered(1, 10_000, 10_000 + 3 * BYTE, 4),
        Delivered(2, 40_000, 0, 0),
        Delivered(3, 50_000, 50_000, 1),
    ]


def test_a_node_that_lost_its_power_hears_nothing_of_before_and_sent_nothing(
    machine: Machine,
) -> None:
    machine.send(frame(1, 2000), frame(2, 0), calls=2)
    machine.command("send 900 aabb")
    machine.send(Retract(0), frame(3, 30_000, b"new"))
    heard = machine.run(60_000, calls=1)
    assert bytes(value for _, value in heard) == b"new"
    assert heard[0][0] == 30_000


def test_a_bench_that_is_gone_leaves_nothing_for_the_next_one(machine: Machine) -> None:
    machine.send(frame(1, 20_000))
    machine.hang_up()
    machine.connect()
    machine.send(frame(2, 40_000, b"new"))
    assert bytes(value for _, value in machine.run(60_000)) == b"new"


@pytest.mark.parametrize("raw", [b"\x01\x00\x00", b"\x07\x00\x00", b"\x01\xff\xff"])
def test_what_is_no_message_ends_the_connection(machine: Machine, raw: bytes) -> None:
    machine._port.sendall(raw)
    assert machine._port.recv(1) == b""
    machine.hang_up()
    machine.connect()
    machine.send(frame(1, 20_000, b"ok"))
    assert bytes(value for _, value in machine.run(30_000)) == b"ok"
