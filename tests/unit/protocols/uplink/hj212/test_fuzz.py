"""A short run of the fuzz target; ``python -m tests.fuzz hj212 600`` runs long."""

import pytest

from .fuzz import damaged, one_input


def test_damaged_frames() -> None:
    for seed in range(250):
        one_input(damaged(seed))


@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
def test_many_damaged_frames() -> None:
    for seed in range(250, 200_000):
        one_input(damaged(seed))
