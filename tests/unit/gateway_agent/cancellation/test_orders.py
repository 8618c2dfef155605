"""The desk of orders ends wherever it is cancelled, and nothing acts that is not on the medium."""

from pathlib import Path

import pytest

from .sweep import MOMENTS, Moment, sweep
from .worlds_orders import orders


@pytest.mark.parametrize(("moment", "part"), MOMENTS)
def test_the_desk_of_orders_ends(folder: Path, moment: Moment, part: int) -> None:
    sweep(orders, folder, moment, floor=5, part=part)
