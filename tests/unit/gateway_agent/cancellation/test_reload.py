"""What is changed at run time ends wherever it is, and what is not changed misses no poll."""

from functools import partial
from pathlib import Path

import pytest

from .sweep import MOMENTS, Moment, run_once, sweep
from .worlds_notices import changing_receivers
from .worlds_reload import PERIOD_MS, ChangingField, changing

NEVER = 1 << 30  # no run has so many suspensions


@pytest.mark.exhaustive
@pytest.mark.parametrize(("moment", "part"), MOMENTS)
def test_a_field_that_changes_ends(folder: Path, moment: Moment, part: int) -> None:
    sweep(changing, folder, moment, floor=100, part=part)


def test_it_ends_at_some_of_its_suspensions(folder: Path) -> None:
    sweep(changing, folder, Moment(with_answer=True), floor=100, part=13)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("moment", "part"), MOMENTS)
def test_receivers_that_change_end(folder: Path, moment: Moment, part: int) -> None:
    sweep(changing_receivers, folder, moment, floor=50, part=part)


def test_they_end_at_some_of_their_suspensions(folder: Path) -> None:
    sweep(changing_receivers, folder, Moment(), floor=50, part=5)


def test_a_bus_that_is_the_same_misses_no_poll(folder: Path) -> None:
    """In virtual time, counted at the device: as many requests as periods have passed."""
    worlds: list[ChangingField] = []
    assert not run_once(partial(changing, worlds=worlds), folder, Moment(at=NEVER))
    (world,) = worlds
    assert world.changes == 4
    answered, missed = world.steady_slots()
    assert (world.steady.served, missed) == (answered, 0)
    assert answered * PERIOD_MS >= 5000
