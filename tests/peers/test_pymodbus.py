"""The Modbus server as pymodbus, an independent client, sees it."""

import asyncio
import os
import time
import tty
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.client import AsyncModbusSerialClient
from pymodbus.constants import DeviceInformation
from pymodbus.framer import FramerRTU
from pymodbus.pdu import DecodePDU, ExceptionResponse, ModbusPDU
from pymodbus.pdu.diag_message import (
    ClearCountersRequest,
    ReturnBusMessageCountRequest,
    ReturnQueryDataRequest,
)
from pymodbus.pdu.mei_message import ReadDeviceInformationRequest, ReadDeviceInformationResponse
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadInputRegistersRequest,
    ReadWriteMultipleRegistersRequest,
    WriteMultipleRegistersRequest,
    WriteSingleRegisterRequest,
)

from protocols.wire.modbus.server import NEED_DATA, RtuServer
from tests.unit.protocols.wire.support import IDENTITY, REFUSED, Bank, Line

WORDS = 300  # registers of the bank
LAST_OBJECT = {
    DeviceInformation.BASIC: 0x02,
    DeviceInformation.REGULAR: 0x7F,
    DeviceInformation.EXTENDED: 0xFF,
}
_words = st.integers(0, 0xFFFF).filter(lambda value: value != REFUSED)


def pattern(words: int) -> bytes:
    """Registers that all differ."""
    return b"".join((7 * index & 0xFFFF).to_bytes(2, "big") for index in range(words))


def ask(line: Line, request: ModbusPDU) -> ModbusPDU:
    """Encode with pymodbus, serve, decode with pymodbus."""
    framer = FramerRTU(DecodePDU(is_server=False))
    answer = line.whole(FramerRTU(DecodePDU(is_server=True)).buildFrame(request))
    assert answer is not None
    used, response = framer.handleFrame(answer, 1, 0)
    assert used == len(answer)
    assert response is not None
    assert response.dev_id == 1
    return response


def expect(response: ModbusPDU, address: int, count: int) -> bool:
    """Return whether the range is there; if not, check that the answer is an exception."""
    if address + count <= WORDS:
        assert not response.isError(), response
        return True
    assert isinstance(response, ExceptionResponse)
    assert response.exception_code == 2
    return False


@given(st.integers(0, 0xFFFF), st.integers(1, 125), st.booleans())
def test_reads(address: int, count: int, inputs: bool) -> None:
    if address + count > 0x10000:
        count = 0x10000 - address
    line = Line(Bank(pattern(WORDS), pattern(WORDS)))
    if inputs:
        response = ask(line, ReadInputRegistersRequest(address=address, count=count, dev_id=1))
    else:
        response = ask(line, ReadHoldingRegistersRequest(address=address, count=count, dev_id=1))
    if expect(response, address, count):
        expected = [7 * index & 0xFFFF for index in range(address, address + count)]
        assert response.registers == expected


@given(st.integers(0, WORDS + 10), st.lists(_words, min_size=1, max_size=123))
def test_writes(address: int, values: list[int]) -> None:
    line = Line(Bank(b"", pattern(WORDS)))
    request = WriteMultipleRegistersRequest(address=address, registers=values, dev_id=1)
    response = ask(line, request)
    expected = bytearray(pattern(WORDS))
    if expect(response, address, len(values)):
        assert (response.address, response.count) == (address, len(values))
        for index, value in enumerate(values, address):
            expected[2 * index : 2 * index + 2] = value.to_bytes(2, "big")
    assert line.bank.holding == expected


@given(st.integers(0, WORDS + 10), _words)
def test_writes_one(address: int, value: int) -> None:
    line = Line(Bank(b"", pattern(WORDS)))
    response = ask(line, WriteSingleRegisterRequest(address=address, registers=[value], dev_id=1))
    if expect(response, address, 1):
        assert (response.address, response.registers) == (address, [value])
        assert line.bank.holding[2 * address : 2 * address + 2] == value.to_bytes(2, "big")


@given(
    st.integers(0, WORDS - 1),
    st.integers(1, 125),
    st.integers(0, WORDS - 1),
    st.lists(_words, min_size=1, max_size=121),
)
def test_reads_what_it_wrote(read: int, count: int, write: int, values: list[int]) -> None:
    count = min(count, WORDS - read)
    values = values[: WORDS - write]
    line = Line(Bank(b"", pattern(WORDS)))
    request = ReadWriteMultipleRegistersRequest(
        read_address=read, read_count=count, write_address=write, write_registers=values, dev_id=1
    )
    response = ask(line, request)
    assert not response.isError()
    registers = [7 * index & 0xFFFF for index in range(WORDS)]
    registers[write : write + len(values)] = values
    assert response.registers == registers[read : read + count]


@given(st.binary(min_size=2, max_size=2))
def test_echo(data: bytes) -> None:
    response = ask(Line(Bank(b"", b"")), ReturnQueryDataRequest(message=data, dev_id=1))
    assert response.encode()[2:] == data


def test_counters() -> None:
    line = Line(Bank(b"", b""))
    for expected in (1, 2, 3):
        response = ask(line, ReturnBusMessageCountRequest(dev_id=1))
        assert int.from_bytes(response.encode()[2:], "big") == expected
    ask(line, ClearCountersRequest(dev_id=1))
    response = ask(line, ReturnBusMessageCountRequest(dev_id=1))
    assert int.from_bytes(response.encode()[2:], "big") == 1


@given(
    st.dictionaries(st.integers(3, 255), st.binary(max_size=244), max_size=20),
    st.sampled_from(sorted(LAST_OBJECT)),
)
def test_identification(extra: dict[int, bytes], kind: DeviceInformation) -> None:
    identity = IDENTITY | extra
    line = Line(Bank(b"", b""), 1, identity)
    found: dict[int, bytes] = {}
    object_id = 0
    while True:
        request = ReadDeviceInformationRequest(read_code=kind, object_id=object_id, dev_id=1)
        response = ask(line, request)
        assert isinstance(response, ReadDeviceInformationResponse)
        found |= response.information
        if not response.more_follows:
            break
        assert response.next_object_id > object_id or object_id == 0
        object_id = response.next_object_id
    limit = LAST_OBJECT[kind]
    assert found == {number: value for number, value in identity.items() if number <= limit}


# --- the same over a pseudo terminal, with pymodbus' own client -----------------------------------


@contextmanager
def pty() -> Iterator[tuple[int, str]]:
    """A raw pseudo terminal: our end, and the path of the client's."""
    ours, theirs = os.openpty()
    tty.setraw(ours)
    tty.setraw(theirs)
    os.set_blocking(ours, False)
    try:
        yield ours, os.ttyname(theirs)
    finally:
        os.close(ours)
        os.close(theirs)


async def serve(server: RtuServer, fd: int) -> None:
    """Pump bytes between a file descriptor and the server, for ever."""
    arrived = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(fd, arrived.set)
    try:
        while True:
            now_us = time.monotonic_ns() // 1000
            wait_us = server.wait_us(now_us)
            try:
                await asyncio.wait_for(arrived.wait(), None if wait_us < 0 else wait_us / 1e6)
                arrived.clear()
                data = os.read(fd, 256)
                server.feed(data, len(data), time.monotonic_ns() // 1000)
            except (TimeoutError, BlockingIOError):
                pass  # the silence is over, or a second wake-up for bytes already read
            length = server.poll(time.monotonic_ns() // 1000)
            if length > NEED_DATA:
                os.write(fd, server.tx[:length])
    finally:
        loop.remove_reader(fd)


@asynccontextmanager
async def client_of(server: RtuServer) -> AsyncIterator[AsyncModbusSerialClient]:
    """A connected pymodbus client on the other end of the server's line."""
    with pty() as (fd, path):
        task = asyncio.create_task(serve(server, fd))
        client = AsyncModbusSerialClient(path, baudrate=9600, timeout=5, retries=0)
        try:
            assert await client.connect()
            yield client
        finally:
            client.close()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


async def test_pymodbus_client_over_a_pty() -> None:
    bank = Bank(pattern(125), pattern(125))
    server = RtuServer(17, bank, IDENTITY, 9600, strict=False)
    async with client_of(server) as client:
        response = await client.read_input_registers(0, count=28, device_id=17)
        assert response.registers == [7 * index for index in range(28)]
        response = await client.read_holding_registers(100, count=25, device_id=17)
        assert response.registers == [7 * index for index in range(100, 125)]
        assert not (await client.write_register(5, 4711, device_id=17)).isError()
        assert not (await client.write_registers(6, [1, 2, 3], device_id=17)).isError()
        response = await client.readwrite_registers(
            read_address=4, read_count=6, write_address=9, values=[99], device_id=17
        )
        assert response.registers == [28, 4711, 1, 2, 3, 99]
        response = await client.read_input_registers(124, count=2, device_id=17)
        assert isinstance(response, ExceptionResponse)
        assert response.exception_code == 2
        information = await client.read_device_information(read_code=1, device_id=17)
        assert isinstance(information, ReadDeviceInformationResponse)
        assert information.information == IDENTITY
        assert server.counters.bus_error == 0
        # The server's own answers do not come back to it on this line.
        assert server.counters.bus_message == server.counters.server_message == 7
