"""The node's record store, compiled for the host, over a flash that records what is done to it.

The store is the very C file of the image. The flash behaves as RM0090 describes: programming clears
bits of one word, an erase sets all bits of a sector. Every operation is recorded in order, so that
a test can look at each state a power cut could have left.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from boards.folder import FOLDER, default_name
from boards.recordstore import SECTOR_BYTES, SECTORS, WORD
from hil.errors import NoCompilerError
from hil.tools import TOOLS

SOURCES = [FOLDER / default_name() / name for name in ("record_store.c", "record_kept.c")]
COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-fPIC", "-shared")

_SHIM = """
#include "record_store.h"
size_t host_store_bytes(void) { return sizeof(rs_store_t); }
uint32_t host_end(const rs_store_t *store) { return store->end; }
uint32_t host_sequence(const rs_store_t *store) { return store->sequence; }
uint32_t host_count(const rs_store_t *store) { return store->count; }
"""


@dataclass(frozen=True, slots=True)
class Program:
    """One word programmed: the bits that are 0 in ``word`` are cleared."""

    sector: int
    offset: int
    word: int


@dataclass(frozen=True, slots=True)
class Erase:
    """One sector set to ones."""

    sector: int


Operation = Program | Erase


class Flash:
    """Two sectors. ``broken``: the medium takes nothing, as an emulator's ROM."""

    def __init__(self, content: bytes | None = None, sector_bytes: int = SECTOR_BYTES) -> None:
        self.sector_bytes = sector_bytes
        self.memory = (ctypes.c_uint8 * (SECTORS * sector_bytes))()
        self.broken = False
        self.operations: list[Operation] = []
        self.content = content if content is not None else b"\xff" * len(self.memory)

    @property
    def content(self) -> bytes:
        """The content of both sectors, one after the other."""
        return bytes(self.memory)

    @content.setter
    def content(self, image: bytes) -> None:
        if len(image) != len(self.memory):
            raise ValueError(f"expected {len(self.memory)} bytes of flash, got {len(image)}")
        ctypes.memmove(self.memory, image, len(image))

    def word(self, sector: int, offset: int) -> int:
        """Return what one word reads as."""
        at = sector * self.sector_bytes + offset
        return int.from_bytes(bytes(self.memory[at : at + WORD]), "little")

    def set_word(self, sector: int, offset: int, word: int) -> None:
        """Make one word read as ``word``, whatever it was: a torn one may."""
        at = sector * self.sector_bytes + offset
        self.memory[at : at + WORD] = list(word.to_bytes(WORD, "little"))

    def program(self, sector: int, offset: int, word: int) -> bool:
        """Clear the bits that are 0 in ``word``."""
        if offset % WORD or not 0 <= offset < self.sector_bytes or sector not in (0, 1):
            raise ValueError(f"program of sector {sector}, offset {offset:#x}")
        self.operations.append(Program(sector, offset, word))
        if not self.broken:
            self.set_word(sector, offset, self.word(sector, offset) & word)
        return True

    def erase(self, sector: int) -> bool:
        """Set a sector to ones."""
        self.operations.append(Erase(sector))
        if not self.broken:
            at = ctypes.addressof(self.memory) + sector * self.sector_bytes
            ctypes.memset(at, 0xFF, self.sector_bytes)
        return True


_PROGRAM = ctypes.CFUNCTYPE(
    ctypes.c_bool, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint32, ctypes.c_uint32
)
_ERASE = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.c_uint)


class _FlashStruct(ctypes.Structure):
    _fields_: ClassVar = [
        ("sector", ctypes.c_void_p * SECTORS),
        ("sector_bytes", ctypes.c_uint32),
        ("program", _PROGRAM),
        ("erase", _ERASE),
        ("context", ctypes.c_void_p),
    ]


def build(folder: Path) -> ctypes.CDLL:
    """Compile ``record_store.c`` into ``folder`` and load it. NoCompilerError."""
    compiler = next((path for name in COMPILERS if (path := shutil.which(name))), None)
    if compiler is None:
        raise NoCompilerError(f"none of {', '.join(COMPILERS)} in PATH: {TOOLS['gcc'].remedy}")
    shim = folder / "host.c"
    shim.write_text(_SHIM)
    target = folder / "record_store.so"
    include = f"-I{SOURCES[0].parent}"
    command = [compiler, *FLAGS, include, *map(str, SOURCES), str(shim), "-o", str(target)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        raise AssertionError(f"{' '.join(command)}\n{made.stderr}")
    library = ctypes.CDLL(str(target))
    library.host_store_bytes.restype = ctypes.c_size_t
    for name in ("host_end", "host_sequence", "host_count"):
        getattr(library, name).restype = ctypes.c_uint32
    for name in ("rs_read", "rs_write", "rs_writable", "rs_lost"):
        getattr(library, name).restype = ctypes.c_bool
    return library


class RecordStore:
    """One boot's view of the store on ``flash``, through the C code.

    Has what ``firmware.node.ports.Files`` asks for, so that the node's own Python can use it.
    """

    directory = "flash"

    def __init__(self, library: ctypes.CDLL, flash: Flash) -> None:
        self.flash = flash
        self._library = library
        self._store = ctypes.create_string_buffer(library.host_store_bytes())
        self._program = _PROGRAM(
            lambda _, sector, offset, word: flash.program(sector, offset, word)
        )
        self._erase = _ERASE(lambda _, sector: flash.erase(sector))
        base = ctypes.addressof(flash.memory)
        self._struct = _FlashStruct(
            (ctypes.c_void_p * SECTORS)(base, base + flash.sector_bytes),
            flash.sector_bytes,
            self._program,
            self._erase,
            None,
        )
        library.rs_open(self._store, ctypes.byref(self._struct))

    def read(self, name: str) -> bytes | None:
        """Return a record's data; None if there is none."""
        raw = name.encode()
        data = ctypes.c_void_p()
        length = ctypes.c_size_t()
        found = self._library.rs_read(
            self._store, raw, ctypes.c_size_t(len(raw)), ctypes.byref(data), ctypes.byref(length)
        )
        if not found:
            return None
        assert data.value is not None
        return ctypes.string_at(data.value, length.value)

    def write(self, name: str, data: bytes | bytearray) -> bool:
        """Store a record; False if the medium did not take it."""
        raw = name.encode()
        return bool(
            self._library.rs_write(
                self._store,
                raw,
                ctypes.c_size_t(len(raw)),
                bytes(data),
                ctypes.c_size_t(len(data)),
            )
        )

    def writable(self) -> bool:
        """Return False once a write has failed."""
        return bool(self._library.rs_writable(self._store))

    @property
    def lost(self) -> bool:
        """Whether damage was found where a newer record may have been."""
        return bool(self._library.rs_lost(self._store))

    def kept_in_ram(self) -> int:
        """Return how many records only RAM holds."""
        return int(self._library.rs_volatile(self._store))

    @property
    def end(self) -> int:
        """Offset at which the next record goes."""
        return int(self._library.host_end(self._store))

    @property
    def sequence(self) -> int:
        """How often a sector was begun; 0: the medium is not formatted."""
        return int(self._library.host_sequence(self._store))

    def records(self, names: tuple[str, ...]) -> Mapping[str, bytes | None]:
        """Return what each of ``names`` reads as."""
        return {name: self.read(name) for name in names}
