"""The status socket is gone wherever its owner is cancelled, whatever its clients do."""

from pathlib import Path

import pytest

from .sweep import MOMENTS, Moment, sweep
from .worlds import status


@pytest.mark.parametrize(("moment", "part"), MOMENTS)
def test_the_socket_is_gone(folder: Path, moment: Moment, part: int) -> None:
    sweep(status, folder, moment, floor=5, part=part)
