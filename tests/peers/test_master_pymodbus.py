"""pymodbus as a peer, and the behaviour of its client that docs/decisions/0004 rests on.

When one of the pins at the end fails, pymodbus has changed: read the decision again.
"""

import asyncio
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from pymodbus import FramerType, ModbusDeviceIdentification
from pymodbus.client import AsyncModbusSerialClient
from pymodbus.exceptions import ModbusIOException
from pymodbus.framer import FramerRTU
from pymodbus.pdu import DecodePDU
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from gateway_agent.config import RtuOverTcpBus, TcpBus
from gateway_agent.counters import Counters
from gateway_agent.field.bus_errors import RefusedError
from gateway_agent.field.master import Master
from protocols.modbus_client import Read, decode_identification, read_request
from protocols.wire.modbus.pdu import READ_HOLDING
from tests.unit.gateway_agent.slave import PtySlave, Reply, answer, registers

VALUES = [100 + index for index in range(10)]
DATA = struct.pack(">10H", *VALUES)


async def with_server(framer: FramerType, test: Callable[[Master], Awaitable[None]]) -> None:
    """Run a test against a pymodbus server with unit 1 and ten holding registers."""
    data = SimData(0, values=list(VALUES), datatype=DataType.REGISTERS)
    identity = ModbusDeviceIdentification(  # type: ignore[no-untyped-call]  # untyped there
        info_name={"VendorName": "pymodbus", "ProductCode": "PM", "MajorMinorRevision": "3"}
    )
    server = ModbusTcpServer(
        SimDevice(1, simdata=[data]),
        framer=framer,
        address=("127.0.0.1", 0),
        identity=identity,
    )
    await server.serve_forever(background=True)
    assert isinstance(server.transport, asyncio.Server)
    port = server.transport.sockets[0].getsockname()[1]
    kind = TcpBus if framer is FramerType.SOCKET else RtuOverTcpBus
    bus = kind(
        name="peer",
        host="127.0.0.1",
        port=port,
        baudrate=115200,
        timeout_ms=2000,
        device=(),
    )
    master = Master(bus, Counters())
    try:
        await test(master)
    finally:
        master.close()
        await server.shutdown()  # type: ignore[no-untyped-call]  # untyped there


@pytest.mark.parametrize("framer", [FramerType.SOCKET, FramerType.RTU])
async def test_a_pymodbus_server_is_read(framer: FramerType) -> None:
    async def test(master: Master) -> None:
        assert await master.read(read_request(1, Read(READ_HOLDING, 0, 10))) == DATA
        assert await master.read(read_request(1, Read(READ_HOLDING, 3, 2))) == DATA[6:10]
        with pytest.raises(RefusedError) as caught:
            await master.read(read_request(1, Read(READ_HOLDING, 5000, 1)))
        assert caught.value.code == 2
        identification = decode_identification(await master.identify(1, 1, 0))
        assert identification.objects[0] == b"pymodbus"

    await with_server(framer, test)


# --- pins: what pymodbus does ---------------------------------------------------------------------


def framed(data: bytes) -> list[int] | None:
    """Registers that pymodbus' RTU framer takes out of ``data`` for unit 1."""
    _, pdu = FramerRTU(DecodePDU(False)).handleFrame(data, 1, 0)
    return None if pdu is None else list(pdu.registers)


@pytest.mark.parametrize(
    ("data", "registers"),
    [
        (answer(1, 1, 2), [1, 2]),
        (answer(9, 7) + answer(1, 1, 2), None),  # ours is swallowed with the other one
        (b"\xff\xff" + answer(1, 1, 2), None),  # two bytes of noise cost the answer
        (answer(1, 1, 2)[:-1] + b"\x00" + answer(1, 1, 2), None),
    ],
    ids=["whole", "foreign", "noise", "damaged"],
)
def test_pymodbus_framer(data: bytes, registers: list[int] | None) -> None:
    assert framed(data) == registers


async def test_pymodbus_takes_a_late_answer_for_the_next(tmp_path: Path) -> None:
    """And it does not compare function or length with the request's."""

    def handler(request: bytes) -> list[Reply]:
        _, _, address, _ = registers(request)
        return [] if address == 0 else [(0, answer(1, 111))]  # the first one's, come late

    slave = PtySlave(tmp_path, handler)
    client = AsyncModbusSerialClient(
        str(slave.path), baudrate=115200, timeout=1, retries=0, reconnect_delay=0
    )
    try:
        assert await client.connect()
        with pytest.raises(ModbusIOException):
            await client.read_input_registers(0, count=1, device_id=1)
        # Ten holding registers are asked for; one input register comes, from before.
        response = await client.read_holding_registers(500, count=10, device_id=1)
        assert list(response.registers) == [111]
    finally:
        client.close()
        slave.close()
