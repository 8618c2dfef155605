"""What answers on a technician's line besides a well node: nothing, noise, strangers, refusals."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from boards import node_line
from boards.flash.errors import FlashingError
from boards.node_line import NodeLine, NodeLineError, NodeRefusal, NodeSilence, WriteState
from firmware.node.identity import NodeKey
from protocols.modbus_client import WriteCounter
from protocols.wire.registers import map_of_role

Answer = Callable[[bytes], bytes]
UID = bytes(range(1, 13))


class NoKey:
    """A store without a key."""

    directory = ""

    def read(self, name: str) -> bytes | None:
        return None

    def write(self, name: str, data: bytes | bytearray) -> bool:
        return False


def with_crc(body: bytes) -> bytes:
    """Modbus over Serial Line 1.02, 6.2.2: CRC-16, low byte first."""
    crc = 0xFFFF
    for byte in body:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return body + crc.to_bytes(2, "little")


@contextmanager
def line_to(answer: Answer) -> Iterator[NodeLine]:
    """A line whose far end answers each request."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        near, _ = listener.accept()
        with near:
            while request := near.recv(256):
                near.sendall(answer(request))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with NodeLine(f"socket://127.0.0.1:{listener.getsockname()[1]}", 2, 115200) as line:
            yield line
    finally:
        thread.join(10)
        listener.close()


@pytest.fixture(autouse=True)
def _no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_line, "_ANSWER_S", 0.1)


@pytest.mark.parametrize(
    ("noise", "came"), [(b"", "got nothing"), (b"\xff" * 4, "4 bytes that are no answer")]
)
def test_silence_and_noise_are_told_apart(noise: bytes, came: str) -> None:
    asked = []

    def answer(request: bytes) -> bytes:
        asked.append(request)
        return noise

    with line_to(answer) as line, pytest.raises(NodeSilence, match=came) as caught:
        line.identity()
    assert "check address, speed, wiring and power" in str(caught.value)
    assert len(asked) == 3


def test_a_stranger_is_named_by_what_it_says_of_itself() -> None:
    """Vendor and product of another maker; Modbus application protocol 1.1b3, 6.21."""

    def answer(request: bytes) -> bytes:
        first = request[4]
        objects = b"\x00\x04Acme\x01\x05Meter" if first == 0 else b"\x80\x01x"
        count = 2 if first == 0 else 1
        return with_crc(b"\x02\x2b\x0e\x03\x83\x00\x00" + bytes((count,)) + objects)

    with line_to(answer) as line, pytest.raises(NodeLineError, match="b'Acme' b'Meter'"):
        line.identity()


def test_an_identification_that_is_none_is_an_error_not_a_crash() -> None:
    def answer(_: bytes) -> bytes:
        return with_crc(b"\x02\x2b\x0e\x03\x83\x00\x00\x01\x00\x01\xff"[:8] + b"\x07\x01a")

    with line_to(answer) as line, pytest.raises(NodeLineError):
        line.identity()


def test_firmware_from_before_signed_writes_takes_plain_ones() -> None:
    with line_to(lambda _: with_crc(b"\x02\x83\x02")) as line:
        assert line.write_state() == WriteState(False, WriteCounter(0, 0), 0)


def test_another_refusal_of_the_state_is_shown() -> None:
    with (
        line_to(lambda _: with_crc(b"\x02\x83\x04")) as line,
        pytest.raises(NodeRefusal, match="exception 04"),
    ):
        line.write_state()


def commissioned(number: int) -> bytes:
    """The registers of a node with a key: boot epoch 1 and the number of the last write."""
    values = b"\x00\x01" + (1).to_bytes(4, "big") + number.to_bytes(4, "big") + b"\x00\x00"
    return with_crc(b"\x02\x03\x0c" + values)


def test_a_node_with_a_key_is_not_sent_a_plain_write() -> None:
    asked = []

    def answer(request: bytes) -> bytes:
        asked.append(request)
        return commissioned(5)

    with line_to(answer) as line, pytest.raises(NodeLineError, match="name it with --key FILE"):
        line.write(0, [1], NodeKey(NoKey()), UID)
    assert len(asked) == 1


def test_a_value_out_of_range_is_refused_with_where_to_look() -> None:
    def answer(request: bytes) -> bytes:
        return with_crc(b"\x02\x83\x02") if request[1] == 3 else with_crc(b"\x02\x90\x03")

    with line_to(answer) as line, pytest.raises(NodeRefusal, match=r"docs/registers\.md"):
        line.write(0, [1], None, UID)


def test_a_plain_write_that_is_never_answered_is_silence() -> None:
    def answer(request: bytes) -> bytes:
        return with_crc(b"\x02\x83\x02") if request[1] == 3 else b""

    with line_to(answer) as line, pytest.raises(NodeSilence):
        line.write(0, [1], None, UID)


@pytest.mark.provokes("TF-FLASH-001")
def test_a_port_that_is_not_there_names_what_to_check() -> None:
    with pytest.raises(FlashingError, match=r"^TF-FLASH-001: .*serial port.*/dev/serial/by-id"):
        NodeLine("/dev/does-not-exist", 1, 9600)


@pytest.mark.provokes("TF-FLASH-056")
def test_a_node_with_registers_of_another_version_is_named() -> None:
    """Version 9 of the map of an air node; docs/registers.md has version 1."""
    air = map_of_role("air")
    frame = b"\x01\x01\x00\x09" + bytes(2 * air.words - 4)

    def answer(_: bytes) -> bytes:
        return with_crc(b"\x02\x04" + bytes((len(frame),)) + frame)

    with (
        line_to(answer) as line,
        pytest.raises(FlashingError, match=r"^TF-FLASH-056: .*version.*expected 1, got 9"),
    ):
        line.sample(air)
