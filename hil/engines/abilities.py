"""What a board may be able to do, each as one small interface.

A capability of an engine is no claim of its own: an engine has it when the class of its boards
implements an ability that stands for it (:data:`ABILITIES`). Why an engine lacks one stands in
``hil/engines/fidelity.toml`` alone. A test asks with ``@pytest.mark.needs(Capability.PAUSE)`` and
narrows the board it got with ``isinstance(board, Pausable)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

if TYPE_CHECKING:
    from hil.engines.clock_reading import ClockReading
    from hil.engines.console import Console
    from hil.engines.deadline import Clock
    from hil.engines.repl import Repl
    from hil.errors import HilError
    from hil.sim.analog import BridgedInput
    from hil.wires.wire import Wire


class Capability(StrEnum):
    """What a test can need of an engine, by the name that the run prints."""

    IMAGE = "image"  # runs the board's image, not the firmware's source on the host
    REPL = "repl"  # the console ends in a REPL
    MPREMOTE = "mpremote"  # the console has a name that pyserial opens
    VIRTUAL_TIME = "virtual-time"  # the board has a clock of its own
    PAUSE = "pause"  # the board's time can be stopped and run for a given span
    FLASH_IMAGE = "flash-image"  # boots from given contents of the store's sectors
    FLASH_WRITES = "flash-writes"  # what the node writes is there after a reset
    POWER_CUT_AT_FLASH = "power-cut-at-flash"  # at the n-th operation of the node on its flash
    WARM_RESET = "warm-reset"  # a reset that keeps RAM
    WATCHDOG = "watchdog"  # hardware resets a node that hangs
    RESET_CAUSE = "reset-cause"  # and keeps the cause
    UNIQUE_ID = "unique-id"  # the chip has a serial number the bench can choose
    I2C = "i2c"
    ONEWIRE = "onewire"
    ADC = "adc"


# --- what every board is able to do ---------------------------------------------------------------


class Power(Protocol):
    """The power switch of a board."""

    def is_running(self) -> bool:
        """Return True while the board has power."""

    async def start(self, limit_s: float | None = None) -> Mapping[str, object]:
        """Power on; return the fields of the boot line. EngineError if it does not come within
        ``limit_s`` (None: the engine's own limit).
        """

    async def kill(self) -> None:
        """Cut the power now; does nothing if it is off."""

    async def power_cycle(self, limit_s: float | None = None) -> Mapping[str, object]:
        """Cut the power and switch it on; return the fields of the boot line."""


class HasConsole(Protocol):
    """The console of a board."""

    console: Console


# --- abilities with calls -------------------------------------------------------------------------


@runtime_checkable
class RunsImage(Protocol):
    """A board that runs an image which was built for it."""

    def image(self) -> Path:
        """Return the ELF file it runs."""


@runtime_checkable
class HasRepl(Protocol):
    """A board whose console takes input: a REPL for people, tests and mpremote."""

    def repl(self) -> Repl:
        """Return the way in."""


@runtime_checkable
class HasClock(Protocol):
    """A board whose emulator has a virtual time, which may lag behind the host's."""

    def clock(self) -> Clock:
        """Return the clock that deadlines count."""


@runtime_checkable
class CountsInstructions(Protocol):
    """A board whose emulator counts what its core does: where the host's time goes."""

    async def executed_instructions(self) -> int:
        """Return how many instructions its core has executed since the board was made."""


@runtime_checkable
class CountsTime(Protocol):
    """A board whose own milliseconds the bench compares with the engine's clock."""

    #: What a difference is: a failure, or a host that is too slow.
    time_error: type[HilError]

    async def uptime(self) -> ClockReading | None:
        """Return how long it has been up by both; None if that cannot be read now."""


@runtime_checkable
class Lags(Protocol):
    """A board whose emulator follows the host's clock, and falls behind it on a busy host."""

    async def lag_s(self) -> float:
        """Return the seconds that the board has had less than the host since its last reset."""


@runtime_checkable
class Pausable(Protocol):
    """A board whose time can be stopped."""

    async def pause(self) -> None:
        """Stop the board's time; does nothing if it stands."""

    async def resume(self) -> None:
        """Let it go on."""

    async def run_for(self, seconds: float) -> None:
        """From paused: let ``seconds`` of the board's time pass, then pause."""

    def now_s(self) -> float:
        """Return the board's time since power on, without pauses."""


@runtime_checkable
class WarmReset(Protocol):
    """A board with a reset that keeps its RAM."""

    async def warm_reset(self, limit_s: float | None = None) -> Mapping[str, object]:
        """Pull the reset pin; return the fields of the boot line."""


@runtime_checkable
class Restarts(Protocol):
    """A board whose restarts by itself the emulator reports."""

    #: How often the node has reset itself.
    restarts: int

    async def wait_restart(self, seen: int, limit_s: float = ...) -> Mapping[str, object]:
        """Wait until ``restarts`` is over ``seen`` and the node is up; return its boot line."""


@runtime_checkable
class FlashImage(Protocol):
    """A board whose record store the bench can read and replace."""

    async def read_flash(self) -> bytes:
        """Return what the sectors of the record store hold now."""

    async def write_flash(self, content: bytes) -> None:
        """Replace it; takes effect at the next ``start``. The board must be off."""


@runtime_checkable
class FlashCuts(Protocol):
    """A board that can lose its power at a given operation of the node on its flash."""

    async def cut_at_flash(self, operation: int) -> None:
        """Lose the power before the node's n-th operation on its flash from now; 0: never."""

    async def flash_operations(self) -> int:
        """Return how many operations there were since the last :meth:`cut_at_flash`."""

    async def wait_for_cut(self, limit_s: float) -> bool:
        """Return True when the power was lost, False after ``limit_s`` of the board's time."""


@runtime_checkable
class AnalogInputs(Protocol):
    """A board whose analog inputs the bench sets."""

    async def set_adc(self, name: str, code: int) -> None:
        """Hold a 12 bit code on ``ph`` or ``turbidity``, until the next one. LookupError."""


@runtime_checkable
class I2cParts(Protocol):
    """A board with a humidity sensor on its I2C bus."""

    async def set_sht3x(self, **values: float | bool) -> None:
        """Set Temperature, Humidity, and the faults BadChecksum, Silent, Garbage, Saturated."""

    async def plug_sht3x(self, plugged: bool) -> None:
        """Put the sensor on its bus, or take it off."""


@runtime_checkable
class Bridged(Protocol):
    """A board whose I2C, 1-Wire and ADC are requests over one wire (:mod:`hil.sim.bridge`)."""

    def bridge(self) -> Wire:
        """Return that wire. LookupError for a role without such parts."""

    def analog_inputs(self) -> Mapping[str, BridgedInput]:
        """Return what is wired to its converter, by probe."""


@runtime_checkable
class DebugBoard(HasConsole, Protocol):
    """A board whose memory a debugger writes, read-only memory included."""

    def line(self) -> Wire:
        """Return the UART of the RS-485 line."""

    async def stop(self) -> None:
        """Stop the board's time."""

    async def restart(self) -> None:
        """Reset the board and let its time go on."""

    async def write_memory(self, address: int, data: bytes) -> None:
        """Replace bytes; the board must be stopped."""


@runtime_checkable
class DebugsBoards(Protocol):
    """An engine that makes boards under a debugger."""

    def debug_board(self, folder: Path) -> AbstractAsyncContextManager[DebugBoard]:
        """Make a board in ``folder``; entering it starts it, stopped."""


# --- abilities without calls: a fact about the model, which its board class inherits --------------


class KeepsWrites:
    """What the node writes to its store is there after a reset."""


class HasWatchdog:
    """A watchdog of the chip resets a node that hangs."""


class HasResetCause:
    """The chip keeps the cause of its last reset."""


class HasUniqueId:
    """The chip has a serial number, which the bench chooses."""


#: What stands for each capability: any one of these is enough.
ABILITIES: Final[Mapping[Capability, tuple[type, ...]]] = {
    Capability.IMAGE: (RunsImage,),
    Capability.REPL: (HasRepl,),
    Capability.MPREMOTE: (HasRepl,),
    Capability.VIRTUAL_TIME: (HasClock,),
    Capability.PAUSE: (Pausable,),
    Capability.FLASH_IMAGE: (FlashImage,),
    Capability.FLASH_WRITES: (KeepsWrites,),
    Capability.POWER_CUT_AT_FLASH: (FlashCuts,),
    Capability.WARM_RESET: (WarmReset,),
    Capability.WATCHDOG: (HasWatchdog,),
    Capability.RESET_CAUSE: (HasResetCause,),
    Capability.UNIQUE_ID: (HasUniqueId,),
    Capability.I2C: (I2cParts, Bridged),
    Capability.ONEWIRE: (Bridged,),
    Capability.ADC: (AnalogInputs, Bridged),
}


def capabilities_of(board: type) -> frozenset[Capability]:
    """Return what boards of this class can do."""
    return frozenset(
        capability for capability, abilities in ABILITIES.items() if issubclass(board, abilities)
    )
