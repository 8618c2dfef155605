"""All functions and exceptions, requested by clients that others made: mbpoll and pymodbus."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest
from pymodbus.client import ModbusSerialClient
from pymodbus.framer import FramerRTU

from hil.bench import Bench
from hil.site.polls import Target
from protocols.modbus_client import WriteCounter, signed_write_request
from protocols.wire.registers import (
    SETTINGS,
    SIGNED_ADDRESS,
    WRITE_COUNTER_ADDRESS,
    map_of_role,
    setting_address,
)

pytestmark = pytest.mark.asyncio
_LIMIT_S: Final = 20.0
FITTED: Final = setting_address("fitted")
PERIOD: Final = setting_address("sample_period_ds")


async def run_mbpoll(mbpoll: Path, port: str, *words: str) -> tuple[int, str]:
    """Run mbpoll with options and one value to write, or ""; return status and whole output."""
    return await run_mbpoll_words(mbpoll, port, words[:-1], words[-1:] if words[-1] else ())


async def run_mbpoll_words(
    mbpoll: Path, port: str, options: Sequence[str], words: Sequence[str]
) -> tuple[int, str]:
    """Run mbpoll with values to write; return its exit status and its whole output."""
    process = await asyncio.create_subprocess_exec(
        *(str(mbpoll), "-m", "rtu", "-b", "9600", "-P", "none", "-0", "-1", "-o", "2", *options),
        port,
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), _LIMIT_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    assert process.returncode is not None
    return process.returncode, output.decode("utf-8", "replace")


def values(output: str) -> list[int]:
    """Return the values mbpoll printed, in order: ``[12]:  34`` or ``[12]:  65535 (-1)``."""
    return [int(value) for value in re.findall(r"^\[\d+\]:\s+(\d+)", output, re.MULTILINE)]


async def test_mbpoll_reads_input_registers(node_bench: Bench, mbpoll: Path) -> None:
    words = map_of_role("air").words
    code, output = await run_mbpoll(
        mbpoll, node_bench.port, "-a", "1", "-t", "3", "-r", "0", "-c", str(words), ""
    )
    assert code == 0, output
    got = values(output)
    assert len(got) == words
    assert got[0] == map_of_role("air").map_id


def signed_words(bench: Bench, counter: Sequence[int], register: int, *values: int) -> list[int]:
    """Return the registers of a signed write, for a client that sends them with FC 10.

    ``counter`` are the four registers that the node shows.
    """
    target = Target.of(bench.nodes["air"].spec)
    assert target.mac is not None
    turn = WriteCounter(counter[0] << 16 | counter[1], counter[2] << 16 | counter[3])
    request = signed_write_request(1, register, values, target.mac, target.uid, turn)
    block = request.pdu[6:]
    return [block[at] << 8 | block[at + 1] for at in range(0, len(block), 2)]


async def test_mbpoll_reads_and_writes_holding_registers(node_bench: Bench, mbpoll: Path) -> None:
    port, at = node_bench.port, str(PERIOD)
    counter = ("-r", str(WRITE_COUNTER_ADDRESS), "-c", "4")
    code, output = await run_mbpoll(mbpoll, port, "-a", "1", "-t", "4", *counter, "")
    assert code == 0, output
    words = [str(word) for word in signed_words(node_bench, values(output), PERIOD, 25)]
    signed = ("-a", "1", "-t", "4", "-r", str(SIGNED_ADDRESS))
    code, output = await run_mbpoll_words(mbpoll, port, signed, words)
    assert code == 0, output
    code, output = await run_mbpoll_words(mbpoll, port, signed, words)
    assert code, "the same write once more"
    code, output = await run_mbpoll(mbpoll, port, "-a", "1", "-t", "4", "-r", at, "-c", "1", "")
    assert code == 0, output
    assert values(output) == [25]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("-t", "3", "-r", "5000", "-c", "1", ""), "Illegal data address"),
        (("-t", "4", "-r", str(PERIOD), "0"), "Illegal data value"),
        (("-t", "0", "-r", "0", "-c", "1", ""), "Illegal function"),
    ],
    ids=["address", "value", "function"],
)
async def test_mbpoll_gets_exceptions(
    words: tuple[str, ...], expected: str, node_bench: Bench, mbpoll: Path
) -> None:
    _, output = await run_mbpoll(mbpoll, node_bench.port, "-a", "1", *words)
    assert expected in output


async def test_mbpoll_gets_no_answer_from_an_absent_address(
    node_bench: Bench, mbpoll: Path
) -> None:
    _, output = await run_mbpoll(
        mbpoll, node_bench.port, "-a", "99", "-t", "3", "-r", "0", "-c", "1", ""
    )
    assert "timed out" in output


def functions(bench: Bench) -> None:
    """Use every function of the node by pymodbus; in a thread, as it blocks."""
    client = ModbusSerialClient(bench.port, baudrate=9600, timeout=2, retries=0)
    assert client.connect()
    try:
        words = map_of_role("air").words
        assert len(client.read_input_registers(0, count=words).registers) == words
        defaults = client.read_holding_registers(0, count=len(SETTINGS))
        assert len(defaults.registers) == len(SETTINGS)
        for plain in (client.write_register(PERIOD, 33), client.write_registers(PERIOD, [44, 5])):
            assert plain.exception_code == 1, "without the key"
        for register, wanted in ((PERIOD, [33]), (PERIOD, [44, 5])):
            counter = client.read_holding_registers(WRITE_COUNTER_ADDRESS, count=4).registers
            words_to_write = signed_words(bench, counter, register, *wanted)
            assert not client.write_registers(SIGNED_ADDRESS, words_to_write).isError()
            found = client.read_holding_registers(register, count=len(wanted))
            assert found.registers == wanted
        counter = client.read_holding_registers(WRITE_COUNTER_ADDRESS, count=4).registers
        both = client.readwrite_registers(
            read_address=PERIOD,
            read_count=1,
            write_address=SIGNED_ADDRESS,
            values=signed_words(bench, counter, PERIOD, 55),
        )
        assert both.registers == [55]
        identity: dict[int, bytes] = {}
        for first in (0, 0x80):
            answer = client.read_device_information(read_code=3, object_id=first)
            assert not answer.isError(), answer
            identity |= answer.information  # type: ignore[attr-defined]  # of the answer's class
        assert identity[0] == b"tianfu-edge"
        assert identity[5] == b"air"
        assert not client.diag_query_data(b"\xa5\x37").isError()
        for ask in (
            client.diag_read_bus_message_count,
            client.diag_read_bus_comm_error_count,
            client.diag_read_bus_exception_error_count,
            client.diag_read_device_message_count,
            client.diag_read_device_no_response_count,
            client.diag_read_device_nak_count,
            client.diag_read_device_busy_count,
            client.diag_read_bus_char_overrun_count,
            client.diag_clear_counters,
        ):
            answer = ask()
            assert not answer.isError(), f"{ask.__name__}: {answer}"
    finally:
        client.close()  # type: ignore[no-untyped-call]  # pymodbus


async def test_pymodbus_uses_every_function(node_bench: Bench) -> None:
    await asyncio.to_thread(functions, node_bench)


def identify(port: str) -> dict[int, bytes]:
    """Read the basic identification; in a thread, as it blocks."""
    client = ModbusSerialClient(port, baudrate=9600, timeout=2, retries=0)
    assert client.connect()
    try:
        answer = client.read_device_information(read_code=1, object_id=0)
        assert not answer.isError(), answer
        found: dict[int, bytes] = answer.information  # type: ignore[attr-defined]  # its class's
        return found
    finally:
        client.close()  # type: ignore[no-untyped-call]  # pymodbus


async def test_identification_is_read(node_bench: Bench) -> None:
    found = await asyncio.to_thread(identify, node_bench.port)
    assert sorted(found) == [0, 1, 2]
    assert found[0] == b"tianfu-edge"
    # The same, byte for byte, as the Robot suite expects it.
    raw = await asyncio.to_thread(ask, node_bench.port, bytes.fromhex("2b0e0100"), 21)
    assert raw.hex().upper() == "012B0E0183000003000B7469616E66752D65646765"


#: Request PDUs and the exception each one gets, in the order the specification checks.
REFUSED: Final = {
    "unknown function": ("64", 1),
    "coils": ("0100000001", 1),
    "no quantity": ("0400000000", 3),
    "quantity 126": ("040000007e", 3),
    "address over the end": ("04fff00020", 2),
    "unmapped input": ("0420000001", 2),
    "unmapped holding": ("0300ef0001", 2),
    "unmapped write": ("0620000001", 2),
    "value out of range": (f"06{PERIOD:04x}0000", 3),
    "write of no registers": (f"10{PERIOD:04x}000000", 3),
    "byte count that does not fit": (f"10{PERIOD:04x}0001030001", 3),
    "read and write, bad read": (f"1720000001{PERIOD:04x}0001020005", 2),
    "unknown diagnostic": ("0800040000", 1),
    "diagnostic with data": ("08000b0001", 3),
    "encapsulated, not identification": ("2b0d0000", 1),
    "unknown identification code": ("2b0e0900", 3),
    "unknown identification object": ("2b0e0470", 2),
    "image that may not leave": ("0402000002", 2),
    "unknown command": ("0600f01234", 3),
}


def ask(port: str, pdu: bytes, count: int = 5) -> bytes:
    """Send a raw request by pyserial; return the first ``count`` bytes of the raw answer."""
    import serial

    frame = b"\x01" + pdu
    frame += FramerRTU.compute_CRC(frame).to_bytes(2, "big")
    with serial.Serial(port, 9600, timeout=2) as line:
        line.reset_input_buffer()
        line.write(frame)
        return bytes(line.read(count))


async def test_every_exception_comes_as_the_specification_says(node_bench: Bench) -> None:
    got = {}
    for name, (pdu, _) in REFUSED.items():
        got[name] = await asyncio.to_thread(ask, node_bench.port, bytes.fromhex(pdu))
    expected = {}
    for name, (pdu, code) in REFUSED.items():
        body = bytes((1, int(pdu[:2], 16) | 0x80, code))
        expected[name] = body + FramerRTU.compute_CRC(body).to_bytes(2, "big")
    assert got == expected
