"""A serial line with one device, in a process of its own, that times the gateway's polls.

``python -m tests.bench.paced_line BAUDRATE WORDS TURNAROUND_MS`` prints the path of the gateway's
end, and when its input ends the figures of :class:`Turnarounds` as JSON. Bytes take their time on
the line (``hil.bus``). What is timed is the gateway's part: from the moment before the last bytes
of an answer are handed to its terminal to the moment its next request is read there.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Final

from gateway_agent.fine_timer import FineTimer
from hil.bus.line import Rs485Line
from hil.wires.pty import Pty
from protocols.wire.modbus.timing import t35_us
from tests.unit.gateway_agent.slave import raw_answer, registers

_REQUEST: Final = 8
BITS: Final = 10  # of a character, 8N1


class _GatewayEnd(Pty):
    """The gateway's terminal; notes when bytes pass it."""

    def __init__(self) -> None:
        super().__init__(rx_limit=4095)
        self.read_ns = 0
        self.handed_ns = 0

    def listen(self, on_data: Callable[[bytes], None]) -> None:
        def stamped(data: bytes) -> None:
            self.read_ns = time.monotonic_ns()
            on_data(data)

        super().listen(stamped)

    def write(self, data: bytes) -> int:
        self.handed_ns = time.monotonic_ns()
        return super().write(data)


class _Device:
    """Answers every read a set time after the last byte of the request; a wire of the line."""

    def __init__(self, words: int, turnaround_ns: int) -> None:
        self.overrun = 0
        self.asked: Callable[[], None]
        self._content = bytes(index % 250 for index in range(2 * words))
        self._turnaround_ns = turnaround_ns
        self._request = b""
        self._on_data: Callable[[bytes], None]
        self._timer: FineTimer

    def listen(self, on_data: Callable[[bytes], None]) -> None:
        self._on_data = on_data
        self._timer = FineTimer(asyncio.get_running_loop(), self._answer)

    def write(self, data: bytes) -> int:
        self._request += data
        if len(self._request) >= _REQUEST:
            self._timer.start(self._turnaround_ns)
            self.asked()
        return len(data)

    def _answer(self) -> None:
        request, self._request = self._request, b""
        unit, function, address, count = registers(request)
        data = self._content[2 * address : 2 * (address + count)]
        self._on_data(raw_answer(unit, data, function))

    def flush(self) -> None:
        self._request = b""

    def close(self) -> None:
        self._timer.close()


@dataclass
class Turnarounds:
    """What was counted on the line: ``excess_us`` is a gateway's pause beyond t3.5, each.

    A pause below t3.5 is a violation; then its excess is negative. ``cycle_us`` are the whole
    cycles, from request to request.
    """

    excess_us: list[float] = field(default_factory=list)
    cycle_us: list[float] = field(default_factory=list)

    @property
    def violations(self) -> int:
        """Return how many pauses were shorter than t3.5."""
        return sum(excess < 0 for excess in self.excess_us)

    def share(self, terminal_us: float) -> float:
        """Return the polls made, of those possible with pauses of t3.5 and what a terminal takes.

        A serial port takes nothing there: its bytes are at hand when they have passed.
        """
        possible_us = sum(self.cycle_us) - sum(self.excess_us) + terminal_us * len(self.cycle_us)
        return possible_us / sum(self.cycle_us)


async def _run(baudrate: int, words: int, turnaround_ms: float) -> None:
    silence_us = t35_us(baudrate, BITS)
    gateway, device = _GatewayEnd(), _Device(words, round(turnaround_ms * 1e6))
    found = Turnarounds()
    previous = 0  # when the request before was read
    ended = 0  # when the answer before was handed over

    def asked() -> None:
        """Note a request, which has passed whole; its answer is not sent yet."""
        nonlocal previous, ended
        read, handed = gateway.read_ns, gateway.handed_ns
        if previous and handed > previous:
            found.excess_us.append((read - handed) / 1e3 - silence_us)
            found.cycle_us.append((read - previous) / 1e3)
        previous = read

    device.asked = asked
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with Rs485Line({"gateway": gateway, "device": device}, baud=baudrate) as line:
        print(line.path("gateway"), flush=True)
        loop.add_reader(sys.stdin.fileno(), over.set)
        await over.wait()
        loop.remove_reader(sys.stdin.fileno())
    print(json.dumps(asdict(found)))


if __name__ == "__main__":
    asyncio.run(_run(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
