"""A master on a pty with a slave that answers as a test has it, shared by tests of lines."""

import asyncio
import struct
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from gateway_agent.config import Bus, SerialBus
from gateway_agent.counters import Counters
from gateway_agent.field.master import Master
from protocols.modbus_client import Read, read_request
from protocols.wire.modbus.pdu import READ_INPUT

from .slave import Handler, PtySlave, Reply, answer, registers

TIMEOUT_MS = 200  # a slave of this process answers within it on a busy host, too
QUIET_MS = 20
TEN = read_request(1, Read(READ_INPUT, 0, 10))
VALUES = tuple(range(100, 110))
GOOD = answer(1, *VALUES)
DATA = struct.pack(">10H", *VALUES)


def rtu_bus(port: object, timeout_ms: int = TIMEOUT_MS) -> Bus:
    return SerialBus(
        name="line",
        port=str(port),
        baudrate=115200,
        timeout_ms=timeout_ms,
        quiet_ms=QUIET_MS,
        device=(),
    )


async def on_line(
    folder: Path, handler: Handler, test: Callable[[Master, PtySlave], Awaitable[None]]
) -> Counters:
    """Run a test against a slave on a pty; the counters afterwards."""
    counters = Counters()
    slave = PtySlave(folder, handler)
    master = Master(rtu_bus(slave.path), counters)
    try:
        await test(master, slave)
    finally:
        master.close()
        slave.close()
        await asyncio.sleep(0)
    return counters


class Script:
    """A handler that goes through prepared replies, one request each, the last one for ever."""

    def __init__(self, *steps: Iterable[Reply]) -> None:
        self.steps = [tuple(step) for step in steps]

    def __call__(self, request: bytes) -> Iterable[Reply]:
        return self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]


def obedient(request: bytes) -> list[Reply]:
    """Answers every read with VALUES from the start."""
    unit, function, _, count = registers(request)
    return [(0, answer(unit, *VALUES[:count], function=function))]
