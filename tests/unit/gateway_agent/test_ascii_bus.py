"""A line with Modbus ASCII, 7 data bits, or a transceiver whose direction RTS switches."""

import asyncio
import os
import struct
import termios
import tty
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import serial
from msgspec import structs

from gateway_agent.config import (
    AsciiBus,
    AsciiOverTcpBus,
    ConfigError,
    SerialBus,
    load,
)
from gateway_agent.counters import Counters
from gateway_agent.field.bus_errors import BusDownError, BusError
from gateway_agent.field.master import Master
from gateway_agent.field.planner import answer_ms, request_ms
from protocols.modbus_client import Read, read_request

from .slave import TcpSlave

ASK = read_request(1, Read(4, 0, 2))
DATA = b"\x00\x07\xff\x08"


def line(*frame: int) -> bytes:
    """An ASCII frame, made here."""
    text = "".join(f"{byte:02X}" for byte in (*frame, -sum(frame) & 0xFF))
    return f":{text}\r\n".encode()


QUESTION = line(1, 4, 0, 0, 0, 2)
ANSWER = line(1, 4, 4, *DATA)


@asynccontextmanager
async def terminal(answers: list[bytes], seen: list[bytes]) -> AsyncIterator[tuple[str, int]]:
    """A pty on which each line that comes takes the next answer, the last one for ever."""
    mine, theirs = os.openpty()
    tty.setraw(mine)
    tty.setraw(theirs)
    rest = b""

    def readable() -> None:
        nonlocal rest
        rest += os.read(mine, 4096)
        while b"\n" in rest:
            request, _, rest = rest.partition(b"\n")
            seen.append(request + b"\n")
            os.write(mine, answers.pop(0) if len(answers) > 1 else answers[0])

    asyncio.get_running_loop().add_reader(mine, readable)
    try:
        yield os.ttyname(theirs), theirs
    finally:
        asyncio.get_running_loop().remove_reader(mine)
        os.close(mine)
        os.close(theirs)


async def test_a_device_is_read_in_ascii_with_seven_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    real = termios.tcsetattr

    def tcsetattr(descriptor: int, when: int, attributes: list[Any]) -> None:
        """A pty has 8 bits and no parity, whatever is asked for."""
        asked.append(attributes[2])
        plain = attributes[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
        real(descriptor, when, [*attributes[:2], plain, *attributes[3:]])

    seen: list[bytes] = []
    late = line(1, 4, 4, 0, 1, 0, 1)
    async with terminal([ANSWER, ANSWER[:-4], line(9, 4, 2, 0, 0), late + ANSWER], seen) as found:
        path, _ = found
        monkeypatch.setattr(serial.serialposix.termios, "tcsetattr", tcsetattr)
        bus = AsciiBus(name="line", port=path, timeout_ms=100, quiet_ms=5, device=())
        assert (bus.data_bits, bus.parity, bus.line) == (7, "E", "9600 7E1")
        counters = Counters()
        master = Master(bus, counters)
        try:
            assert await master.read(ASK) == DATA
            assert asked[-1] & termios.CSIZE == termios.CS7
            assert asked[-1] & termios.PARENB
            with pytest.raises(BusError) as caught:
                await master.read(ASK)
            assert caught.value.cause == "crc"
            with pytest.raises(BusError) as caught:
                await master.read(ASK)
            assert caught.value.cause == "wrong_unit"
        finally:
            master.close()
    assert seen[0] == QUESTION
    assert counters.poll_errors == {"crc": 1, "wrong_unit": 1}


async def test_ascii_behind_a_serial_server() -> None:
    net = await TcpSlave(lambda request: [(0, ANSWER[:6]), (0.01, ANSWER[6:])]).start()
    bus = AsciiOverTcpBus(name="net", host="127.0.0.1", port=net.port, timeout_ms=500, device=())
    master = Master(bus, Counters())
    try:
        for _ in range(3):
            assert await master.read(ASK) == DATA
    finally:
        master.close()
        await net.close()
    assert set(net.requests) == {QUESTION}


def test_the_time_of_ascii_frames() -> None:
    bus = AsciiBus(name="line", port="/dev/null", device=())
    assert bus.char_ms == 10 * 1000 / 9600
    assert request_ms(bus) == len(QUESTION) * bus.char_ms
    assert answer_ms(bus, 2) == len(ANSWER) * bus.char_ms


async def test_rts_is_switched_by_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    set_flags: list[int] = []
    real = serial.serialposix.fcntl.ioctl

    def ioctl(descriptor: int, request: int, *rest: object) -> object:
        if request in (serial.serialposix.TIOCGRS485, serial.serialposix.TIOCSRS485):
            if request == serial.serialposix.TIOCSRS485:
                (data,) = rest
                set_flags.append(struct.unpack("I", bytes(data)[:4])[0])  # type: ignore[call-overload]  # an array
            return 0
        return real(descriptor, request, *rest)

    async with terminal([ANSWER], []) as found:
        plain = AsciiBus(name="l", port=found[0], data_bits=8, parity="N", device=())
        for level, flags in (("high", 0b011), ("low", 0b101)):
            bus = structs.replace(plain, rts=level)
            monkeypatch.setattr(serial.serialposix.fcntl, "ioctl", ioctl)
            master = Master(bus, Counters())
            try:
                assert await master.read(ASK) == DATA
            finally:
                master.close()
            # linux/serial.h: enabled, RTS on send, RTS after send.
            assert set_flags[-1] & 0b111 == flags


async def test_a_driver_that_does_not_switch_rts_is_named() -> None:
    async with terminal([ANSWER], []) as found:
        bus = SerialBus(name="line", port=found[0], rts="high", device=())
        master = Master(bus, Counters())
        with pytest.raises(BusDownError, match='does not switch RTS; write rts = "none" if'):
            await master.read(ASK)
        master.close()


def config(folder: Path, bus: str) -> Path:
    path = folder / "gateway.toml"
    path.write_text(
        '[gateway]\nid = "g"\nstate_dir = "state"\nkey = "k.pem"\n'
        '[uplink]\nhost = "h"\nreceipt = "puback"\n'
        f'[[bus]]\nname = "line"\n{bus}\n'
        '[[bus.device]]\nname = "m"\nunit = 1\nkind = "profile"\nprofile = "senseair-s8"\n',
        encoding="utf-8",
    )
    return path


def test_a_configuration_names_it(tmp_path: Path) -> None:
    port = 'port = "/dev/ttyS1"\n'
    (bus,) = load(config(tmp_path, f'type = "ascii"\n{port}data_bits = 8\nrts = "low"')).bus
    assert type(bus) is AsciiBus
    assert (bus.data_bits, bus.rts) == (8, "low")
    (bus,) = load(config(tmp_path, 'type = "ascii-over-tcp"\nhost = "h"\nport = 4001')).bus
    assert type(bus) is AsciiOverTcpBus
    with pytest.raises(ConfigError, match=r'data_bits: expected 8, because RTU .* type = "ascii"'):
        load(config(tmp_path, f'type = "rtu"\n{port}data_bits = 7'))
