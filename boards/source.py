"""The MicroPython source tree that images are built from.

``MICROPYTHON_SRC`` names one; otherwise Debian's source package is fetched with the apt and the
mirror of this machine (:mod:`.apt`), checked and unpacked into the cache once. Only the upstream
part is used: Debian's patches concern its own packages of the Unix port and the documents.
"""

import os
import re
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .apt import PrivateApt, find_version
from .cache import Progress, cache_root, file_digest, locked, tree_digest
from .errors import BoardError

PACKAGE: Final = "micropython"
MINIMUM: Final = (1, 25)

# Known to build: checked against these, whatever the archive offers. Of another version apt's own
# check counts, against the list that the distribution signed.
PINNED: Final = {
    "1.25.0+ds-1": {
        "micropython_1.25.0+ds.orig.tar.xz": (
            "7b25be99a502f070b2de81dafc08da7051d992325d6e67daa9045a918fffdbea"
        ),
        "micropython_1.25.0+ds-1.debian.tar.xz": (
            "87cd89f7900c86b963885dabe25acf3e5348815993f1500278ad8f6464465af4"
        ),
    },
}

# What of the tree can end up in an image or in mpy-cross.
BUILT_FROM: Final = ("drivers", "extmod", "lib", "mpy-cross", "py", "shared", "tools")
_VERSION: Final = re.compile(r"^#define MICROPY_VERSION_(MAJOR|MINOR|MICRO) (\d+)", re.MULTILINE)
_MAX_UNPACKED: Final = 500_000_000  # bytes; 1.25.0 has 41 million


class SourceError(BoardError):
    """There is no usable MicroPython source tree."""


@dataclass(frozen=True)
class Tree:
    """An unpacked source tree of MicroPython."""

    path: Path
    version: str
    digest: str  # SHA-256 over what of it an image can contain


def tree_version(path: Path) -> tuple[int, int, int]:
    """Read the version in a tree's own header; SourceError if there is none."""
    header = path / "py" / "mpconfig.h"
    try:
        found = dict(_VERSION.findall(header.read_text(encoding="utf-8")))
        return int(found["MAJOR"]), int(found["MINOR"]), int(found["MICRO"])
    except (OSError, KeyError) as error:
        raise SourceError(
            f"{path}: expected a MicroPython source tree, with its version in py/mpconfig.h; "
            "does MICROPYTHON_SRC name the right folder?"
        ) from error


def upstream_version(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a Debian version: ``1.25.0+ds-1`` is (1, 25, 0)."""
    match = re.match(r"(?:\d+:)?(\d+(?:\.\d+)*)", version)
    return tuple(int(part) for part in match[1].split(".")) if match else ()


def is_new_enough(version: str) -> bool:
    """Return whether a package version has what the ports here need."""
    return upstream_version(version)[:2] >= MINIMUM


def check_files(version: str, files: list[Path], trusted: bool) -> Path:
    """Return the upstream archive among what apt fetched, compared with its pinned hash.

    SourceError if a pinned file is missing or differs, or if nothing vouches for the files at
    all: an unknown version from an archive whose signatures were switched off (``trusted``).
    """
    pinned = PINNED.get(version)
    if pinned is None and trusted:
        raise SourceError(
            f"{PACKAGE} {version} comes from an archive marked as trusted, without a signature, "
            f"and is not one of the versions known here ({', '.join(PINNED)}); "
            "set MICROPYTHON_SRC to a tree you trust instead"
        )
    have = {path.name: path for path in files}
    for name, expected in (pinned or {}).items():
        got = file_digest(have[name]) if name in have else "no such file"
        if got != expected:
            raise SourceError(
                f"{name}: expected SHA-256 {expected}, got {got}; the mirror in /etc/apt "
                "serves something else under this name, so nothing of it was used"
            )
    for name, path in have.items():
        if re.fullmatch(r"micropython_[\w.+~]+\.orig\.tar\.(xz|gz|bz2)", name):
            return path
    raise SourceError(f"{PACKAGE} {version}: no upstream archive among {sorted(have)}")


def unpack(archive: Path, target: Path) -> Path:
    """Unpack into a new folder and return the tree's own folder.

    The archive may hold folders and plain files below its own folder, nothing else; SourceError
    names the first member that is otherwise. Debian 12's Python has no ``filter="data"`` yet,
    so the members are looked at here, and cleared of owners and odd modes.
    """
    target.mkdir(parents=True)
    total = 0
    with tarfile.open(archive) as tar:
        for member in tar:
            parts = Path(member.name).parts
            total += member.size
            if not (member.isdir() or member.isreg()):
                raise SourceError(f"{archive.name}: {member.name!r} is neither file nor folder")
            if member.name.startswith("/") or ".." in parts or not parts:
                raise SourceError(f"{archive.name}: {member.name!r} would leave its folder")
            if total > _MAX_UNPACKED:
                raise SourceError(f"{archive.name}: more than {_MAX_UNPACKED} bytes unpacked")
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            member.uid = member.gid = os.getuid()
            member.uname = member.gname = ""
            if hasattr(tarfile, "data_filter"):
                tar.extract(member, target, filter="data")
            else:
                tar.extract(member, target)
    tops = [path for path in target.iterdir() if path.is_dir()]
    if len(tops) != 1:
        raise SourceError(f"{archive.name}: expected one folder at its top, got {len(tops)}")
    return tops[0]


def named_tree(path: Path) -> Tree:
    """Return the tree MICROPYTHON_SRC names, checked; it may change between two builds."""
    version = tree_version(path)
    text = ".".join(map(str, version))
    if version[:2] < MINIMUM:
        raise SourceError(
            f"{path}: expected MicroPython {'.'.join(map(str, MINIMUM))} or newer, got {text}; "
            "unset MICROPYTHON_SRC to have one fetched"
        )
    return Tree(path, text, tree_digest(path, BUILT_FROM))


def cached_tree(folder: Path) -> Tree | None:
    """Return the newest tree that was fetched before, None if there is none."""
    found = [path.parent for path in folder.glob("*/digest")]
    if not found:
        return None
    newest = max(found, key=lambda path: upstream_version(path.name))
    tree = newest / "tree"
    text = ".".join(map(str, tree_version(tree)))
    return Tree(tree, text, (newest / "digest").read_text(encoding="ascii").strip())


def fetch(apt: PrivateApt, version: str, folder: Path) -> None:
    """Download, check and unpack one version into ``folder/<version>``, whole or not at all."""
    work = folder / "incoming"
    shutil.rmtree(work, ignore_errors=True)
    files = apt.download(PACKAGE, version, work / "files")
    archive = check_files(version, files, apt.archive.trusted)
    unpacked = unpack(archive, work / "unpacked")
    if tree_version(unpacked)[:2] < MINIMUM:
        raise SourceError(f"{archive.name}: its own version is older than {version}")
    ready = work / "ready"
    ready.mkdir()
    unpacked.rename(ready / "tree")
    digest = tree_digest(ready / "tree", BUILT_FROM)
    (ready / "digest").write_text(digest + "\n", encoding="ascii")
    shutil.rmtree(folder / version, ignore_errors=True)
    ready.rename(folder / version)
    shutil.rmtree(work, ignore_errors=True)


def micropython_tree(progress: Progress) -> Tree:
    """Return the tree to build from, fetched first if need be. BoardError if there is none."""
    named = os.environ.get("MICROPYTHON_SRC")
    if named:
        return named_tree(Path(named).resolve())
    folder = cache_root() / "micropython"
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "tree"):
        tree = cached_tree(folder)
        if tree is None:
            apt, version = find_version(folder / "apt", PACKAGE, is_new_enough, progress)
            progress(f"fetching {PACKAGE} {version} from {apt.suite}")
            fetch(apt, version, folder)
            shutil.rmtree(folder / "apt", ignore_errors=True)  # the lists; 20 MB
            tree = cached_tree(folder)
            assert tree is not None
    return tree
