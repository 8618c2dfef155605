"""The compilers: found, identified, and run so that equal input gives equal bytes."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from .cache import Progress, cache_root, digest_of, file_digest, locked
from .errors import BoardError, ToolMissing
from .source import Tree

CROSS_PACKAGES: Final = "gcc-arm-none-eabi libnewlib-arm-none-eabi"
HOST_PACKAGES: Final = "gcc libc6-dev make"

# The same bytes wherever and whenever the image is built: no dates, no names of folders.
_EPOCH: Final = "1735689600"  # 2025-01-01T00:00:00Z; makeversionhdr.py wants a date
_MAKE_TIMEOUT_S: Final = 900


class BuildError(BoardError):
    """A compiler or linker refused; the text ends with what it printed."""


def find_tool(name: str, purpose: str, packages: str) -> str:
    """Return the path of a program; ToolMissing with the command that installs it."""
    found = shutil.which(name)
    if found is None:
        raise ToolMissing(name, purpose, packages)
    return found


def compiler_identity() -> str:
    """Return the version of the cross compiler and its C library; ToolMissing without them."""
    gcc = find_tool("arm-none-eabi-gcc", "building a board image", CROSS_PACKAGES)
    done = subprocess.run(
        [gcc, "-mcpu=cortex-m4", "-mthumb", "-print-file-name=libc.a"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    library = Path(done.stdout.strip())
    if not library.is_absolute():  # gcc gives the bare name back when it does not know the file
        raise ToolMissing("libnewlib-arm-none-eabi", "building a board image", CROSS_PACKAGES)
    return first_line([gcc, "--version"]) + " " + file_digest(library)


def first_line(command: list[str]) -> str:
    """Return the first line that a program prints."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    return done.stdout.partition("\n")[0]


def run_make(arguments: list[str], what: str, log: Path) -> None:
    """Run make; BuildError carries the first errors it printed and where the whole log is."""
    make = find_tool("make", what, HOST_PACKAGES)
    environment = {
        key: value
        for key, value in os.environ.items()
        # Options of a make that runs us, or of the user's shell, must not reach the image.
        if key not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "CFLAGS", "LDFLAGS", "CFLAGS_EXTRA")
    }
    environment |= {"LC_ALL": "C", "SOURCE_DATE_EPOCH": _EPOCH, "PYTHONHASHSEED": "0"}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONWARNINGS": "ignore"}
    with log.open("wb") as file:
        try:
            code = subprocess.run(
                [make, *arguments, f"-j{os.cpu_count() or 1}"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                timeout=_MAKE_TIMEOUT_S,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired as error:
            raise BuildError(f"{what}: no end after {_MAKE_TIMEOUT_S} s; log: {log}") from error
    if code:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        errors = [line for line in lines if re.search(r"\b[Ee]rror\b|undefined|overflowed", line)]
        shown = "\n".join((errors or lines)[:8])
        raise BuildError(f"{what}: make ended with {code}; log: {log}\n{shown}")


def version_arguments(tree: Tree) -> list[str]:
    """Make arguments that fix the version: without them git would be asked, ours or no one's."""
    return [f"MICROPY_GIT_TAG=v{tree.version}", "MICROPY_GIT_HASH=source-package"]


def mpy_cross(tree: Tree, progress: Progress) -> Path:
    """Return the compiler of the tree's own bytecode, built with the host's gcc and cached."""
    gcc = find_tool("gcc", "building mpy-cross", HOST_PACKAGES)
    key = digest_of({"tree": tree.digest, "gcc": first_line([gcc, "--version"])})[:16]
    folder = cache_root() / "mpy-cross" / key
    program = folder / "mpy-cross"
    with locked(folder):
        if not program.is_file():
            progress(f"building mpy-cross {tree.version}")
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder) as work:
                arguments = ["-C", str(tree.path / "mpy-cross"), f"BUILD={work}"]
                run_make(
                    [*arguments, *python_arguments(), *version_arguments(tree)],
                    "building mpy-cross",
                    folder / "make.log",
                )
                # In one step, so that a program that is there is a whole one.
                (Path(work) / "mpy-cross").rename(program)
    return program


def python_arguments() -> list[str]:
    """Make arguments that choose the interpreter for MicroPython's own scripts."""
    return [f"PYTHON={sys.executable}"]
