"""The real image: tox -e image. Needs the cross compiler; fetches MicroPython's source once."""

import pytest

from boards import build as images
from boards import spec as specs

pytestmark = [
    pytest.mark.tool("arm-none-eabi-gcc", "gcc", "make"),
    pytest.mark.timeout(1200),  # compiles twice on a slow machine
]
OWN = [name for name in specs.names() if specs.load(name).has_image]


@pytest.mark.parametrize("name", OWN)
def test_image_is_in_its_budget_and_reproducible(name: str) -> None:
    built = images.verify(name)
    memory = specs.load(name).memory
    assert memory.image is not None
    assert built.flash_bytes <= memory.image


@pytest.mark.parametrize("name", OWN)
def test_second_build_comes_from_the_cache(name: str) -> None:
    first = images.build(name)
    reports: list[str] = []
    assert images.build(name, reports.append) == first
    assert reports == []
