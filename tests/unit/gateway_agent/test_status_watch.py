"""``tianfu-gateway status --watch``: renews what it shows, outlives an agent that is away."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from rich.console import Console
from typer.testing import CliRunner

from gateway_agent import cli
from gateway_agent.cli import status as command
from gateway_agent.cli.output import Report
from gateway_agent.collector.status import CollectorStatus, StreamStatus
from gateway_agent.status import Status
from gateway_agent.status_socket import StatusError
from tests.unit.gateway_agent.test_cli import a_site
from tests.unit.gateway_agent.test_status import FULL, NODE

RUNNER = CliRunner()


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let the agent answer, be away, and answer; then Ctrl-C. Lists the pauses between."""
    pauses: list[float] = []

    def answers() -> Iterator[Status]:
        yield FULL
        raise StatusError("no agent answers there")

    source = answers()

    def read_status(directory: Path) -> Status:
        return next(source, FULL)

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(command, "read_status", read_status)
    monkeypatch.setattr(time, "sleep", sleep)
    return pauses


def test_watch_goes_on_while_no_agent_answers(tmp_path: Path, rounds: list[float]) -> None:
    config = a_site(tmp_path, "state")
    result = RUNNER.invoke(cli.app, ["status", "--watch", "--config", str(config)])
    assert result.exit_code == 0, result.output
    assert rounds == [command.WATCH_S] * 3
    assert FULL.gateway in result.output


def test_watch_as_json_prints_one_object_a_line(tmp_path: Path, rounds: list[float]) -> None:
    config = a_site(tmp_path, "state")
    result = RUNNER.invoke(cli.app, ["status", "--watch", "--json", "--config", str(config)])
    assert json.loads(result.output.splitlines()[0])["gateway"] == FULL.gateway
    assert result.exit_code == 1  # the second time no agent answers
    assert "no agent answers there" in result.output


def screen(report: Report) -> list[str]:
    """What a terminal of 80 columns and 24 lines shows of ``report`` while it is watched."""
    console = Console(width=80, height=24, force_terminal=True, color_system=None)
    lines = console.render_lines(replace(report, fits=True), pad=False)
    return ["".join(part.text for part in line) for line in lines]


def test_a_small_screen_shows_what_fails_and_every_line_below() -> None:
    good = msgspec.structs.replace(NODE, state="ok", problem="")
    nodes = [msgspec.structs.replace(good, name=f"good-{i}") for i in range(27)]
    for place, state in ((25, "failing"), (12, "quarantined"), (20, "failing")):
        nodes.insert(place, msgspec.structs.replace(NODE, name=f"{state}-{place}", state=state))
    status = msgspec.structs.replace(FULL, nodes=nodes, alarms=["the outbox was damaged"])
    shown = screen(command.render(status))
    assert len(shown) <= 24
    names = [line.split()[0] for line in shown if " air " in line]
    assert names[:3] == ["failing-20", "failing-25", "quarantined-12"]
    text = "\n".join(shown)
    for part in ("outbox: 10 records wait", "ALARM: the outbox", "uplink: b:1", "counters: polls"):
        assert part in text, part
    assert all("1.2 s" in line for line in shown if " air " in line)
    good_shown = sum(name.startswith("good") for name in names)
    assert f"and {27 - good_shown} more: {27 - good_shown} ok" in text


def test_a_small_screen_counts_failing_devices_that_find_no_room() -> None:
    status = msgspec.structs.replace(FULL, nodes=[NODE] * 30)
    shown = screen(command.render(status))
    found = sum("air-1" in line for line in shown)
    assert 0 < found < 30
    assert f"and {30 - found} more: {30 - found} failing" in shown
    assert "uplink: b:1 down: refused" in shown


def test_a_small_screen_shows_the_collector_s_alarms() -> None:
    streams = [StreamStatus(f"gw-{i}", i, 9) for i in range(40)]
    status = CollectorStatus(
        broker="b:1", database="c.db", running_ms=1, connected=True, problem="", streams=streams,
        messages={"stored": 40}, waiting=[], alarms=["the database went back"],
    )  # fmt: skip
    shown = screen(command.render_collector(status))
    assert len(shown) == 24
    assert shown[-3:-1] == ["broker: b:1 connected", "ALARM: the database went back"]
