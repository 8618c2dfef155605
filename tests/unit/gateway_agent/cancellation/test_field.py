"""The field side ends wherever it is: pollers of each kind of bus, commits, store, discovery."""

from functools import partial
from pathlib import Path

import pytest

from .sweep import MOMENTS, Moment, sweep
from .worlds_field import BUSES, discovery, field, store, trial


@pytest.mark.parametrize("kind", BUSES)
@pytest.mark.parametrize(("moment", "part"), MOMENTS)
def test_the_pollers_end(folder: Path, moment: Moment, part: int, kind: str) -> None:
    sweep(partial(field, kind=kind), folder, moment, floor=40, part=part)


@pytest.mark.parametrize("kind", ["tcp", "rtu"])
@pytest.mark.parametrize(("moment", "part"), MOMENTS)
def test_discovery_ends(folder: Path, moment: Moment, part: int, kind: str) -> None:
    sweep(partial(discovery, kind=kind), folder, moment, floor=10, part=part)


@pytest.mark.parametrize(("moment", "part"), MOMENTS)
def test_the_store_is_closed(folder: Path, moment: Moment, part: int) -> None:
    sweep(store, folder, moment, floor=10, part=part)


@pytest.mark.parametrize(("moment", "part"), MOMENTS)
def test_the_trial_of_a_profile_ends(folder: Path, moment: Moment, part: int) -> None:
    sweep(trial, folder, moment, floor=4, part=part)
