"""A short run of each fuzz target; ``python -m tests.fuzz NAME 600`` runs one long."""

import pytest

from tests.fuzz.corpus import corpus_of, damaged
from tests.fuzz.targets import TARGETS

OTHERS = ("link", "hj212")  # run beside their own tests
NAMES = [name for name in TARGETS if name not in OTHERS]


@pytest.mark.parametrize("name", NAMES)
def test_the_corpus_and_what_becomes_of_it_when_damaged(name: str) -> None:
    given = corpus_of(name)
    assert len(given) >= 2
    for data in given:
        TARGETS[name](data)
    for seed in range(100):
        TARGETS[name](damaged(given, seed))


@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", NAMES)
def test_much_damage(name: str) -> None:
    for seed in range(100, 20_000):
        TARGETS[name](damaged(corpus_of(name), seed))
