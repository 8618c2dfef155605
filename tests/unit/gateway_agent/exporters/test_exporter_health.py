"""A platform that is down makes the gateway red only if records are kept for it."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway_agent import progress
from gateway_agent.progress import Delivery, Flow, ProgressWatch, StoreFlow
from tests.unit.gateway_agent.slave import TcpSlave
from tests.unit.gateway_agent.store_help import StillClock
from tests.unit.gateway_agent.test_agent import answer, make, stopped, write_site
from tests.unit.gateway_agent.web.help import add_web, fetch

from .export_world import until

COLLECTOR = Delivery("broker:1883", True, "", 7, 0, 1000)
DOWN = Delivery("city", False, "nobody listens", 0, 7, 1000)


def looked(deliveries: Sequence[Delivery], seconds: int) -> ProgressWatch:
    """Look at these uplinks for so long."""
    clock = StillClock()
    watch = ProgressWatch(clock, lambda: Flow("", [], [], StoreFlow(False, 7, ""), deliveries))
    for _ in range(seconds):
        watch.look()
        clock.now += 1000
    return watch


@pytest.mark.parametrize("behind", [DOWN, DOWN._replace(connected=True, problem="refused")])
def test_only_a_required_platform_is_a_problem(behind: Delivery) -> None:
    required = looked([COLLECTOR, behind], 60)
    assert [problem.what for problem in required.problems] == ["city"]
    assert required.warnings == []
    spare = looked([COLLECTOR, behind._replace(is_required=False)], 60)
    assert spare.problems == []
    assert [(one.stage, one.what) for one in spare.warnings] == [("receipts", "city")]
    assert spare.is_ready
    assert spare.summary() == "data flows"


def test_a_start_does_not_wait_for_what_nothing_waits_for() -> None:
    assert not looked([COLLECTOR, DOWN], 1).is_ready
    assert looked([COLLECTOR, DOWN._replace(is_required=False)], 1).is_ready


async def test_the_checks_and_the_metrics_name_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LOOK_S", 0.02)
    monkeypatch.setattr(progress, "LIMIT_MS", 50)
    slave = await TcpSlave(answer).start()
    path = add_web(write_site(tmp_path, slave.port))
    tables = "".join(
        f'[[uplink]]\nname = "{name}"\ntype = "influxdb"\nurl = "http://127.0.0.1:1/write?db=x"\n'
        f"required = {required}\n"
        for name, required in (("spare", "false"), ("city", "true"))
    )
    text = path.read_text().replace("[uplink]", f"{tables}[[uplink]]")
    path.write_text(text)
    agent, _ = make(path)
    task = asyncio.create_task(agent.run())
    try:
        await until(lambda: agent.progress.warnings)
        await until(lambda: len(agent.progress.problems) >= 2)
        found = (await fetch(agent.web_port, "/healthz")).json()
        metrics = (await fetch(agent.web_port, "/metrics")).body.decode()
        assert agent.snapshot().warnings == agent.progress.warnings
    finally:
        await stopped(agent, task)
        await slave.close()
    assert [warning["what"] for warning in found["warnings"]] == ["spare"]
    assert {problem["what"] for problem in found["problems"]} == {"127.0.0.1:1", "city"}
    assert "\ntianfu_health_warnings 1.0\n" in metrics
