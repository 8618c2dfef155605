"""The collector ends wherever it is, as a service and as a command."""

from functools import partial
from pathlib import Path

import pytest

from .sweep import MOMENTS, Moment, sweep
from .worlds import collector


@pytest.mark.parametrize("form", ["service", "command", "stopped"])
@pytest.mark.parametrize(("moment", "part"), MOMENTS)
def test_the_collector_ends(folder: Path, moment: Moment, part: int, form: str) -> None:
    sweep(partial(collector, form=form), folder, moment, floor=30, part=part)
