"""A console's or a part's UART on Renode: pieces, one behind the other, at the UART's speed."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path

import pytest
import pytest_asyncio

from hil.renode.fake.clock import FakeClock
from hil.renode.fake.port import FakePort
from hil.wires.line_port_codec import (
    MAX_PIECE,
    Decoder,
    Delivered,
    Retract,
    Ticks,
    TimedPiece,
    encode,
)
from hil.wires.renode_uart import RenodeLine, RenodeUart
from hil.wires.virtual_clock import VirtualClock

BAUD, BYTE_US = 115200, 87
LIMIT_S = 20


class Core:
    """What a clock asks of a machine: it runs."""

    paused = False
    own_s = 0.0
    running = True


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await asyncio.sleep(0.001)


@pytest_asyncio.fixture
async def port(tmp_path: Path) -> AsyncIterator[FakePort]:
    clock = FakeClock(lambda: [Core()])
    clock.quantum_s = 0.001
    made = FakePort(tmp_path / "uart", clock)
    clock.start(True)
    yield made
    made.close()


@pytest_asyncio.fixture
async def wire(port: FakePort, tmp_path: Path) -> AsyncIterator[RenodeUart]:
    made = RenodeUart(BAUD)
    made.connect(tmp_path / "uart")
    made.power(True)
    yield made
    made.close()


async def test_a_long_text_comes_whole_in_order_and_at_the_uarts_speed(
    wire: RenodeUart, port: FakePort
) -> None:
    heard: list[tuple[int, int]] = []
    port.listen(lambda data, at_us: heard.append((at_us, data[0])))
    text = bytes(range(256)) * 8
    assert wire.write(text) == len(text)
    await until(lambda: len(heard) == len(text))
    assert bytes(byte for _, byte in heard) == text
    pauses = [later - at for (at, _), (later, _) in pairwise(heard)]
    assert min(pauses) == BYTE_US
    # A pause stands between pieces at most, not in the midst of one.
    assert pauses.count(BYTE_US) >= len(text) - len(text) // MAX_PIECE


async def test_what_the_node_sends_is_heard(wire: RenodeUart, port: FakePort) -> None:
    got, asked = bytearray(), bytearray()
    wire.listen(got.extend)
    port.listen(lambda data, _at_us: asked.extend(data))
    wire.write(b"?")
    await until(lambda: asked == b"?")
    port.send(b"hello")
    await until(lambda: got == b"hello")


async def test_two_pieces_are_under_way_and_the_rest_waits(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "by_hand"))
        listener.listen(1)
        wire = RenodeUart(BAUD)
        wire.connect(tmp_path / "by_hand")
        near, _ = listener.accept()
    with near:
        near.setblocking(False)
        assert wire.write(b"off") == 0
        wire.power(True)
        assert wire.write(bytes(3 * MAX_PIECE)) == 3 * MAX_PIECE
        loop, decoder = asyncio.get_running_loop(), Decoder()
        messages = list(decoder.feed(await loop.sock_recv(near, 65536)))
        assert [len(m.data) for m in messages if isinstance(m, TimedPiece)] == [MAX_PIECE] * 2
        assert wire.pending() == MAX_PIECE
        # More than may wait is lost and counted.
        assert wire.write(bytes(5000)) == 4096 - MAX_PIECE
        assert wire.overrun == 3 + 5000 - (4096 - MAX_PIECE)
        await loop.sock_sendall(near, encode(Delivered(1, 10, 20, MAX_PIECE)))
        (third,) = decoder.feed(await loop.sock_recv(near, 65536))
        assert isinstance(third, TimedPiece)
        assert third.number == 3
        # What the node has not got when its power goes, it never gets.
        wire.power(False)
        assert wire.pending() == 0
        assert (await loop.sock_recv(near, 65536)).hex() == "0208000000000000000000"
        wire.close()


@pytest.mark.parametrize("paced", [False, True])
async def test_a_uart_that_takes_the_time_of_a_byte_has_it_that_much_earlier(
    paced: bool, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "line"))
        listener.listen(1)
        wire = RenodeLine(9600, VirtualClock(), 5500, 1000)
        wire.connect(tmp_path / "line")
        near, _ = listener.accept()
    with near:
        near.setblocking(False)
        wire.set_paced(paced)
        wire.power(True)
        byte_us = 1042
        wire.announce(b"ab", [1000 * byte_us, 2000 * byte_us])
        wire.retract(1_500_000)
        loop, decoder = asyncio.get_running_loop(), Decoder()
        messages = list(decoder.feed(await loop.sock_recv(near, 65536)))
        first_us = byte_us + wire.lag_ns // 1000 - (byte_us if paced else 0)
        assert messages == [
            Ticks(2000),
            TimedPiece(1, first_us, 5500, (0, byte_us), b"ab"),
            Retract(first_us + 1500 - byte_us + 1),
        ]
        wire.close()


async def test_a_port_that_sends_no_message_is_left(
    wire: RenodeUart, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "odd"))
        listener.listen(1)
        wire.connect(tmp_path / "odd")
        near, _ = listener.accept()
    with near:
        near.sendall(b"\x77\x00\x00")
        await until(lambda: not wire.receives())
    assert "sent no message" in caplog.text
    assert wire.write(b"lost") == 0
