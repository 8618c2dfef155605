"""The oracle finds a product that was broken on purpose: in one way, or whole in each."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from hil.site.mosquitto import MosquittoBroker

from .breaks import BREAKS
from .trial import Row, run

pytestmark = [pytest.mark.mosquitto, pytest.mark.tool("strace"), pytest.mark.timeout(900)]

_SHORT = "marks"  # what the short form drops
_TRIES = 3  # a fault at a random moment may miss what was dropped


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    option = metafunc.config.option
    named = option.broken or (BREAKS if option.promise == "whole" else [_SHORT])
    metafunc.parametrize("name", named, ids=[name.replace(" ", "-") for name in named])


def is_stalled(error: AssertionError, root: Path) -> bool:
    """Whether a product that had delivered readings before the faults delivers none behind them."""
    if "more values of each unit are stored" not in str(error):
        return False
    database = (root / "collector.db").absolute().as_uri()
    with closing(sqlite3.connect(f"{database}?mode=ro", uri=True, timeout=10)) as connection:
        (readings,) = connection.execute("SELECT count(*) FROM readings").fetchone()
    return bool(readings)


async def test_what_is_dropped_is_missed(
    mosquitto_path: Path, tmp_path: Path, request: pytest.FixtureRequest, name: str
) -> None:
    broken = BREAKS[name]
    row = Row(name, broken.what, broken.faults, alarms=True, forgets=broken.forgets)
    seed = request.config.option.promise_seed
    for number in range(_TRIES):
        root = tmp_path / str(number)
        root.mkdir()
        with MosquittoBroker(mosquitto_path, root / "broker") as broker:
            try:
                trial = await run(row, number, broker, root, seed, False, broken)
                found = trial.violations
            except AssertionError as error:
                if not is_stalled(error, root):
                    raise
                found = [str(error)]  # what was delivered before is delivered no more
        if found:
            print(*found, sep="\n")  # noqa: T201 # for whoever wants to see it
            return
    pytest.fail(f"nothing was missed without {broken.what}, seed {seed}")
