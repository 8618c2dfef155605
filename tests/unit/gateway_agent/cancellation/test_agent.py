"""The gateway ends wherever it is, stopped by a signal or cancelled, while its peers die or not."""

from functools import partial
from pathlib import Path

import pytest

from .sweep import MOMENTS, Moment, sweep
from .world_agent import agent


@pytest.mark.parametrize("stopped", [True, False], ids=["stopped", "cancelled"])
@pytest.mark.parametrize(("moment", "part"), MOMENTS)
def test_the_gateway_ends(folder: Path, moment: Moment, part: int, stopped: bool) -> None:
    sweep(partial(agent, stopped=stopped), folder, moment, floor=100, part=part)


@pytest.mark.parametrize("stopped", [True, False], ids=["stopped", "cancelled"])
@pytest.mark.parametrize(("moment", "part"), MOMENTS)
def test_it_ends_with_a_full_outbox(folder: Path, moment: Moment, part: int, stopped: bool) -> None:
    world = partial(agent, stopped=stopped, is_full=True)
    sweep(world, folder, moment, floor=30, part=part)
