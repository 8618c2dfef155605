"""With a dead broker, a dead bus and a dead device the log says so once, with what to do."""

import asyncio
import logging
from collections import Counter
from pathlib import Path

import pytest

from gateway_agent.collector.config import load
from gateway_agent.collector.service import CollectorService
from gateway_agent.keys import generate_signing_key
from gateway_agent.rare_log import ChangeLog
from gateway_agent.uplink import connection
from gateway_agent.uplink.backoff import Backoff, Pause

from .reload.reload_site import ReloadSite
from .slave import until


async def test_no_line_is_repeated_while_everything_is_dead(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "AWAY", Pause(0.01, 0.02))  # attempts, quickly
    async with ReloadSite(tmp_path).serving() as site:
        site.path.write_text(site.text(("a", (1, 2)), ("b", (1,))))
        async with site.running() as agent:  # its broker is on port 1, where nothing listens
            site.units["a"].dead = {2}
            await site.slaves["b"].close()
            asked = site.units["a"].asked[1]
            attempts = agent.snapshot().counters.poll_errors["bus_down"]
            await until(lambda: agent.snapshot().nodes[1].state == "quarantined")
            await until(lambda: site.units["a"].asked[1] > asked + 100)
            await until(lambda: agent.snapshot().counters.poll_errors["bus_down"] > attempts + 3)
        lines = Counter(
            item.getMessage() for item in caplog.records if item.levelno >= logging.INFO
        )
    assert [line for line, count in lines.items() if count > 1] == []
    text = "\n".join(lines)
    assert "Connection refused; nothing listens there: is the broker running" in text
    assert "a2 (unit 2): quarantined" in text
    assert "bus b: 127.0.0.1" in text


async def test_a_collector_names_a_dead_broker_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[Pause] = []

    async def wait(_backoff: Backoff, pause: Pause) -> None:
        pauses.append(pause)
        await asyncio.sleep(0)

    monkeypatch.setattr(Backoff, "wait", wait)
    generate_signing_key(tmp_path / "collector.pem")
    generate_signing_key(tmp_path / "gateway.pem")
    (tmp_path / "collector.toml").write_text(
        '[collector]\nkey = "collector.pem"\ndatabase = "collector.db"\n'
        '[broker]\nhost = "127.0.0.1"\nport = 1\n'
        '[[gateway]]\nid = "site-12"\nkeys = ["gateway.pem.pub"]\n'
    )
    running = asyncio.create_task(CollectorService(load(tmp_path / "collector.toml")).run())
    await until(lambda: len(pauses) > 5 or running.done())
    running.cancel()
    await asyncio.wait({running})
    lines = [item.getMessage() for item in caplog.records if item.levelno >= logging.WARNING]
    assert [line for line in lines if "broker 127.0.0.1:1: " in line] == lines
    assert len(lines) == 1


def test_a_change_is_logged_and_its_return_too_but_not_within_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = [0.0]
    log = ChangeLog(logging.getLogger("test"), lambda: now[0])
    for second, text in enumerate(["down 1", "down 2", "up", "down 3", "up", "gone"]):
        now[0] = second
        log.warning(text)
    assert [item.getMessage() for item in caplog.records] == ["down 1", "up", "gone"]
    now[0] = 70
    log.warning("down 9")
    log.warning("up")
    assert [item.getMessage() for item in caplog.records][3:] == ["down 9", "up"]
    for number in range(1000):
        log.warning("x" * number)
    assert len(log._at) <= 16
