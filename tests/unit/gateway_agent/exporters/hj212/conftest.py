"""A platform that the tests of the exporter send to."""

from collections.abc import AsyncIterator

import pytest

from hil.platform.hj212_platform import Hj212Platform


@pytest.fixture
async def platform() -> AsyncIterator[Hj212Platform]:
    played = Hj212Platform()
    await played.start()
    yield played
    await played.stop()
