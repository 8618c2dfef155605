"""Building: budget, cache, missing tools, comparison. The compilers stand in as small scripts."""

import stat
import sys
from pathlib import Path

import pytest

from boards import build as images
from boards import spec as specs
from boards import toolchain
from boards.cache import digest_of, tree_digest
from boards.elf import read_symbols
from boards.errors import BoardError, BudgetExceeded, ToolMissing
from boards.source import Tree


def image(flash: int, heap: int) -> images.Image:
    none = Path("x")
    return images.Image(none, none, Path("x.map"), flash, 0, heap, "1.25.0", "")


def test_budget() -> None:
    memory = specs.MemoryTable(image=1000, heap=500)
    images.check_budget(image(1000, 500), memory, "b")
    with pytest.raises(BudgetExceeded, match="at most 1000 bytes, got 1001"):
        images.check_budget(image(1001, 500), memory, "b")
    with pytest.raises(BudgetExceeded, match="at least 500 bytes, got 499"):
        images.check_budget(image(1000, 499), memory, "b")


def test_missing_compiler_gives_the_one_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissing) as caught:
        toolchain.compiler_identity()
    assert (
        "sudo apt-get install --yes --no-install-recommends "
        "gcc-arm-none-eabi libnewlib-arm-none-eabi" in str(caught.value)
    )


def test_compiler_without_c_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gcc = tmp_path / "arm-none-eabi-gcc"
    gcc.write_text("#!/bin/sh\necho libc.a\n", "utf-8")
    gcc.chmod(gcc.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(ToolMissing, match=r"^libnewlib-arm-none-eabi is not installed"):
        toolchain.compiler_identity()


@pytest.mark.tool("make")
def test_what_make_says_is_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text("all:\n\t@echo 'a.c:3: error: no such thing'; exit 1\n")
    with pytest.raises(toolchain.BuildError, match="no such thing"):
        toolchain.run_make(["-C", str(tmp_path)], "building b", tmp_path / "make.log")


def test_a_make_that_does_not_end_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = tmp_path / "make"
    make.write_text("#!/bin/sh\necho begun\nexec sleep 60\n", "utf-8")
    make.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(toolchain, "_MAKE_TIMEOUT_S", 0.2)
    with pytest.raises(toolchain.BuildError, match=r"building b: no end after 0\.2 s; log: /.*log"):
        toolchain.run_make([], "building b", tmp_path / "make.log")
    assert (tmp_path / "make.log").read_text("utf-8") == "begun\n"


@pytest.mark.tool("make")
def test_mpy_cross_is_built_once_for_each_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gcc = tmp_path / "bin/gcc"
    gcc.parent.mkdir()
    (tmp_path / "tree/mpy-cross").mkdir(parents=True)
    makefile = tmp_path / "tree/mpy-cross/Makefile"
    makefile.write_text("all:\n\t@echo $(MICROPY_GIT_TAG) $(PYTHON) >$(BUILD)/mpy-cross\n")
    monkeypatch.setenv("PATH", f"{gcc.parent}:/usr/bin:/bin")
    monkeypatch.setenv("TIANFU_CACHE", str(tmp_path / "cache"))
    tree = Tree(tmp_path / "tree", "1.25.0", "5" * 64)
    steps: list[str] = []

    def built(version: str) -> Path:
        gcc.write_text(f"#!/bin/sh\necho gcc {version}\n", "utf-8")
        gcc.chmod(0o755)
        return toolchain.mpy_cross(tree, steps.append)

    first = built("12")
    assert first.read_text("utf-8") == f"v1.25.0 {sys.executable}\n"
    assert built("12") == first
    assert steps == ["building mpy-cross 1.25.0"]
    makefile.write_text("all:\n\t@echo half >$(BUILD)/mpy-cross; exit 1\n")
    with pytest.raises(toolchain.BuildError, match="building mpy-cross: make ended with 2"):
        built("13")
    assert [path for path in first.parents[1].rglob("mpy-cross") if path.is_file()] == [first]


def test_compare_names_the_offset(tmp_path: Path) -> None:
    left, right = tmp_path / "a", tmp_path / "b"
    left.write_bytes(b"12345")
    right.write_bytes(b"12345")
    images.compare(left, right)
    right.write_bytes(b"12x45")
    with pytest.raises(toolchain.BuildError, match="offset 0x2"):
        images.compare(left, right)
    right.write_bytes(b"1234")
    with pytest.raises(toolchain.BuildError, match="offset 0x4"):
        images.compare(left, right)


def test_digest_sees_names_contents_and_new_files(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "a.py").write_text("1", "utf-8")
    seen = {tree_digest(tmp_path, ("p",))}
    (tmp_path / "p" / "b.py").write_text("1", "utf-8")
    seen.add(tree_digest(tmp_path, ("p",)))
    (tmp_path / "p" / "a.py").write_text("2", "utf-8")
    seen.add(tree_digest(tmp_path, ("p",)))
    assert len(seen) == 3
    (tmp_path / "p" / "__pycache__").mkdir()
    (tmp_path / "p" / "__pycache__" / "a.pyc").write_bytes(b"x")
    assert tree_digest(tmp_path, ("p",)) in seen
    assert digest_of({"a": "1", "b": "2"}) == digest_of({"b": "2", "a": "1"})
    assert digest_of({"a": "12"}) != digest_of({"a1": "2"})


def test_not_an_elf_file(tmp_path: Path) -> None:
    for content in (b"", b"\x7fELF\x02\x01" + bytes(60), bytes(100)):
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(BoardError):
            read_symbols(tmp_path / "x")
