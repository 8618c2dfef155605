"""A Modbus TCP device that logs each value it serves: the log is what the promise is measured by.

A value is served once, so the tables of the collector can be compared with the log value by value,
and its times show which polls the configured period promised.
"""

import struct
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.unit.gateway_agent.slave import Reply, mbap


def boot_ms() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


@dataclass
class Served:
    """What one unit of the device has served: value i at ``times[i]``, ms since boot."""

    times: list[int] = field(default_factory=list)


class LoggingDevice:
    """Answers each read with a number that no read before got.

    ``delay_s`` is how long a unit takes; a unit in ``silent`` gives no answer, and serves nothing.
    """

    def __init__(self) -> None:
        self.log: dict[int, Served] = {}
        self.silent: set[int] = set()
        self.delay_s: dict[int, float] = {}
        self.asked: list[tuple[int, int]] = []  # unit, time

    def answer(self, segment: bytes) -> Iterable[Reply]:
        tid, unit = struct.unpack(">H", segment[:2])[0], segment[6]
        self.asked.append((unit, boot_ms()))
        if unit in self.silent:
            return
        served = self.log.setdefault(unit, Served())
        served.times.append(boot_ms())
        value = unit << 24 | len(served.times) - 1
        pdu = struct.pack(">BBI", segment[7], 4, value)
        yield self.delay_s.get(unit, 0.0), mbap(tid, unit, pdu)
