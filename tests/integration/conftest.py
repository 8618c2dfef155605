"""What several integration tests of the gateway share: a broker of their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hil.site.mosquitto import MosquittoBroker


@pytest.fixture
def broker(mosquitto_path: Path, tmp_path: Path) -> Iterator[MosquittoBroker]:
    """A mosquitto on a port of its own, with an empty memory."""
    with MosquittoBroker(mosquitto_path, tmp_path / "broker") as running:
        yield running
