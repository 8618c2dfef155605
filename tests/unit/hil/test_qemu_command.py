"""QEMU that is missing, too old or no QEMU; its command line; and an image that cannot be had."""

import sys
from pathlib import Path

import pytest

from hil.engines.images import image_of
from hil.engines.qemu_command import QemuCommand, find_qemu
from hil.errors import EngineError, ImageError


def program(path: Path, text: str) -> Path:
    """Write a program that prints ``text``."""
    path.write_text(f"#!/bin/sh\necho '{text}'\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def test_a_missing_qemu_names_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("QEMU", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError, match=r"no `qemu-system-arm` in PATH: .*apt-get install"):
        find_qemu()


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ("QEMU emulator version 6.2.0", "got 'QEMU emulator version 6.2.0'"),
        ("no emulator", "got 'no emulator'"),
    ],
)
def test_an_unfit_qemu_is_quoted(
    printed: str, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QEMU", str(program(tmp_path / "qemu", printed)))
    with pytest.raises(EngineError, match=rf"expected QEMU 7\.2 or newer, {shown}"):
        find_qemu()


def test_a_qemu_that_is_new_enough_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = program(tmp_path / "qemu", "QEMU emulator version 10.0.1 (Debian)")
    monkeypatch.setenv("QEMU", str(named))
    assert find_qemu() == named


def test_the_command_line_has_store_debugger_clock_and_trace() -> None:
    command = QemuCommand(Path("/bin/qemu"), Path("/i.elf"), icount=3, trace=True)
    words = command.words(Path("/f"), {"usart2": 7}, 5, store=Path("/a,b.bin"), debugger=6)
    line = " ".join(words)
    assert "-device loader,file=/a,,b.bin,addr=0x" in line
    assert "-chardev socket,id=gdb,fd=6 -gdb chardev:gdb -S" in line
    assert "-serial null -chardev socket,id=usart2,fd=7 -serial chardev:usart2 -serial null" in line
    assert line.count("-serial") == 6
    assert line.endswith("-icount shift=3,sleep=on -d unimp,guest_errors -D /f/qemu.log")


def test_the_command_line_has_nothing_that_was_not_asked_for() -> None:
    words = QemuCommand(Path("/bin/qemu"), Path("/i.elf")).words(Path("/f"), {}, 5)
    assert not {"-device", "-gdb", "-icount", "-d"} & set(words)


def test_an_image_of_an_unknown_board_names_board_and_command() -> None:
    with pytest.raises(
        ImageError, match=r"image of no-board cannot be built: .*no-board"
    ) as caught:
        image_of("no-board")
    assert caught.value.remedy == "tianfu-node build no-board"


def test_an_installation_without_the_builder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boards.build", None)  # what Python keeps of a failed import
    with pytest.raises(ImageError, match=r"boards\.build cannot be used"):
        image_of("pyboard")
