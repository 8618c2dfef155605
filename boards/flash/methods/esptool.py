"""The way onto an ESP32: Espressif's own esptool, used as a library, which hashes what it wrote.

esptool is no dependency: whoever flashes an ESP32 installs it.
"""

from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import Final, Protocol

from boards.errors import BoardError
from boards.flash.errors import FIRMWARE, MISMATCH, NO_ESP, WRONG_CHIP, FlashingError

VERIFIED_BY: Final = "esptool's hash check over the flash, and its comparison of the content"
_AT: Final = 0x1000  # where the ROM of an ESP32 looks; a release of MicroPython begins there
_MAGIC: Final = 0xE9
_CHIP_AT: Final = 12  # chip id of the extended header
_ESP32: Final = 0
_CHIP: Final = "ESP32"
_REMEDY: Final = "install it with `pip install esptool` into the environment of tianfu-node"


class Esp(Protocol):
    """What is used of esptool's ESPLoader."""

    CHIP_NAME: str


class EspCommands(Protocol):
    """What is used of the module ``esptool.cmds``, version 5."""

    def detect_chip(self, port: str, baud: int) -> Esp: ...
    def run_stub(self, esp: Esp) -> Esp: ...
    def attach_flash(self, esp: Esp) -> None: ...
    def write_flash(self, esp: Esp, addr_data: Sequence[tuple[int, bytes]]) -> None: ...
    def verify_flash(self, esp: Esp, addr_data: Sequence[tuple[int, bytes]]) -> None: ...
    def reset_chip(self, esp: Esp, reset_mode: str) -> None: ...


def check(content: bytes) -> None:
    """Check that a file is an image for the ESP32. FlashingError with FIRMWARE."""
    if len(content) < 1024 or content[0] != _MAGIC:
        raise FlashingError(
            FIRMWARE, f"expected an ESP image (first byte {_MAGIC:#x}); nothing was written"
        )
    chip = int.from_bytes(content[_CHIP_AT : _CHIP_AT + 2], "little")
    if chip != _ESP32:
        raise FlashingError(
            FIRMWARE, f"expected chip id {_ESP32} ({_CHIP}), got {chip}; nothing was written"
        )


def write(port: str, content: bytes, baud: int = 115200) -> None:
    """Write an image to the ESP32 at a port, verify it, and reset the chip. BoardError."""
    check(content)
    commands, fatal = _library()
    place = [(_AT, content)]
    step = NO_ESP
    try:
        esp = commands.detect_chip(port, baud)
        if esp.CHIP_NAME != _CHIP:
            raise FlashingError(
                WRONG_CHIP, f"expected {_CHIP}, the board answers {esp.CHIP_NAME}; nothing written"
            )
        esp = commands.run_stub(esp)
        commands.attach_flash(esp)
        step = MISMATCH
        commands.write_flash(esp, place)
        commands.verify_flash(esp, place)
        commands.reset_chip(esp, "hard-reset")
    except (fatal, OSError) as error:
        raise FlashingError(step, f"{port}: esptool: {error}") from error


def _library() -> tuple[EspCommands, type[Exception]]:
    try:
        commands: ModuleType = import_module("esptool.cmds")
        util: ModuleType = import_module("esptool.util")
    except ImportError as error:
        raise BoardError(
            f"esptool is not installed; flashing an ESP32 needs it: {_REMEDY}"
        ) from error
    fatal: type[Exception] = util.FatalError
    return commands, fatal
