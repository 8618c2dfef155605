"""What all simulated parts share: a wire, a source of values and switches for faults."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from hil.wires.pty import Pty
from hil.wires.wire import Wire


class PartFault(StrEnum):
    """How a part misbehaves, on every answer until it is switched back to NONE."""

    NONE = "none"
    CHECKSUM = "checksum"  # answers with a wrong checksum
    SILENT = "silent"  # does not answer
    GARBAGE = "garbage"  # random bytes in place of the answer
    SATURATED = "saturated"  # answers with the top of its own scale
    ERROR = "error"  # says in its answer that it is broken (PMS5003; others go on as if well)
    WARM_UP = "warm-up"  # behaves as in the first moments after power-on


@dataclass(frozen=True, slots=True)
class Air:
    """One moment of outdoor air; None where the station did not measure."""

    pm2_5: float | None  # ug/m3
    temperature: float | None  # degrees Celsius
    humidity: float | None  # % relative
    co2: float | None  # ppm


@dataclass(frozen=True, slots=True)
class Water:
    """One moment of a river gauge."""

    distance: float  # sensor to surface, mm
    temperature: float  # degrees Celsius
    ph: float
    turbidity: float  # NTU


class Source(Protocol):
    """Where simulated parts get their values from."""

    def air(self) -> Air:
        """The air now."""

    def water(self) -> Water:
        """The water now."""


class Steady:
    """A source that does not change unless a test changes it."""

    def __init__(self, air: Air | None = None, water: Water | None = None) -> None:
        self.air_now = air or Air(pm2_5=18, temperature=21.5, humidity=44.0, co2=608)
        self.water_now = water or Water(distance=1953, temperature=12.5, ph=7.4, turbidity=12.0)

    def air(self) -> Air:
        return self.air_now

    def water(self) -> Water:
        return self.water_now


class Part:
    """A part on ``wire`` (an emulator's UART), by default on a pseudo terminal of its own.

    ``path`` is what a node opens then. Subclasses answer in :meth:`received` through :meth:`send`,
    which counts and applies ``fault``. A part starts with :meth:`start` in the running event loop.
    """

    #: Bytes that may wait for the node; a UART part's receiver is small.
    RX_LIMIT = 1024

    def __init__(self, source: Source, *, seed: int = 0, wire: Wire | None = None) -> None:
        self.source = source
        self.fault = PartFault.NONE
        self.requests = 0
        self.answers = 0
        self._random = random.Random(seed)
        self._wire = wire or Pty(self.RX_LIMIT)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def path(self) -> str:
        """The terminal the node opens. LookupError if the part sits on another kind of wire."""
        if not isinstance(self._wire, Pty):
            raise LookupError(f"{type(self).__name__} has no path: its wire is {self._wire!r}")
        return self._wire.path

    @property
    def overrun(self) -> int:
        """Bytes lost because the node did not read them."""
        return self._wire.overrun

    def start(self) -> None:
        """Listen, and begin what the part does by itself after power-on."""
        self._wire.listen(self.received)

    def received(self, data: bytes) -> None:
        """Bytes from the node; subclasses collect and answer them."""
        raise NotImplementedError

    def send(self, answer: bytes) -> None:
        """Send one complete answer, as the current fault lets it."""
        if self.fault is PartFault.SILENT:
            return
        if self.fault is PartFault.GARBAGE:
            answer = self._random.randbytes(len(answer))
        elif self.fault is PartFault.CHECKSUM:
            answer = answer[:-1] + bytes((answer[-1] ^ 0x55,))
        self.answers += 1
        self._wire.write(answer)

    def every(self, period_s: float) -> None:
        """Call :meth:`tick` every ``period_s`` seconds from now on."""
        task = asyncio.get_running_loop().create_task(self._ticks(period_s))
        self._tasks.add(task)

    async def _ticks(self, period_s: float) -> None:
        while True:
            self.tick()
            await asyncio.sleep(period_s)

    def tick(self) -> None:
        """One step of what the part does by itself."""

    def close(self) -> None:
        """Power off."""
        for task in self._tasks:
            task.cancel()
        self._wire.close()


def clamp(value: float, low: int, high: int) -> int:
    """The nearest integer within ``low`` to ``high``."""
    return max(low, min(high, round(value)))
