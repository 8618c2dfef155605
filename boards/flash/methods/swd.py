"""The way over SWD: an ST-LINK, the one on a Discovery board too, driven by Debian's `openocd`.

It needs no bootloader, and reaches boards whose firmware or option bytes are broken.
"""

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from boards.flash.errors import (
    CABLE,
    LOW_VOLTAGE,
    NO_PROBE,
    NO_TARGET,
    NO_USB_PERMISSION,
    READ_PROTECTED,
    REFUSED,
    WRITE_PROTECTED,
    FlashFault,
    FlashingError,
)
from boards.flash.method import ChipIdentity, FlashMethod, Progress
from boards.flash.target import BLANK, FlashTarget
from boards.flash.tool import ToolRun, run_tool

PROGRAM: Final = "openocd"
CONFIG: Final = ("-f", "interface/stlink.cfg")
CHIP: Final = ("-f", "target/stm32f4x.cfg")
_NO_PORTS: Final = "gdb_port disabled; tcl_port disabled; telnet_port disabled"
_FIRST: Final = 256  # bytes, without which a chip starts nothing
_PIECE: Final = 32768
_IDCODE: Final = 0xE0042000  # DBGMCU_IDCODE, RM0090 38.6.1
_OPTIONS: Final = 0x40023C14  # FLASH_OPTCR, RM0090 3.9.10; bits 8 to 15: read-out protection
_UNPROTECTED: Final = 0xAA
_WORDS: Final = re.compile(r"^0x(?P<at>[0-9a-f]{8}): (?P<words>(?:[0-9a-f]{8} ?)+)", re.MULTILINE)
_DONE: Final = re.compile(r"^(?:dumped|wrote|erased sectors) \d+", re.MULTILINE)
#: What it prints, and what that stands for; the first that fits counts.
_FAULTS: Final[Sequence[tuple[str, FlashFault]]] = (
    ("LIBUSB_ERROR_ACCESS", NO_USB_PERMISSION),
    ("open failed", NO_PROBE),
    ("voltage too low", LOW_VOLTAGE),
    ("voltage may be too low", LOW_VOLTAGE),
    ("init mode failed", NO_TARGET),
    ("device protected", WRITE_PROTECTED),
    ("LIBUSB_ERROR", CABLE),
    ("Fail reading", CABLE),
    ("jtag status contains invalid mode value", CABLE),
)
_LIMIT_S: Final = 300.0


class SwdMethod(FlashMethod):
    """A chip behind an ST-LINK; ``port`` is the probe's serial number, empty: the only one."""

    name = "swd"
    verified_by = "read back over SWD (openocd)"
    piece = 1 << 20

    def __init__(
        self, target: FlashTarget, port: str = "", baud: int = 0, config: Sequence[str] = CONFIG
    ) -> None:
        self._target = target
        serial = ["-c", f"adapter serial {port}"] if port else []
        chip = CHIP if config is CONFIG else ()
        self._command = [PROGRAM, *config, *serial, *chip, "-c", _NO_PORTS]

    def open(self) -> None:
        """Do nothing: `openocd` runs once for each transfer."""

    def close(self) -> None:
        """Do nothing."""

    def identify(self) -> ChipIdentity:
        """Stop the chip and read its ids. READ_PROTECTED of one whose flash cannot be read."""
        commands = [f"mdw {_IDCODE:#010x}", f"mdw {_OPTIONS:#010x}"]
        words = _words(self._run(commands))
        chip_id = words[_IDCODE][0] & 0xFFF
        if chip_id != self._target.chip_id:
            return ChipIdentity(chip_id)
        if words[_OPTIONS][0] >> 8 & 0xFF != _UNPROTECTED:
            raise FlashingError(READ_PROTECTED, f"{PROGRAM}: option bytes {words[_OPTIONS][0]:#x}")
        at = self._target.uid_at
        uid = _words(self._run([f"mdw {at:#010x} 3"]))[at]
        return ChipIdentity(chip_id, uid=b"".join(word.to_bytes(4, "little") for word in uid).hex())

    def read(self, address: int, size: int, progress: Progress) -> bytes:
        """Read piece by piece."""
        with tempfile.TemporaryDirectory(prefix="tianfu-") as folder:
            files = [Path(folder) / f"{at:08x}.bin" for at in range(0, size, _PIECE)]
            self._run(
                [
                    f"dump_image {{{file}}} {address + at:#010x} {min(_PIECE, size - at)}"
                    for at, file in zip(range(0, size, _PIECE), files)
                ],
                progress,
            )
            return b"".join(file.read_bytes() for file in files)

    def erase(self, sectors: Sequence[int], progress: Progress) -> None:
        """Erase sector by sector."""
        self._run([f"flash erase_sector 0 {each} {each}" for each in sectors], progress)

    def write(self, address: int, content: bytes, progress: Progress) -> None:
        """Write piece by piece, what is not blank, the first bytes last."""
        places = [(at, min(at + _PIECE, len(content))) for at in range(0, len(content), _PIECE)]
        places = [(max(begin, _FIRST), end) for begin, end in places if end > _FIRST]
        commands: list[str] = []
        with tempfile.TemporaryDirectory(prefix="tianfu-") as folder:
            for begin, end in [*places, (0, min(_FIRST, len(content)))]:
                part = content[begin:end]
                if part.count(BLANK) == len(part):
                    continue
                file = Path(folder) / f"{begin:08x}.bin"
                file.touch(mode=0o600)  # it may hold a key
                file.write_bytes(part + b"\xff" * (-len(part) % 4))
                commands.append(f"flash write_image {{{file}}} {address + begin:#010x} bin")
            self._run(commands, progress)

    def start(self, address: int) -> None:
        """Reset the chip, which starts what is at the beginning of its flash."""
        self._run(["reset run"])

    def unlock(self) -> None:
        """Take the read-out protection away."""
        self._run(["stm32f2x unlock 0", "reset halt"])

    def _run(self, commands: Sequence[str], progress: Progress | None = None) -> str:
        def seen(output: str) -> None:
            if progress is not None:
                progress(min(len(_DONE.findall(output)), len(commands)), len(commands))

        each = [word for command in commands for word in ("-c", command)]
        command = [*self._command, "-c", "init", "-c", "reset halt", *each, "-c", "shutdown"]
        run = run_tool(command, _LIMIT_S, seen)
        if run.status:
            raise _failed(run)
        return run.output


def _words(output: str) -> dict[int, list[int]]:
    """Return the words that a command displayed, by address."""
    found = {
        int(match["at"], 16): [int(word, 16) for word in match["words"].split()]
        for match in _WORDS.finditer(output)
    }
    if not found:
        raise FlashingError(REFUSED, f"{PROGRAM}: expected words of memory, got {output[-200:]!r}")
    return found


def _failed(run: ToolRun) -> FlashingError:
    errors = [
        line.removeprefix("Error: ")
        for line in run.output.split("\n")
        if line.startswith("Error: ")
    ]
    fault = next((fault for text, fault in _FAULTS if text in run.output), REFUSED)
    return FlashingError(fault, f"{PROGRAM}: {', '.join(errors[-2:]) or run.last_line}")
