"""Which endpoint drives the line with what, and what is received where drivers overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hil.bus import uart
from hil.bus.trace import Burst


@dataclass(slots=True)
class Traffic:
    """Bytes that one endpoint ``sent`` and ``heard``, and those ``lost`` before they reached it."""

    sent: int = 0
    heard: int = 0
    lost: int = 0


@dataclass(slots=True, eq=False)
class Endpoint:
    """One transceiver on the line."""

    name: str
    traffic: Traffic = field(default_factory=Traffic)
    plugged: bool = True
    swapped: bool = False
    stuck: int | None = None
    burst: bytearray = field(default_factory=bytearray)
    burst_due: int = 0
    busy_until: int = 0
    apart: bool = False  # what it sends next follows a silence


@dataclass(slots=True, eq=False)
class Run:
    """Bytes of one endpoint that follow each other without a gap; ``done`` of them have passed."""

    origin: Endpoint
    data: bytes
    start: int
    byte_ns: int
    record: Burst
    done: int = 0
    clash: Clash | None = None
    announced: bool = False

    @property
    def end(self) -> int:
        """Return when its last stop bit has passed."""
        return self.start + len(self.data) * self.byte_ns

    @property
    def reached(self) -> int:
        """Return when the first byte begins that has not passed."""
        return self.start + self.done * self.byte_ns


@dataclass(slots=True, eq=False)
class Clash:
    """Runs that are decoded together, from the first byte that had not passed when they met."""

    runs: list[Run]

    @property
    def end(self) -> int:
        """Return when its last byte has passed."""
        return max(run.end for run in self.runs)


class Wave:
    """The level of what is left of a run: ``low`` intervals in ticks, ``scale`` ticks per ns.

    Tick 0 is at ``zero`` ns. The driver is on from ``begin`` to ``end``.
    """

    def __init__(self, run: Run, zero: int, scale: float) -> None:
        data = run.data[run.done :]
        self.origin = run.origin
        self.begin = round((run.reached - zero) * scale)
        self.end = self.begin + len(data) * uart.TICKS_PER_BYTE
        low: list[tuple[int, int]] = []
        for index, byte in enumerate(data):
            low += uart.signal(byte, self.begin + index * uart.TICKS_PER_BYTE)
        self.low = uart.merge(low)
        if run.origin.swapped:
            self.low = uart.invert(self.low, self.begin, self.end)


def listen(waves: Sequence[Wave], listener: Endpoint | None) -> list[uart.Received]:
    """Return the bytes that a listener takes from these waves.

    None stands for an ordinary receiver that does not send.
    """
    low = uart.merge(
        interval for wave in waves if wave.origin is not listener for interval in wave.low
    )
    end = max((wave.end for wave in waves), default=0)
    for wave in waves:
        if wave.origin is listener:
            low = uart.clear(low, wave.begin, wave.end)
    if listener is not None and listener.swapped:
        # Swapped, the idle line is low: one long break, before the first edge and after the last.
        low = uart.invert(low, -uart.TICKS_PER_BYTE, end + 2 * uart.TICKS_PER_BYTE)
    return uart.receive(low, -uart.TICKS_PER_BYTE)
