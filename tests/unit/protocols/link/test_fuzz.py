"""A short run of the fuzz target; ``python -m tests.fuzz link 600`` runs long."""

import pytest

from .fuzz import noise, one_input


def test_noise_of_every_kind() -> None:
    for seed in range(150):
        one_input(noise(seed))


@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
def test_much_noise() -> None:
    for seed in range(150, 100_000):
        one_input(noise(seed))
