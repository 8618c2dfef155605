"""``tianfu-gateway status --watch``: renews what it shows, outlives an agent that is away."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway_agent import cli
from gateway_agent.cli import status as command
from gateway_agent.status import Status
from gateway_agent.status_socket import StatusError
from tests.unit.gateway_agent.test_cli import a_site
from tests.unit.gateway_agent.test_status import FULL

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
