"""What a board is: its folder's ``board.toml``, checked.

Only what every board has is checked here. Further tables and keys belong to who reads them: the
wiring to the board's own code, ``[mpy_tests]`` to the test suite, and so on.
"""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, ValidationError, convert

from .errors import BoardError
from .folder import FOLDER, names

__all__ = [
    "FOLDER",
    "BoardTable",
    "EmulationTable",
    "FlashTable",
    "MemoryTable",
    "Spec",
    "SpecError",
    "load",
    "names",
    "of_engine",
    "parse",
    "pins",
]

WIRING: Final = ("uart", "adc", "i2c", "onewire", "led")
PIN_KEYS: Final = ("tx", "rx", "de", "pin", "scl", "sda")

Bytes = Annotated[int, Meta(gt=0)]
Text = Annotated[str, Meta(min_length=1)]


class SpecError(BoardError):
    """A board.toml is missing or wrong."""


class BoardTable(Struct, frozen=True):
    """``[board]``."""

    name: Text  # as the folder
    title: Text
    mcu: Text
    port: Text  # the MicroPython port; a path ending in the folder's name is a port of our own
    entry: str = ""  # the file a node begins with, from the repository's root
    default: bool = False  # the board that counts where none is named; one board is it
    seen: str = ""  # the date on which its firmware was seen to run on silicon; empty: never


class MemoryTable(Struct, frozen=True):
    """``[memory]``, in bytes; None where nothing is promised."""

    image: Bytes | None = None  # the most an image may have
    heap: Bytes | None = None  # the least that must be left for MicroPython's heap
    heap_in_use: dict[str, Bytes] = {}  # the most that a node of each role holds of it
    heap_of_link: Bytes | None = None  # the most that the serial link adds, where it is on
    flash: Bytes | None = None  # of the chip or of the board's flash part
    ram: Bytes | None = None


class RomTable(Struct, frozen=True):
    """``[flash.rom]``: the bootloader that the chip has in its ROM (AN3155)."""

    chip_id: int
    uid: int  # address of the 12 bytes that each chip has from the factory
    sector_kib: list[Bytes]


class FlashTable(Struct, frozen=True):
    """``[flash]``: how a technician gets the firmware onto the board."""

    method: Literal["none", "uart", "swd", "dfu", "uf2", "esptool"]
    also: list[Literal["swd", "dfu"]] = []  # further ways, for --method
    chip: str = ""  # of a stock board: the board with an image of its own that has the same chip
    firmware: str = ""  # of a stock board: the release's file name, VERSION standing for v1.25.0
    enter: str = ""  # what to do with the board before
    rom: RomTable | None = None  # of a board that is flashed by "uart"


class EmulationTable(Struct, frozen=True):
    """``[emulation]``: the engines that can run it, best first."""

    engine: str | list[str] = ""

    @property
    def engines(self) -> list[str]:
        """Return a list, whether one or several were named; empty if none can."""
        if isinstance(self.engine, str):
            return [self.engine] if self.engine else []
        return self.engine


class Spec(Struct, frozen=True):
    """A checked board.toml; ``tables`` is all of it, for what is not named here."""

    board: BoardTable
    flash: FlashTable
    memory: MemoryTable = MemoryTable()
    emulation: EmulationTable = EmulationTable()
    stubs: str = ""  # the package with the types of its MicroPython port
    tables: dict[str, object] = {}

    @property
    def has_image(self) -> bool:
        """Return whether `tianfu-node build` makes an image of its own for it."""
        return self.board.port == f"boards/{self.board.name}"


def pins(spec: Spec) -> Iterator[tuple[str, str]]:
    """Yield every pin the wiring names and where: ``("uart.line.tx", "PA2")``."""
    for table in WIRING:
        entries = spec.tables.get(table)
        if not isinstance(entries, dict):
            continue
        for name, entry in entries.items():
            if isinstance(entry, dict):
                for key in PIN_KEYS:
                    if key in entry:
                        yield f"{table}.{name}.{key}", str(entry[key])


def parse(text: str, where: Path) -> Spec:
    """Read a board.toml from its text; SpecError names the key, what was expected, what came."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{where}: {error}") from error
    try:
        spec = convert({**tables, "tables": tables}, Spec)
    except ValidationError as error:
        raise SpecError(f"{where}: {error}") from error
    if spec.board.name != where.parent.name:
        raise SpecError(
            f"{where}: board.name: expected {where.parent.name!r} as the folder, "
            f"got {spec.board.name!r}"
        )
    used: dict[str, str] = {}
    for key, pin in pins(spec):
        if pin in used:
            raise SpecError(f"{where}: {key}: pin {pin} is already {used[pin]}")
        used[pin] = key
    return spec


def load(name: str, folder: Path = FOLDER) -> Spec:
    """Return the board of this name; SpecError lists the names there are."""
    known = names(folder)
    if name not in known:
        raise SpecError(f"no board {name!r}; there are: {', '.join(known)}")
    path = folder / name / "board.toml"
    return parse(path.read_text(encoding="utf-8"), path)


def of_engine(engine: str) -> Spec:
    """Return the board that an engine of the bench runs by itself.

    It is the board of the engine's name, or the first that names the engine. SpecError.
    """
    able = [spec for spec in map(load, names()) if engine in spec.emulation.engines]
    if not able:
        raise SpecError(f"{FOLDER}/*/board.toml: expected one with engine {engine!r} in emulation")
    return next((spec for spec in able if spec.board.name == engine), able[0])
