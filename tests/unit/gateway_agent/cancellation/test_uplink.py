"""The uplink ends wherever it is: connecting, subscribing, publishing, waiting, backing off."""

from pathlib import Path

import pytest

from .sweep import MOMENTS, Moment, sweep
from .worlds import uplink


@pytest.mark.parametrize(("moment", "part"), MOMENTS)
def test_the_uplink_ends(folder: Path, moment: Moment, part: int) -> None:
    sweep(uplink, folder, moment, floor=40, part=part)
