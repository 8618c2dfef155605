"""How long a running gateway of 200 devices takes to change, and what that costs the others."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway_agent.reload.socket import ReloadQuestion, ask_reload

from .gateway import agent, counters, profile_of, write_config

DEVICES: Final = 200
_PERIOD_MS: Final = 500
_DEADLINE_S: Final = 60.0
_NO_PROBATION: Final = "\n[reload]\nprobation_s = 0\n"


@dataclass(frozen=True)
class ReloadTimes:
    """Seconds of a reload of one device, and of all; polls that others missed by the first."""

    one_s: float
    all_s: float
    missed: int


def reload_times(directory: Path, ports: Sequence[int], mqtt: int, devices: int) -> ReloadTimes:
    """Change the period of one device, then that of all, on a bus each."""
    buses = [ports[index % len(ports)] for index in range(devices)]
    path = write_config(directory, profile_of(10), buses, mqtt, _PERIOD_MS)
    first = path.read_text() + _NO_PROBATION
    path.write_text(first)
    with agent(path):
        _wait_for(path, devices)
        before = counters(path).skipped_slots
        path.write_text(_slower(first, 1))
        one_s = _reload(path)
        _wait_for(path, counters(path).polls + devices)
        missed = counters(path).skipped_slots - before
        path.write_text(_slower(first, devices))
        return ReloadTimes(one_s, _reload(path), missed)


def _slower(text: str, count: int) -> str:
    return text.replace(f"period_ms = {_PERIOD_MS}", f"period_ms = {2 * _PERIOD_MS}", count)


def _reload(path: Path) -> float:
    start = time.monotonic()
    answer = ask_reload(path.parent / "state", ReloadQuestion("apply"))
    assert answer.changes, answer
    assert not answer.plan.problems, answer
    return time.monotonic() - start


def _wait_for(path: Path, polls: int) -> None:
    deadline = time.monotonic() + _DEADLINE_S
    while counters(path).polls < polls:
        assert time.monotonic() < deadline, f"{polls} polls did not come"
        time.sleep(0.05)
