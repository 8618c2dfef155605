"""A start while somebody looks into the outbox with sqlite3: the agent waits and names it."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from gateway_agent import outbox_start

from .slave import TcpSlave, until
from .test_agent import answer, make, stopped, write_site


@pytest.mark.parametrize("begin", ["BEGIN", "BEGIN IMMEDIATE"], ids=["reader", "writer"])
async def test_the_agent_waits_for_a_locked_outbox(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    begin: str,
) -> None:
    monkeypatch.setattr(outbox_start, "FULL_RETRY_S", 0.05)
    slave = await TcpSlave(answer).start()
    path = write_site(tmp_path, slave.port)
    first, counters = make(path)
    task = asyncio.create_task(first.run())
    await until(lambda: counters.records_recorded > 5)
    await stopped(first, task)

    database = tmp_path / "state" / "outbox.db"
    reader = sqlite3.connect(database, isolation_level=None)
    reader.execute(begin)
    held = reader.execute("SELECT count(*) FROM groups").fetchone()
    assert held[0] > 0
    caplog.clear()
    agent, counters = make(path)
    task = asyncio.create_task(agent.run())
    try:
        await until(lambda: agent.snapshot().waiting_for or task.done())
        waits = agent.snapshot().waiting_for
        assert str(database) in waits
        assert "close that" in waits
        loop = asyncio.get_running_loop()
        later = loop.time() + 0.3
        await until(lambda: loop.time() > later)
        assert not task.done()
        told = [item for item in caplog.records if "cannot be opened" in item.getMessage()]
        assert len(told) == 1, "once, not at every attempt"
        reader.close()
        await until(lambda: counters.records_recorded > 5 or task.done())
        assert not agent.snapshot().waiting_for
    finally:
        reader.close()
        await stopped(agent, task)
        await slave.close()
    assert counters.store_damaged == 0
    assert counters.streams_opened == 0
