"""The uplink ends wherever it is: connecting, subscribing, publishing, waiting, backing off."""

from functools import partial
from pathlib import Path

import pytest

from .sweep import FEWER_MOMENTS, MOMENTS, Moment, sweep
from .worlds import uplink


@pytest.mark.parametrize(("moment", "part"), MOMENTS)
def test_the_uplink_ends(folder: Path, moment: Moment, part: int) -> None:
    sweep(uplink, folder, moment, floor=40, part=part)


@pytest.mark.parametrize(("moment", "part"), FEWER_MOMENTS)
def test_the_uplink_that_announces_ends(folder: Path, moment: Moment, part: int) -> None:
    sweep(partial(uplink, announces=True), folder, moment, floor=45, part=part)
