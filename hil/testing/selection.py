"""Which tests run, on which engine, and which of them are skipped or expected to fail."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

import pytest

from hil.engines.abilities import Capability
from hil.engines.fidelity import known_defect
from hil.engines.registry import KINDS
from hil.errors import FidelityError
from hil.testing.repeat import engine_of, full_id, repeat_command, seed_of
from hil.testing.session import SESSION

#: A board with a clock of its own may run at a fraction of the host's speed, and its emulator needs
#: seconds to come up: its tests have so many times the limit that is set for the others.
SLOW_CLOCK: Final = 4


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that uses an engine once on each, and once for each seed."""
    if "engine_name" not in metafunc.fixturenames:
        return
    session = metafunc.config.stash[SESSION]
    names: list[object] = list(session.engines)
    if not names:
        why = "; ".join(f"{name}: {reason}" for name, reason in session.absent.items())
        names = [pytest.param("none", marks=pytest.mark.skip(reason=f"no engine: {why}"))]
    metafunc.parametrize("engine_name", names, indirect=True, scope="session")
    repeat = metafunc.config.getoption("--hil-repeat")
    if repeat > 1:
        ids = [f"run{number}" for number in range(1, repeat + 1)]
        metafunc.fixturenames.append("_repetition")
        metafunc.parametrize("_repetition", range(repeat), ids=ids, indirect=True)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what an engine cannot do; expect known defects of its model to fail."""
    for item in items:
        name = engine_of(item)
        if name is None or name not in KINDS:
            continue
        item.user_properties += [
            ("id", full_id(item)),
            ("engine", name),
            ("seed", seed_of(item)),
            ("repeat", repeat_command(item)),
        ]
        kind = KINDS[name]
        if Capability.VIRTUAL_TIME in kind.capabilities and (limit_s := time_limit_s(item)):
            item.add_marker(pytest.mark.timeout(SLOW_CLOCK * limit_s), append=False)
        for needed in _arguments(item, "needs", Capability):
            if Capability(needed) not in kind.capabilities:
                why = kind.lacks.get(Capability(needed), "it is not installed")
                reason = f"engine {name} has no {needed}: {why}"
                item.add_marker(pytest.mark.skip(reason=reason))
                break
        for entry in _arguments(item, "fidelity", str):
            try:
                defect = known_defect(entry)
            except FidelityError as error:
                raise pytest.UsageError(f"{item.nodeid}: {error}") from error
            if defect.engine == name:
                item.add_marker(
                    pytest.mark.xfail(reason=f"{entry}: {defect.difference}", strict=True)
                )
                break
    items.sort(key=lambda item: item.get_closest_marker("soak") is None)


def time_limit_s(item: pytest.Item) -> float:
    """Return how long a test may take, by its marker or the configuration; 0: without a limit."""
    marker = item.get_closest_marker("timeout")
    limit = marker.args[0] if marker is not None and marker.args else item.config.getini("timeout")
    return float(limit or 0)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Build the image before the first test: a compiler has no test's time limit."""
    if session.config.option.collectonly:
        return
    for name in {engine_of(item) for item in session.items if "image" in fixtures_of(item)}:
        if name is not None and name in KINDS:
            # A failure is remembered, and each test that needs the image shows it.
            with suppress(Exception):
                session.config.stash[SESSION].image_for(KINDS[name], "the run's beginning")


def fixtures_of(item: pytest.Item) -> Sequence[str]:
    """Return the fixtures that an item asks for, directly or not."""
    return getattr(item, "fixturenames", ())


def _arguments(item: pytest.Item, marker: str, kind: type[str]) -> Iterator[str]:
    for mark in item.iter_markers(marker):
        for argument in mark.args:
            if not isinstance(argument, kind):
                raise pytest.UsageError(
                    f"{item.nodeid}: @pytest.mark.{marker} expects {kind.__name__}, "
                    f"got {argument!r}"
                )
            yield argument
