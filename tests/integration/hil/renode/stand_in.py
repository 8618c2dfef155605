"""The stand-in as the Renode of a test: a program of its own, which the test may alter."""

import sys
from pathlib import Path

import pytest

from tests.paths import ROOT


def use_stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, altered: str = "") -> None:
    """Let ``RENODE`` name the stand-in, which runs the Python text ``altered`` before it starts."""
    program = folder / "renode"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        f"from hil.renode.fake import Fake, Refused, main, server\n{altered}\n"
        "sys.exit(main(sys.argv[1:]))\n",
        encoding="utf-8",
    )
    program.chmod(0o755)
    monkeypatch.setenv("RENODE", str(program))


def make_image(folder: Path, content: bytes = b"\x7fELF") -> Path:
    """Write the image of a board; the stand-in reads it only where a test is about its symbols."""
    elf = folder / "firmware.elf"
    elf.write_bytes(content)
    return elf
