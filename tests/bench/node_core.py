"""Requests per second of the Modbus server core; runs on CPython and on MicroPython.

``micropython -m tests.bench.node_core`` prints ``requests_per_s heap_growth_bytes``.
"""

import gc
import time

from protocols.wire.crc import crc16
from protocols.wire.modbus.server import RtuServer

_REQUESTS = 5000
_FRAME_WORDS = 28  # the air node's sample frame


class Bank:
    """Hold one frame in fixed memory, as the node's register bank does."""

    def __init__(self) -> None:
        self.frame = bytearray(2 * _FRAME_WORDS)

    def read_input(self, address: int, count: int, out: bytearray, at: int) -> int:
        if address + count > _FRAME_WORDS:
            return 2
        out[at : at + 2 * count] = self.frame
        return 0

    def read_holding(self, address: int, count: int, out: bytearray, at: int) -> int:
        return 2

    def write_holding(self, address: int, count: int, data: bytearray, at: int) -> int:
        return 2


def now_us() -> int:
    """Return microseconds on either runtime."""
    if hasattr(time, "ticks_us"):
        ticks: int = time.ticks_us()
        return ticks
    return time.perf_counter_ns() // 1000


def main() -> None:
    """Feed, poll, repeat."""
    server = RtuServer(1, Bank(), {}, 115200)
    request = bytearray(b"\x01\x04\x00\x00\x00\x1c\x00\x00")
    crc = crc16(request, 6)
    request[6] = crc & 0xFF
    request[7] = crc >> 8
    clock = 0
    gc.collect()
    before = gc.mem_alloc() if hasattr(gc, "mem_alloc") else 0
    start = now_us()
    for _ in range(_REQUESTS):
        clock += 10000
        server.feed(request, 8, clock)
        if server.poll(clock + 5000) != 3 + 2 * _FRAME_WORDS + 2:
            raise ValueError("no answer")
    elapsed = now_us() - start
    gc.collect()
    after = gc.mem_alloc() if hasattr(gc, "mem_alloc") else 0
    print(_REQUESTS * 1000000 // elapsed, after - before)


if __name__ == "__main__":
    main()
