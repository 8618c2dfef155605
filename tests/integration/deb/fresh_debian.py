"""A fresh Debian in a folder, in which packages are installed as on a machine of its own."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.paths import ROOT

BASE = ROOT / ".cache/debian-bookworm"


def run(*command: str | Path, timeout: float = 600) -> str:
    """Run a program that must succeed; return what it prints."""
    done = subprocess.run(
        [str(word) for word in command],
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


class FreshDebian:
    """A minimal system below ``root``; it shares the network of this one."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def command(self, *words: object) -> list[str]:
        """Return the words that run a command in it."""
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        inside = ["/usr/sbin/chroot", str(self.root), "env", path, "DEBIAN_FRONTEND=noninteractive"]
        return [*inside, *map(str, words)]

    def run(self, *words: object) -> str:
        """Run a command in it that must succeed."""
        return run(*self.command(*words))

    def fails(self, *words: object) -> tuple[int, str]:
        """Run a command in it; return its status and what it prints."""
        done = subprocess.run(
            self.command(*words), capture_output=True, text=True, timeout=120, check=False
        )
        return done.returncode, done.stdout + done.stderr

    def apt(self, *words: object) -> str:
        """Run apt-get as an operator does."""
        return self.run("apt-get", "--yes", "--no-install-recommends", *words)

    def bring(self, file: Path) -> str:
        """Copy a package into it; return its name there."""
        (self.root / "tmp" / file.name).write_bytes(file.read_bytes())
        return f"/tmp/{file.name}"


@contextmanager
def fresh_debian(folder: Path) -> Iterator[FreshDebian]:
    """Make one in ``folder`` from a copy that is kept; nothing stays mounted after the block."""
    if not (BASE / "etc/debian_version").exists():
        part = BASE.with_suffix(".part")
        run("rm", "-rf", part)
        run("debootstrap", "--variant=minbase", "bookworm", part)
        part.rename(BASE)
    root = folder / "debian"
    run("cp", "-a", "--reflink=auto", BASE, root)
    (root / "etc/resolv.conf").write_bytes(Path("/etc/resolv.conf").read_bytes())
    mounted = []
    try:
        for kind, place in (("proc", root / "proc"), ("devpts", root / "dev/pts")):
            run("mount", "-t", kind, kind, place)
            mounted.append(place)
        yield FreshDebian(root)
    finally:
        for place in reversed(mounted):
            run("umount", "--lazy", place)
