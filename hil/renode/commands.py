"""What Renode is sent, as text: every Monitor command of the bench has its form here, once.

Pure functions; the engine sends what they return, the fake server checks it against the grammar,
and the Robot suites use the same forms. The word (read) marks those that were only read in
Renode's source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from boards.folder import FOLDER, default_name
from protocols.identity import UID_RULE, parse_uid

HERE: Final = Path(__file__).parent
OVERLAY: Final = FOLDER / default_name() / "renode.repl"
SHT3X_MODEL: Final = HERE / "models/Sht3xModel.cs"
WATCH_MODEL: Final = HERE / "models/NodeWatch.cs"
LINE_MODEL: Final = HERE / "models/LinePort.cs"

FLASH_BASE: Final = 0x0800_0000
UID_ADDRESS: Final = 0x1FFF_7A10
#: Seconds of virtual time between two points where machines and the outside meet. The stock
#: 100 us makes three nodes ten times slower than real time. A longer one is only as true as
#: :data:`SERIAL` makes it: of three machines in parallel two lose 4 % of their SysTick interrupts
#: at 1 ms, two thirds at 3 ms, more than three quarters at 10 ms, and none at 0.3 ms.
QUANTUM_S: Final = 0.001
#: Machines run one after the other in each quantum. After the machines exist: like the quantum it
#: is set on what there is. In parallel, Renode's default, their milliseconds fall behind.
SERIAL: Final = "emulation SetGlobalSerialExecution true"
#: An idle 1-Wire line is high; Renode has no pull-ups and would read an answering part.
IDLE_HIGH: Final = (("gpioPortB", 4),)
SHT3X_ADDRESS: Final = 0x44
WATCH_ADDRESS: Final = 0x5007_0000


def path(file: Path) -> str:
    """Return a path as the Monitor reads it: after ``@``, with blanks escaped. ValueError."""
    text = str(file.resolve())
    if any(c in text for c in ";'\"`$\n"):
        raise ValueError(f"{text}: expected a path without ; ' \" ` $ or newlines for Renode")
    return "@" + text.replace(" ", "\\ ")


def include(model: Path) -> str:
    """Compile a C# file; before the platform that uses it is loaded."""
    return f"include {path(model)}"


def quantum(seconds: float) -> str:
    """Set the quantum of all machines there are. Renode would read 1e-05 as one second."""
    text = f"{seconds:.6f}".rstrip("0").rstrip(".")
    return f'emulation SetGlobalQuantum "{text}"'


def advance_immediately(on: bool) -> str:
    """Let virtual time run ahead of the host's as fast as it can. After the machines exist."""
    return f"emulation SetGlobalAdvanceImmediately {str(on).lower()}"


def seed(number: int) -> str:
    """Seed the emulation's random numbers (read)."""
    return f"emulation SetSeed {number & 0x7FFF_FFFF}"


def run_for(seconds: float) -> str:
    """From paused: let time pass, then pause."""
    return f'emulation RunFor "{seconds:.6f}"'


def uid_words(uid: str) -> tuple[int, int, int]:
    """Return the three words of the chip's unique id, from 24 hex digits. ValueError."""
    raw = parse_uid(uid)
    if raw is None:
        raise ValueError(f"uid: expected {UID_RULE}, got {uid!r}")
    first, second, third = (int.from_bytes(raw[i : i + 4], "little") for i in (0, 4, 8))
    return first, second, third


def reset_lines(elf: Path, uid: str, samples: Mapping[int, int]) -> list[str]:
    """Return what runs at every reset: image, unique id, levels of pins, analog samples.

    The image must be loaded again, or the core finds no vector table. The record store is not
    here: flash outlives a reset. ``samples`` are 12 bit codes by ADC channel.
    """
    lines = [f"sysbus LoadELF {path(elf)}"]
    for index, word in enumerate(uid_words(uid)):
        lines.append(f"sysbus WriteDoubleWord 0x{UID_ADDRESS + 4 * index:08X} 0x{word:08X}")
    lines += [f"sysbus.{port} OnGPIO {pin} true" for port, pin in IDLE_HIGH]
    lines += [feed_adc(channel, code) for channel, code in sorted(samples.items())]
    return lines


def reset_macro(lines: Sequence[str]) -> str:
    """Define what runs at every reset of the machine; one string of many lines."""
    return (
        "\n".join(('macro reset """', *lines, '"""'))
        if len(lines) > 1
        else (f'macro reset """{lines[0]}"""')
    )


def feed_adc(channel: int, code: int) -> str:
    """Hold a 12 bit code on a channel until the next one (read). ValueError."""
    if not 0 <= code <= 4095 or not 0 <= channel <= 18:
        raise ValueError(f"adc: expected channel 0..18, code 0..4095, got {channel}, {code}")
    return f"sysbus.adc1 FeedSample {code} {channel} -1"


def create(name: str, macro: str, flash: Path, store_base: int) -> list[str]:
    """Create a machine with erased flash, the store's contents and the image in it."""
    return [
        f'mach create "{name}"',
        f"machine LoadPlatformDescription {path(OVERLAY)}",
        "sysbus.flash ResetByte 0xFF",
        "sysbus.flash ZeroAll",
        load_flash(flash, store_base),
        macro,
        "runMacro $reset",
    ]


def load_flash(file: Path, address: int) -> str:
    """Load the bytes of a file into memory."""
    return f"sysbus LoadBinary {path(file)} 0x{address:08X}"


def dump_flash(file: Path) -> str:
    """Write the whole flash memory into a file (read), without offset and size arguments:
    1.16.1 subtracts one from the other.
    """
    return f"sysbus.flash DumpBinary {path(file)}"


def line_port(uart: str, port: str, socket: Path) -> list[str]:
    """Give a UART a port of ours, which listens at a Unix socket."""
    return [
        f'emulation CreateLinePort "{port}" "{socket}"',
        f"connector Connect sysbus.{uart} {port}",
    ]


def plug_sht3x() -> str:
    """Put the humidity sensor on its bus."""
    at = f"0x{SHT3X_ADDRESS:02X}"
    return f'machine LoadPlatformDescriptionFromString "sht: Tianfu.Sht3xModel @ i2c1 {at}"'


def unplug_sht3x() -> list[str]:
    """Take it off its bus. A newer controller keeps the last part until its own reset."""
    return ["machine UnregisterFromParent sysbus.i2c1.sht", "sysbus.i2c1 Reset"]


def watch() -> list[str]:
    """Attach our observer of reset causes and flash operations."""
    at = f"0x{WATCH_ADDRESS:08X}"
    return [
        f'machine LoadPlatformDescriptionFromString "watch: Tianfu.NodeWatch @ sysbus {at}"',
        "sysbus.watch Attach",
    ]


def milliseconds_at(address: int) -> str:
    """Give the observer the place in RAM where the image counts its milliseconds (read)."""
    return f"sysbus.watch MillisecondsAt {address}"


def reset_flag_hook(watchdog: bool) -> str:
    """Set, without our observer, what RCC_CSR reads after the resets to come."""
    value = "(value | 0x20000000) if offset == 0x74 else value" if watchdog else "value"
    return f'sysbus SetHookAfterPeripheralRead sysbus.rcc "value = {value}"'


#: The core stands still, as with the power off (read). A reset may let it go again.
HALT: Final = "cpu IsHalted true"
GO: Final = "cpu IsHalted false"
RESET: Final = "machine Reset"
#: Microseconds of virtual time since the last reset, milliseconds by the node's count (read).
UPTIME: Final = "sysbus.watch Uptime"
START: Final = "start"
PAUSE: Final = "pause"
TIME: Final = "machine ElapsedVirtualTime"
#: Since the machine was made (read).
INSTRUCTIONS: Final = "cpu ExecutedInstructions"
FORGET_RAM: Final = "sysbus.sram ZeroAll"
#: Every write of PG would be logged.
QUIET: Final = "logLevel 3 sysbus.flash_controller"
#: A property of a UART that itself takes the time of a byte (read; after 1.16.1).
PACED: Final = "sysbus.usart2 CharacterReceptionDelay"
