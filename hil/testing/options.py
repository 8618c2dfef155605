"""The bench's options of pytest, its markers, and the engines that a run will use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest

from hil.engines.registry import KINDS, Probe, available
from hil.testing.result_lines import ResultLines
from hil.testing.session import FULL_POLLS, FULL_SOAK_S, SESSION, Session

ALL: Final = "all-available"
MARKERS: Final = (
    "needs(*capabilities): skipped on an engine without one of hil.engines.abilities.Capability",
    "fidelity(*ids): expected to fail on the engine of an entry of hil/engines/fidelity.toml",
    "soak: takes minutes, most of them idle; run first, so that others run beside it",
    "exhaustive: runs every case there is and takes minutes; left out of short runs by -m",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the bench."""
    group = parser.getgroup("hil", "boards and benches")
    group.addoption(
        "--engine",
        action="append",
        metavar="NAME",
        help=f"{', '.join(KINDS)} or {ALL} (the default); may be given more than once",
    )
    group.addoption("--board", metavar="NAME", help="board whose image the emulators run")
    group.addoption("--image", metavar="ELF", help="run this image in place of building one")
    group.addoption("--seed", type=int, default=1, metavar="N", help="draws faults (default 1)")
    group.addoption(
        "--hil-out",
        metavar="DIR",
        default="hil-out",
        help="where failing tests leave their folders (default hil-out)",
    )
    group.addoption("--hil-keep", action="store_true", help="passing tests leave a folder, too")
    group.addoption(
        "--hil-repeat", type=int, default=1, metavar="N", help="run every test with N seeds"
    )
    group.addoption(
        "--hil-soak",
        type=float,
        default=FULL_SOAK_S,
        metavar="S",
        help=f"length of the soak scenarios in seconds (default {FULL_SOAK_S:.0f})",
    )
    group.addoption(
        "--hil-polls",
        type=int,
        default=FULL_POLLS,
        metavar="N",
        help=f"polls of the scenarios that count them (default {FULL_POLLS:,})",
    )
    group.addoption("--hil-results", metavar="FILE", help="one JSON line for every finished test")


def pytest_configure(config: pytest.Config) -> None:
    """Find the engines that this run will use."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    asked = config.getoption("--engine") or [ALL]
    unknown = [name for name in asked if name not in KINDS and name != ALL]
    if unknown:
        raise pytest.UsageError(
            f"--engine: expected {', '.join(KINDS)} or {ALL}, got {', '.join(unknown)}"
        )
    engines: dict[str, Probe] = {}
    absent: dict[str, str] = {}
    for name, kind in KINDS.items():
        if ALL not in asked and name not in asked:
            absent[name] = "not asked for"
            continue
        probe = available(kind)
        if probe.problem:
            if name in asked:
                raise pytest.UsageError(f"--engine {name}: {probe.problem}. {probe.remedy}")
            absent[name] = probe.problem
        else:
            engines[name] = probe
    in_ci = os.environ.get("CI", "").lower() == "true" and ALL in asked
    out = Path(config.invocation_params.dir) / config.getoption("--hil-out")
    config.stash[SESSION] = Session(
        engines=engines,
        absent=absent,
        seed=config.getoption("--seed"),
        out=out,
        board=config.getoption("--board"),
        image=Path(config.getoption("--image")) if config.getoption("--image") else None,
        keep=config.getoption("--hil-keep"),
        soak_s=config.getoption("--hil-soak"),
        polls=config.getoption("--hil-polls"),
        in_ci=in_ci,
    )
    results = config.getoption("--hil-results")
    if results and not hasattr(config, "workerinput"):
        config.pluginmanager.register(ResultLines(Path(results)), "hil-results")
