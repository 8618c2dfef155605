"""An agent that can open no file for a while goes on by itself, and names what it did not poll."""

import resource
import signal
from pathlib import Path
from typing import Final

import pytest

from hil.site.mosquitto import MosquittoBroker

from .oracle import check
from .site import passed, site_of

pytestmark = [pytest.mark.mosquitto, pytest.mark.timeout(180)]

PERIOD_MS: Final = 200
ENOUGH: Final = 33  # the least that `run` starts with, with one bus


async def test_an_agent_that_can_open_nothing_more_goes_on_by_itself(
    broker: MosquittoBroker, tmp_path: Path
) -> None:
    """The device's connection is closed after each poll, so each poll needs a descriptor."""
    async with site_of(broker, tmp_path) as site:
        site.configure([PERIOD_MS])
        text = site.gateway_toml.read_text()
        text = text.replace("timeout_ms", 'close_after = "poll"\ntimeout_ms')
        site.gateway_toml.write_text(text)
        await site.collector.start()
        await site.gateway.start("prlimit", f"--nofile={ENOUGH}")
        await site.stores()
        pid = site.gateway.pid
        for _ in range(2):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, ENOUGH))
            await passed(5 * PERIOD_MS)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (ENOUGH, ENOUGH))
            await site.stores()
        assert site.gateway.pid == pid
        found = site.unaccounted()
        assert found is not None
        assert found.unaccounted == 0
        site.gateway.send(signal.SIGTERM)
        assert await site.gateway.ended() == 0
        account = check(site, 1, PERIOD_MS)
        assert account.missed() >= 6, account.gaps
