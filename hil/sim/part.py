"""The common ground of all simulated parts: a wire, a source of values, switches for faults."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from hil.errors import HilError
from hil.wires.pty import Pty
from hil.wires.wire import Wire


class NotAcknowledged(HilError):
    """No part on the bus acknowledged what the master sent (NACK)."""


class PartFault(StrEnum):
    """A way to misbehave, on every answer until the part is switched back to NONE."""

    NONE = "none"
    CHECKSUM = "checksum"  # answers with a wrong checksum
    SILENT = "silent"  # does not answer
    GARBAGE = "garbage"  # random bytes in place of the answer
    SATURATED = "saturated"  # answers with the top of its own scale
    ERROR = "error"  # reports a defect in its answer
    WARM_UP = "warm-up"  # behaves as in the first moments after power-on


#: What every part does that answers with bytes through :meth:`Part.send`.
BYTE_FAULTS: Final = (PartFault.CHECKSUM, PartFault.SILENT, PartFault.GARBAGE)


class FaultSwitch:
    """The attribute ``fault`` of a part, which takes what the part can do: no test passes falsely.

    A fault may be given by its value ("silent"). ValueError for one that the part does not have.
    """

    def __init__(self, *faults: PartFault) -> None:
        self._faults = (PartFault.NONE, *faults)

    def __get__(self, part: object, owner: type | None = None) -> PartFault:
        fault = vars(part).get("_fault", PartFault.NONE)
        assert isinstance(fault, PartFault)
        return fault

    def __set__(self, part: object, fault: PartFault | str) -> None:
        if fault not in self._faults:
            known = ", ".join(self._faults)
            raise ValueError(f"fault of {type(part).__name__}: expected {known}, got {fault!r}")
        vars(part)["_fault"] = PartFault(fault)


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
    """The world that simulated parts measure."""

    def air(self) -> Air:
        """Return the air now."""

    def water(self) -> Water:
        """Return the water now."""


class Steady:
    """A source that keeps its values until a test changes them."""

    def __init__(self, air: Air | None = None, water: Water | None = None) -> None:
        self.air_now = air or Air(pm2_5=18, temperature=21.5, humidity=44.0, co2=608)
        self.water_now = water or Water(distance=1953, temperature=12.5, ph=7.4, turbidity=12.0)

    def air(self) -> Air:
        return self.air_now

    def water(self) -> Water:
        return self.water_now


class Part:
    """A part on ``wire`` (an emulator's UART), by default on a pseudo terminal of its own.

    A node opens ``path`` then. Subclasses answer in :meth:`received` through :meth:`send`, which
    counts and applies ``fault``. :meth:`start` starts a part in the running event loop.
    """

    #: Bytes that may wait for the node; a UART part's receiver is small.
    RX_LIMIT = 1024
    fault = FaultSwitch(*BYTE_FAULTS)

    def __init__(self, source: Source, *, seed: int = 0, wire: Wire | None = None) -> None:
        self.source = source
        self.requests = 0
        self.answers = 0
        self._random = random.Random(seed)
        self._wire = wire or Pty(self.RX_LIMIT)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def path(self) -> str:
        """Return the terminal that the node opens. LookupError if the wire is of another kind."""
        if not isinstance(self._wire, Pty):
            raise LookupError(f"{type(self).__name__} has no path: its wire is {self._wire!r}")
        return self._wire.path

    @property
    def overrun(self) -> int:
        """Return how many bytes are lost because the node did not read them."""
        return self._wire.overrun

    def start(self) -> None:
        """Switch the part on: it listens, and begins what it does by itself."""
        self._wire.listen(self.received)

    def received(self, data: bytes) -> None:
        """Take bytes from the node; subclasses collect and answer them."""
        raise NotImplementedError

    def send(self, answer: bytes) -> None:
        """Send one complete answer, changed or dropped by the current fault."""
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
        """Do one step of what the part does by itself."""

    def close(self) -> None:
        """Switch the part off."""
        for task in self._tasks:
            task.cancel()
        self._wire.close()


def clamp(value: float, low: int, high: int) -> int:
    """Return the nearest integer from ``low`` to ``high``."""
    return max(low, min(high, round(value)))
