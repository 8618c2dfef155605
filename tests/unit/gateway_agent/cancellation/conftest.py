"""Where the sweeps keep their files, and the timer of serial lines in their time."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway_agent.field import line_silence

from .peers import VirtualTimer

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


@pytest.fixture(autouse=True)
def virtual_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have serial lines wait in the loop's time: a timer of the kernel knows no other than real."""
    monkeypatch.setattr(line_silence, "FineTimer", VirtualTimer)
