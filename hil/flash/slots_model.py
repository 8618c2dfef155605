"""The board's application slots, compiled for the host, over a flash whose power can be cut.

The C code is the image's own; ``power_cut.c`` is the flash and what a cut leaves of it. One model
per process at a time: the flash is the library's.
"""

from __future__ import annotations

import ctypes
import hashlib
import shutil
import struct
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from boards.folder import FOLDER, default_name
from hil.errors import NoCompilerError
from hil.flash.model import COMPILERS, FLAGS
from hil.tools import TOOLS

_BOARD: Final = FOLDER / default_name()
_PARTS: Final = ("slots.c", "boot_decision.c", "record_store.c", "record_kept.c")
_SHIM: Final = Path(__file__).with_name("power_cut.c")
SECTOR_BYTES: Final = 1024
HEADER_BYTES: Final = 512
KEY: Final = bytes(range(32))
BASE: Final = bytes(range(1, 9))

_SHA = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
_VERIFY = ctypes.CFUNCTYPE(
    ctypes.c_bool, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p
)


def compile_slots(folder: Path, changes: Mapping[str, Mapping[str, str]] | None = None) -> Path:
    """Compile the board's C files and the flash; return the library.

    ``changes`` replaces text in a file, by its name: a defect made on purpose. AssertionError if
    the text is not there once.
    """
    compiler = next((path for name in COMPILERS if (path := shutil.which(name))), None)
    if compiler is None:
        raise NoCompilerError(f"none of {', '.join(COMPILERS)} in PATH: {TOOLS['gcc'].remedy}")
    sources = []
    for name in _PARTS:
        text = (_BOARD / name).read_text()
        for old, new in (changes or {}).get(name, {}).items():
            assert text.count(old) == 1, f"{name}: expected {old!r} once"
            text = text.replace(old, new)
        (folder / name).write_text(text)
        sources.append(str(folder / name))
    target = folder / "slots.so"
    command = [compiler, *FLAGS, f"-I{_BOARD}", *sources, str(_SHIM), "-o", str(target)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return target


@dataclass(frozen=True, slots=True)
class SlotsStatus:
    """What the node shows of its slots."""

    running: int
    version: int
    floor: int
    trial: int
    outcome: int
    target: int
    failed: int


@dataclass(frozen=True, slots=True)
class Cut:
    """The operation that the power was cut in: an erase has no offset and no word."""

    erase: bool
    sector: int
    offset: int
    word: int


def _stand_in(head: bytes) -> bytes:
    """Return what stands for a signature: that of Ed25519 has its own tests."""
    return hashlib.sha512(head).digest()


@dataclass(frozen=True, slots=True)
class ModelBoard:
    """What the model stands for. ``sign`` is the release key; the same head, the same signature."""

    board_class: bytes = b"model"
    base: bytes = BASE
    sector_bytes: int = SECTOR_BYTES
    sign: Callable[[bytes], bytes] = _stand_in


class SlotsModel:
    """One board's life. ``signed`` are the heads of the manifests that the release key signed."""

    def __init__(self, library: Path, seed: int = 1, made: ModelBoard | None = None) -> None:
        self.made = made = made or ModelBoard()
        self._library = ctypes.CDLL(str(library))
        self._library.model_memory.restype = ctypes.c_void_p
        for name in ("model_erase", "model_write", "model_confirm", "model_record"):
            getattr(self._library, name).restype = ctypes.c_bool
        self.signed: set[bytes] = set()
        self._callbacks = (_SHA(_sha256), _VERIFY(self._verify))
        size, first = ctypes.c_uint32(made.sector_bytes), ctypes.c_uint32(seed)
        self._library.model_reset(made.board_class, made.base, size, first, *self._callbacks)
        self._memory = [
            (ctypes.c_uint8 * made.sector_bytes).from_address(self._library.model_memory(index))
            for index in range(4)
        ]

    def manifest(self, version: int, image: bytes, floor: int = 0, back_from: int = 0) -> bytes:
        """Return a signed manifest, laid out as ``slots.h`` has it."""
        head = struct.pack(
            ">4sBBBB16sIII8sI32s16s",
            *(b"TFU1", 1, int(back_from > 0), 0, 9, self.made.board_class),
            *(version, floor, back_from, self.made.base),
            *(len(image), hashlib.sha256(image).digest(), bytes(16)),
        )
        return self.resigned(head)

    def resigned(self, head: bytes) -> bytes:
        """Return the manifest with these first 96 bytes, signed."""
        self.signed.add(head)
        return head + self.made.sign(head)

    def boot(self, fault: bool = False, cut_after: int = -1) -> SlotsStatus:
        """Start anew with the power on; ``cut_after``: until so many operations were done."""
        self._library.model_boot(fault, ctypes.c_long(cut_after))
        return self.status()

    def status(self) -> SlotsStatus:
        """Return what the node shows."""
        values = (ctypes.c_uint32 * 7)()
        self._library.model_status(values)
        return SlotsStatus(*values)

    def arm(self, after: int, at_random: bool = False) -> None:
        """Cut the power after so many operations more."""
        self._library.model_arm(ctypes.c_long(after), at_random)

    @property
    def operations(self) -> int:
        """How many operations were done since the last boot or :meth:`arm`."""
        return int(self._library.model_operations())

    @property
    def cut(self) -> Cut | None:
        """The operation in which the power went."""
        kind, sector, offset, word = (ctypes.c_uint32 * 4).in_dll(self._library, "model_cut")
        return Cut(kind == 2, sector, offset, word) if kind else None

    @property
    def content(self) -> bytes:
        """Both slots, then both sectors of the record store."""
        return b"".join(bytes(part) for part in self._memory)

    @content.setter
    def content(self, image: bytes) -> None:
        for index, part in enumerate(self._memory):
            size = self.made.sector_bytes
            ctypes.memmove(part, image[index * size : (index + 1) * size], size)

    def record(self, name: str, data: bytes) -> bool:
        """Store a record of the node's."""
        return bool(self._library.model_record(name.encode(), data, ctypes.c_size_t(len(data))))

    def check(self, manifest: bytes) -> int:
        """As the node's port, and so are the next ones."""
        return int(self._library.model_check(manifest))

    def erase(self) -> bool:
        """Erase the target."""
        return bool(self._library.model_erase())

    def write(self, offset: int, data: bytes) -> bool:
        """Write a part of the target's image."""
        return bool(
            self._library.model_write(ctypes.c_uint32(offset), data, ctypes.c_size_t(len(data)))
        )

    def order(self, manifest: bytes) -> int:
        """Order the target's start."""
        return int(self._library.model_order(manifest))

    def confirm(self) -> bool:
        """Confirm what runs."""
        return bool(self._library.model_confirm())

    def _verify(self, _key: int, data: int, length: int, signature: int) -> bool:
        head = ctypes.string_at(data, length)
        return head in self.signed and ctypes.string_at(signature, 64) == self.made.sign(head)


def _sha256(data: int, length: int, digest: int) -> None:
    ctypes.memmove(digest, hashlib.sha256(ctypes.string_at(data, length)).digest(), 32)
