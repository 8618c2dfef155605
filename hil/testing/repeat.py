"""How one test is repeated alike: its engine, its seed, and the command that runs it again."""

from __future__ import annotations

import shlex
from hashlib import sha256

import pytest

from hil.testing.session import FULL_POLLS, FULL_SOAK_S, SESSION


def engine_of(item: pytest.Item) -> str | None:
    """Return the engine an item runs on, None for one that uses none."""
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("engine_name") if callspec is not None else None


def seed_of(item: pytest.Item) -> int:
    """Return the session's seed, one higher for every repetition of the test."""
    callspec = getattr(item, "callspec", None)
    number = callspec.params.get("_repetition", 0) if callspec is not None else 0
    return item.config.stash[SESSION].seed + int(number)


def derived_seed(seed: int, test_id: str) -> int:
    """Return the seed of one test: different for each, the same whatever ran before it."""
    return int.from_bytes(sha256(f"{seed} {test_id}".encode()).digest()[:4], "big")


def full_id(item: pytest.Item) -> str:
    """Return the id of a test; pytest leaves the file out if it is outside its root directory."""
    return f"{item.path}{item.nodeid}" if item.nodeid.startswith("::") else item.nodeid


def plain_id(item: pytest.Item) -> str:
    """Return the id of a test without the number of its repetition."""
    callspec = getattr(item, "callspec", None)
    if callspec is None or "_repetition" not in callspec.params:
        return full_id(item)
    head, _, parameters = full_id(item).rpartition("[")
    kept = [p for p in parameters.rstrip("]").split("-") if not _is_run(p)]
    return f"{head}[{'-'.join(kept)}]"


def _is_run(parameter: str) -> bool:
    return parameter.startswith("run") and parameter[3:].isdecimal()


def repeat_command(item: pytest.Item) -> str:
    """Return the one command that runs this test again, alike."""
    session = item.config.stash[SESSION]
    words = ["python", "-m", "pytest", "-p", "hil.plugin", plain_id(item)]
    name = engine_of(item)
    if name:
        words += ["--engine", name]
    if session.board:
        words += ["--board", session.board]
    if session.image:
        words += ["--image", str(session.image)]
    words += ["--seed", str(seed_of(item))]
    if session.soak_s != FULL_SOAK_S:
        words += ["--hil-soak", f"{session.soak_s:g}"]
    if session.polls != FULL_POLLS:
        words += ["--hil-polls", str(session.polls)]
    return shlex.join(words)
