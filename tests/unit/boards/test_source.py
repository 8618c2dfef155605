"""The MicroPython tree: chosen, checked, unpacked; no network."""

import io
import tarfile
from pathlib import Path

import pytest

from boards import source

HEADER = "#define MICROPY_VERSION_{} {}\n"


def make_tree(folder: Path, version: tuple[int, int, int]) -> Path:
    """A folder that names its version, like MicroPython's."""
    (folder / "py").mkdir(parents=True)
    text = "".join(
        HEADER.format(*p) for p in zip(("MAJOR", "MINOR", "MICRO"), version, strict=True)
    )
    (folder / "py" / "mpconfig.h").write_text(text, "utf-8")
    return folder


def archive_of(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    with tarfile.open(path, "w:xz") as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = link
    info.mode = 0o4777
    return info


def test_named_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = make_tree(tmp_path / "mp", (1, 26, 1))
    monkeypatch.setenv("MICROPYTHON_SRC", str(tree))
    found = source.micropython_tree(lambda _: None)
    assert (found.path, found.version) == (tree, "1.26.1")
    (tree / "py" / "vm.c").write_text("int x;", "utf-8")
    assert source.micropython_tree(lambda _: None).digest != found.digest


def test_named_tree_too_old_or_none(tmp_path: Path) -> None:
    with pytest.raises(source.SourceError, match=r"expected MicroPython 1\.25 or newer, got 1\.24"):
        source.named_tree(make_tree(tmp_path / "old", (1, 24, 1)))
    with pytest.raises(source.SourceError, match="MICROPYTHON_SRC"):
        source.named_tree(tmp_path)


@pytest.mark.parametrize(
    ("version", "good"),
    [
        ("1.25.0+ds-1", True),
        ("1.19.1+ds-1", False),
        ("2:1.30~rc1-1", True),
        ("2.0-1", True),
        ("1.9-1", False),
        ("ds", False),
    ],
)
def test_versions(version: str, good: bool) -> None:
    assert source.is_new_enough(version) == good


def test_pinned_hash_decides(tmp_path: Path) -> None:
    files = []
    for name in source.PINNED["1.25.0+ds-1"]:
        (tmp_path / name).write_bytes(b"something else")
        files.append(tmp_path / name)
    with pytest.raises(source.SourceError, match="expected SHA-256 7b25be99") as caught:
        source.check_files("1.25.0+ds-1", files, trusted=False)
    assert "got 9c9fe9d1" in str(caught.value) or "got " in str(caught.value)
    with pytest.raises(source.SourceError, match="no such file"):
        source.check_files("1.25.0+ds-1", [], trusted=False)


def test_unknown_version_needs_a_signature(tmp_path: Path) -> None:
    archive = tmp_path / "micropython_1.99.0+ds.orig.tar.xz"
    archive.write_bytes(b"")
    assert source.check_files("1.99.0+ds-1", [archive], trusted=False) == archive
    with pytest.raises(source.SourceError, match="without a signature"):
        source.check_files("1.99.0+ds-1", [archive], trusted=True)


def test_unpack(tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "a.tar.xz", [(member("mp/py/x.c"), b"int x;")])
    tree = source.unpack(archive, tmp_path / "out")
    assert (tree / "py" / "x.c").read_bytes() == b"int x;"
    assert (tree / "py" / "x.c").stat().st_mode & 0o7022 == 0


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        (member("mp/../../evil"), "leave"),
        (member("/mp/evil"), "leave"),
        (member("mp/link", tarfile.SYMTYPE, "/etc/passwd"), "neither"),
        (member("mp/hard", tarfile.LNKTYPE, "mp/x"), "neither"),
        (member("mp/dev", tarfile.CHRTYPE), "neither"),
    ],
)
def test_unpack_refuses(tmp_path: Path, bad: tarfile.TarInfo, word: str) -> None:
    archive = archive_of(tmp_path / "a.tar.xz", [(bad, b"")])
    with pytest.raises(source.SourceError, match=word):
        source.unpack(archive, tmp_path / "out")
    assert not (tmp_path / "evil").exists()
