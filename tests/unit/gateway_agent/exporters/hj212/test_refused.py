"""A platform that refuses what it is sent: nothing counts as delivered, and the status says why."""

from pathlib import Path

import pytest

from gateway_agent.uplink.hj212 import session
from gateway_agent.uplink.trace_log import find_seq
from hil.platform.hj212_platform import Hj212Faults, Hj212Platform
from tests.unit.gateway_agent.exporters.export_world import until

from .exporter_world import MovingClock, config, cps, fast_profile, put, running


@pytest.mark.parametrize(
    ("refuse", "reason"), [("QnRtn=3", "PW is wrong"), ("ExeRtn=2", "failed, reason unknown")]
)
async def test_a_refused_period_stays_and_the_reason_is_shown(
    tmp_path: Path, platform: Hj212Platform, refuse: str, reason: str
) -> None:
    clock = MovingClock()
    uplink = config(platform, profile=str(fast_profile(tmp_path)))
    platform.faults = Hj212Faults(refuse=refuse)
    async with running(tmp_path, uplink, clock) as (outbox, tasks):
        feed = tasks.tasks[0].feed
        await put(outbox, clock, 40, 160)
        await until(lambda: refuse in feed.status.problem)
        assert reason in feed.status.problem
        assert feed.delivered_to == 0
        assert not find_seq(tmp_path, 1, None, 9)
        platform.faults = Hj212Faults()
        await until(lambda: len(cps(platform, "2051")) == 2)
        await until(lambda: not feed.behind)
    assert set(platform.periods("2051").values()) == {1}


async def test_a_kind_that_the_platform_does_not_take_keeps_no_other_back(
    tmp_path: Path, platform: Hj212Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_REFUSED_MS", 1000)
    clock = MovingClock()
    uplink = config(platform, profile=str(fast_profile(tmp_path)))
    platform.faults = Hj212Faults(refuse="QnRtn=8", refuse_only="2061")
    async with running(tmp_path, uplink, clock) as (outbox, tasks):
        feed = tasks.tasks[0].feed
        await put(outbox, clock, 0, 2 * 7200)
        await until(lambda: len(platform.periods("2051")) >= 100)
        assert feed.status.connected
        assert platform.periods("2061") == {}
        assert feed.delivered_to < outbox.stats.last
        # It is offered again later, and nothing of it was lost meanwhile.
        platform.faults = Hj212Faults()
        await until(lambda: len(platform.periods("2061")) >= 2)
    assert set(platform.periods("2061").values()) == {1}
    assert set(platform.periods("2051").values()) == {1}
