"""A link ends wherever it is, and what it acknowledged to its node is stored."""

from functools import partial
from pathlib import Path

import pytest

from .sweep import MOMENTS, Moment, sweep
from .worlds_link import LINKS, files, link


@pytest.mark.parametrize("kind", LINKS)
@pytest.mark.parametrize(("moment", "part"), MOMENTS)
def test_a_link_ends(folder: Path, moment: Moment, part: int, kind: str) -> None:
    sweep(partial(link, kind=kind), folder, moment, floor=20, part=part)


@pytest.mark.parametrize(("moment", "part"), MOMENTS)
def test_the_file_socket_ends(folder: Path, moment: Moment, part: int) -> None:
    sweep(files, folder, moment, floor=10, part=part)
