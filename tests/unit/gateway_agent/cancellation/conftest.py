"""Where the sweeps keep their files."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory: hundreds of stores are opened, and none is cut off from its medium."""
    if not MEMORY.is_dir():
        yield tmp_path
        return
    made = Path(tempfile.mkdtemp(prefix="tianfu-", dir=MEMORY))
    yield made
    shutil.rmtree(made)
