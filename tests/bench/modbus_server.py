"""A Modbus TCP server that costs little, so that the gateway is what is measured.

Answers FC 03 and 04 for every unit id with precomputed bytes, and nothing else. Units measure much
the same: a register's values are within a fifth of each other, and each wanders on its own, by at
most 3 from one request to the next.
``python -m tests.bench.modbus_server REGISTERS`` prints the port and serves until its input closes;
with ``mixed`` it is the device of :mod:`.mixed`.
"""

import asyncio
import os
import random
import struct
import sys
from typing import Final

from . import mixed

_MBAP: Final = 7
_REQUEST: Final = 12  # MBAP header, function, address, count
_VARIANTS: Final = 64
_UNITS: Final = 256


def answers(registers: int, unit: int) -> list[bytes]:
    """Return the PDUs (without the function byte) of consecutive samples, then of the way back."""
    alike, own = random.Random(0), random.Random(os.getpid() * _UNITS + unit)
    usual = [alike.randrange(100, 4000) for _ in range(registers)]
    raw = [own.randrange(4 * value // 5, 6 * value // 5) for value in usual]
    result = []
    for _ in range(_VARIANTS // 2):
        raw = [value + own.randint(-3, 3) for value in raw]
        result.append(struct.pack(f">B{registers}H", 2 * registers, *raw))
    return result + result[::-1]


class Server(asyncio.Protocol):
    """Serve one connection; requests may come joined or cut."""

    def __init__(self, bodies: list[list[bytes]]) -> None:
        self.bodies = bodies  # by unit
        self.length = len(bodies[0][0]) + 2  # unit and function
        self.steps = [0] * _UNITS
        self.rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        data = self.rest + data
        out = []
        at = 0
        while len(data) - at >= _REQUEST:
            unit = data[at + 6]
            self.steps[unit] = step = (self.steps[unit] + 1) % _VARIANTS
            out.append(data[at : at + 4])
            out.append(self.length.to_bytes(2, "big"))
            out.append(data[at + 6 : at + 8])
            out.append(self.bodies[unit][step])
            at += _REQUEST
        self.rest = data[at:]
        if out:
            self.transport.write(b"".join(out))


async def serve(bodies: list[list[bytes]]) -> None:
    """Serve on a free loopback port until standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Server(bodies), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    what = sys.argv[1]
    if what == "mixed":
        asyncio.run(serve([mixed.answers()] * _UNITS))
    else:
        asyncio.run(serve([answers(int(what), unit) for unit in range(_UNITS)]))
