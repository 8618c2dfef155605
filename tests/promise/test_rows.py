"""Every row of the table: after its faults each slot is stored once, or named, nothing else."""

from pathlib import Path

import pytest

from hil.site.mosquitto import MosquittoBroker
from tests.conftest import need_tools

from .conftest import PROPERTY
from .rows import ROWS
from .trial import Row, run

pytestmark = [pytest.mark.mosquitto, pytest.mark.timeout(900)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    is_whole = metafunc.config.option.promise == "whole"
    cases = [(row, run) for row in ROWS for run in range(row.whole if is_whole else row.short)]
    ids = [f"{row.name.replace(' ', '-')}-{run}" for row, run in cases]
    metafunc.parametrize(("row", "number"), cases, ids=ids)


async def test_row(
    broker: MosquittoBroker, tmp_path: Path, request: pytest.FixtureRequest, row: Row, number: int
) -> None:
    need_tools(row.tools)
    options = request.config.option
    violations, faults = ["it did not come to its end"], 0
    try:
        is_whole = options.promise == "whole"
        trial = await run(row, number, broker, tmp_path, options.promise_seed, is_whole)
        violations, faults = trial.violations, trial.faults
    finally:
        request.node.user_properties.append((PROPERTY, (row.name, faults, len(violations))))
    assert not violations, "\n".join(violations)
