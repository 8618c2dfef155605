"""What a bench asks of an engine: one interface for Renode, QEMU and the host interpreter.

An :class:`Engine` makes boards; a :class:`Board` is one node with its power switch. Which of the
calls an engine can serve its ``capabilities`` say; a call it cannot serve raises
:class:`Unsupported`, which names the reason. Times are seconds; ``now_s`` is the board's own time
where the engine has one (``Capability.VIRTUAL_TIME``), else the host's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self, runtime_checkable

if TYPE_CHECKING:
    from hil.engines.console import Console
    from hil.wires.wire import Wire


class Capability(StrEnum):
    """What an engine can do. A test names what it needs; the run says what was not there."""

    IMAGE = "image"  # runs the board's image, not the firmware's source on the host
    REPL = "repl"  # the console ends in a REPL
    MPREMOTE = "mpremote"  # the console has a name that pyserial opens
    VIRTUAL_TIME = "virtual-time"  # the board has a clock of its own
    PAUSE = "pause"  # that clock can be stopped and run for a given span
    FLASH_IMAGE = "flash-image"  # boots from given contents of the store's sectors
    FLASH_WRITES = "flash-writes"  # what the node writes is there after a reset
    POWER_CUT_AT_FLASH = "power-cut-at-flash"  # at the n-th operation of the node on its flash
    WARM_RESET = "warm-reset"  # a reset that keeps RAM
    WATCHDOG = "watchdog"  # a node that wedges is reset by hardware
    RESET_CAUSE = "reset-cause"  # and can tell so afterwards
    UNIQUE_ID = "unique-id"  # the chip has a serial number the bench can choose
    I2C = "i2c"
    ONEWIRE = "onewire"
    ADC = "adc"


class Reset(StrEnum):
    """How a board starts anew."""

    WARM = "warm"  # the reset pin: RAM is kept
    COLD = "cold"  # power off and on


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """What one node is, whatever runs it.

    ``uid`` is 24 hex digits, ``settings`` are raw values by register name (``docs/registers.md``),
    ``key`` is 64 hex digits or None for a node that was never given one.
    """

    name: str
    role: str
    uid: str
    settings: Mapping[str, int] = field(default_factory=dict)
    key_id: int = 1
    key: str | None = None
    baud: int = 9600


class Board(Protocol):
    """One node. Made switched off; ``wire`` works before ``start``."""

    spec: NodeSpec
    folder: Path
    console: Console
    #: The fields of the JSON line the node said when it last came up: boot_epoch, role, mem_alloc.
    boot: Mapping[str, object]

    def wire(self, port: str) -> Wire:
        """The UART called ``line`` or like a part (``pms5003``, ``mhz19b``, ...). LookupError."""

    def is_running(self) -> bool:
        """True while it has power."""

    async def start(self, limit_s: float = ...) -> Mapping[str, object]:
        """Power on; returns ``boot``. EngineError if the line does not come within ``limit_s``."""

    async def reset(self, kind: Reset, limit_s: float = ...) -> Mapping[str, object]:
        """Start anew; returns ``boot``."""

    async def kill(self) -> None:
        """Cut the power now; does nothing if it is off."""

    async def pause(self) -> None:
        """Stop the board's time."""

    async def resume(self) -> None:
        """Let it go on."""

    async def run_for(self, seconds: float) -> None:
        """From paused: let ``seconds`` of the board's time pass, then pause."""

    def now_s(self) -> float:
        """The board's time since power on, or the host's monotonic time."""

    async def stop_sampling(self, limit_s: float = ...) -> Mapping[str, object]:
        """Sample no more, go on serving; returns sampled_frames, sampled_readings, boot_epoch."""

    async def read_flash(self) -> bytes:
        """What the sectors of the record store hold now."""

    async def write_flash(self, content: bytes) -> None:
        """Replace it; takes effect at the next ``start``. The board must be off."""


class Engine(Protocol):
    """Use as ``async with``: what still runs at the end is killed, in the order it was made."""

    name: str
    capabilities: frozenset[Capability]

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *_: object) -> None: ...

    async def board(self, spec: NodeSpec, folder: Path) -> Board:
        """A board in ``folder`` (made if missing; its store survives restarts), switched off."""


@runtime_checkable
class KeepsLogs(Protocol):
    """An engine whose emulator says things of its own."""

    def logs(self) -> Mapping[str, Callable[[], str]]:
        """What reads each log as it is now, by file name."""
