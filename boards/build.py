"""Board images: built from the MicroPython tree and our sources, cached by everything in them.

``build(name)`` is all a bench needs: it returns at once when nothing that goes into the image has
changed since it was built.
"""

import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from . import spec as specs
from .cache import ROOT, Progress, cache_root, digest_of, file_digest, locked, tree_digest
from .elf import read_symbols
from .errors import BudgetExceeded
from .source import Tree, micropython_tree
from .toolchain import (
    BuildError,
    compiler_identity,
    first_line,
    mpy_cross,
    python_arguments,
    run_make,
    version_arguments,
)

FILES: Final = ("firmware.elf", "firmware.bin", "firmware.map")
# What a linker script here defines: RAM is stack, static data and then the heap.
SYMBOLS: Final = ("stack_bottom", "heap_start", "heap_end")
KEPT_IMAGES: Final = 8  # of one board; older ones are deleted

# What can be frozen into an image or decides how it is built. More than a manifest names, so that
# a new file is never missed.
OURS: Final = ("boards/__init__.py", "firmware", "protocols/__init__.py", "protocols/wire")
SCRIPTS: Final = ("boards/build.py", "boards/source.py", "boards/toolchain.py")


@dataclass(frozen=True)
class Image:
    """A built image; sizes are bytes."""

    elf: Path
    bin: Path
    map: Path
    flash_bytes: int
    ram_bytes: int  # static data and stack; the heap is not part of it
    heap_bytes: int
    version: str  # of MicroPython
    digest: str  # SHA-256 of the bin file


def _ignore(_text: str) -> None:
    """Take progress for callers who show none."""


def input_digest(board: specs.Spec, tree: Tree, compiler: str) -> str:
    """Return one SHA-256 over everything that can change the image's bytes."""
    folder = f"boards/{board.board.name}"
    return digest_of(
        {
            "board": tree_digest(ROOT, (folder,)),
            "python": tree_digest(ROOT, OURS, (".py",)),
            "scripts": tree_digest(ROOT, SCRIPTS),
            "micropython": tree.digest,
            "compiler": compiler,
            "host": f"{sys.version_info[:2]} {first_line(['gcc', '--version'])}",
        }
    )


def compile_image(board: specs.Spec, tree: Tree, work: Path, cross: Path) -> None:
    """Build into ``work``, always anew."""
    work.mkdir(parents=True, exist_ok=True)
    run_make(
        [
            "-C",
            str(ROOT / "boards" / board.board.name),
            f"MICROPY_TOP={tree.path}",
            f"BUILD={work}",
            f"MPY_CROSS={cross}",
            *python_arguments(),
            *version_arguments(tree),
        ],
        f"building {board.board.name}",
        work / "make.log",
    )
    missing = [name for name in FILES if not (work / name).is_file()]
    if missing:
        raise BuildError(f"building {board.board.name}: make succeeded without {missing}")


def measure(folder: Path, board: specs.Spec, version: str) -> Image:
    """Return an image with its sizes, read from its files. BoardError if they are damaged."""
    symbols = read_symbols(folder / "firmware.elf")
    missing = [name for name in SYMBOLS if name not in symbols]
    if missing:
        raise BuildError(
            f"{folder / 'firmware.elf'}: expected the symbols {', '.join(SYMBOLS)}, "
            f"{missing} not found; the linker script of {board.board.name} defines them"
        )
    bottom, start, end = (symbols[name] for name in SYMBOLS)
    binary = folder / "firmware.bin"
    return Image(
        elf=folder / "firmware.elf",
        bin=binary,
        map=folder / "firmware.map",
        flash_bytes=binary.stat().st_size,
        ram_bytes=start - bottom,
        heap_bytes=end - start,
        version=version,
        digest=file_digest(binary),
    )


def check_budget(image: Image, memory: specs.MemoryTable, name: str) -> None:
    """Raise BudgetExceeded for an image larger, or with less heap, than board.toml allows."""
    problems: list[str] = []
    if memory.image is not None and image.flash_bytes > memory.image:
        problems.append(
            f"memory.image: expected at most {memory.image} bytes, got {image.flash_bytes}"
        )
    if memory.heap is not None and image.heap_bytes < memory.heap:
        problems.append(
            f"memory.heap: expected at least {memory.heap} bytes, got {image.heap_bytes}"
        )
    if problems:
        raise BudgetExceeded(
            f"boards/{name}/board.toml: {'; '.join(problems)}. "
            f"What takes the space is in {image.map}"
        )


def forget_old(folder: Path, kept: int = KEPT_IMAGES) -> None:
    """Delete all but the newest images of a board."""
    images = [path for path in folder.iterdir() if (path / "whole").is_file()]
    images.sort(key=lambda path: (path / "whole").stat().st_mtime, reverse=True)
    for path in images[kept:]:
        shutil.rmtree(path, ignore_errors=True)


def build(name: str, progress: Progress = _ignore, clean: bool = False) -> Image:
    """Return the board's image, built if it is not in the cache; ``clean`` always builds it.

    BoardError (SpecError, SourceError, ToolMissing, BuildError, BudgetExceeded) if it cannot be.
    """
    board = image_board(name)
    compiler = compiler_identity()
    tree = micropython_tree(progress)
    key = input_digest(board, tree, compiler)[:16]
    folder = cache_root() / "images" / name / key
    with locked(folder):
        if clean:
            shutil.rmtree(folder, ignore_errors=True)
        if not (folder / "whole").is_file():
            cross = mpy_cross(tree, progress)
            progress(f"building {name} with MicroPython {tree.version}")
            shutil.rmtree(folder, ignore_errors=True)
            compile_image(board, tree, folder, cross)
            keep_only(folder)
            (folder / "whole").write_bytes(b"")
            forget_old(folder.parent)
        image = measure(folder, board, tree.version)
    check_budget(image, board.memory, name)
    return image


def keep_only(folder: Path) -> None:
    """Delete the objects and generated files of a build; the image and its log stay."""
    for path in folder.iterdir():
        if path.name in (*FILES, "make.log"):
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def image_board(name: str) -> specs.Spec:
    """Return the board's description; SpecError if it has no image of its own."""
    board = specs.load(name)
    if not board.has_image:
        raise specs.SpecError(
            f"{name} has no image of its own: it runs MicroPython's {board.board.port} port with "
            f"the firmware on top (boards/{name}/manifest.py)"
            if board.board.port != "unix"
            else f"{name} has no image: the interpreter runs the files as they are"
        )
    return board


def verify(name: str, progress: Progress = _ignore) -> Image:
    """Build once more, in a folder of another name, and compare every byte with the cached image.

    BuildError names the first file and offset that differ. Returns the cached image.
    """
    image = build(name, progress)
    board = image_board(name)
    tree = micropython_tree(progress)
    cross = mpy_cross(tree, progress)
    with tempfile.TemporaryDirectory(dir=cache_root() / "images") as scratch:
        progress(f"building {name} again, in another folder")
        work = Path(scratch) / "a-longer-name" / "and-a-folder"
        compile_image(board, tree, work, cross)
        for file, built in (("firmware.bin", image.bin), ("firmware.elf", image.elf)):
            compare(built, work / file)
    return image


def compare(left: Path, right: Path) -> None:
    """Raise BuildError with the first offset at which two files differ."""
    a, b = left.read_bytes(), right.read_bytes()
    if a == b:
        return
    at = next(
        (n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
    )
    raise BuildError(
        f"not reproducible: {left} and {right.name} of a second build differ at offset {at:#x} "
        f"({len(a)} and {len(b)} bytes): {a[at : at + 32]!r} and {b[at : at + 32]!r}"
    )
