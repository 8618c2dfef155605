"""A Modbus TCP server that costs little, so that the gateway is what is measured.

Answers FC 03 and 04 for every unit id with precomputed bytes that change from request to request
(a slow triangle per register, as a sensor's values do), and nothing else.
``python -m tests.bench.modbus_server REGISTERS`` prints the port and serves until its input closes;
with ``mixed`` it is the device of :mod:`.mixed`.
"""

import asyncio
import struct
import sys
from typing import Final

from . import mixed

_MBAP: Final = 7
_REQUEST: Final = 12  # MBAP header, function, address, count
_VARIANTS: Final = 64


def answers(registers: int) -> list[bytes]:
    """Return the PDUs (without the function byte) of ``_VARIANTS`` consecutive samples."""
    result = []
    for step in range(_VARIANTS):
        swing = abs(step - _VARIANTS // 2)
        values = [200 + 7 * index % 900 + swing for index in range(registers)]
        result.append(struct.pack(f">B{registers}H", 2 * registers, *values))
    return result


class Server(asyncio.Protocol):
    """Serve one connection; requests may come joined or cut."""

    def __init__(self, bodies: list[bytes]) -> None:
        self.bodies = bodies
        self.length = len(bodies[0]) + 2  # unit and function
        self.step = 0
        self.rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        data = self.rest + data
        out = []
        at = 0
        while len(data) - at >= _REQUEST:
            self.step = (self.step + 1) % _VARIANTS
            out.append(data[at : at + 4])
            out.append(self.length.to_bytes(2, "big"))
            out.append(data[at + 6 : at + 8])
            out.append(self.bodies[self.step])
            at += _REQUEST
        self.rest = data[at:]
        if out:
            self.transport.write(b"".join(out))


async def serve(bodies: list[bytes]) -> None:
    """Serve on a free loopback port until standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Server(bodies), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    what = sys.argv[1]
    asyncio.run(serve(mixed.answers() if what == "mixed" else answers(int(what))))
