"""An older release refuses the outbox of a newer one, and leaves every byte of it as it is."""

import asyncio
import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway_agent.agent import GatewayAgent
from gateway_agent.clock import SystemClock
from gateway_agent.config import load
from gateway_agent.counters import Counters
from gateway_agent.process import end_of
from gateway_agent.store.errors import StoreNewer

from .store_help import contents, open_box, records
from .test_agent import write_site


def newer(state: Path, check: str | None = None) -> None:
    """Make an outbox with 20 records into that of a release with schema 2."""
    box = open_box(state)
    box.append(records(1, 20), {})
    box.close()
    head = state / "outbox.head"
    body = "2 " + head.read_text().rpartition(" ")[0]
    seal = hashlib.sha256(body.encode()).hexdigest()[:16] if check is None else check
    head.write_text(f"{body} {seal}\n")
    with closing(sqlite3.connect(state / "outbox.db")) as database:
        database.execute("PRAGMA user_version = 2")


def files(state: Path) -> dict[str, bytes]:
    """Return every file below a directory, with its content."""
    return {
        str(path.relative_to(state)): path.read_bytes()
        for path in state.rglob("*")
        if path.is_file() and path.stat().st_size
    }


def test_the_agent_ends_with_the_remedy_and_touches_nothing(tmp_path: Path) -> None:
    config = load(write_site(tmp_path, 502))
    newer(config.gateway.state_dir)
    before = files(config.gateway.state_dir)
    with pytest.raises(StoreNewer, match="got 2: a newer release wrote it") as raised:
        asyncio.run(GatewayAgent(config, SystemClock(), Counters()).run())
    assert files(config.gateway.state_dir) == before
    end = end_of(raised.value)
    assert end is not None
    assert end[1] == 2, "a service manager does not start it again and again"
    assert "install that release again" in end[0]


def test_a_head_file_that_does_not_prove_itself_refuses_nothing(tmp_path: Path) -> None:
    """A flipped bit is damage, which the agent repairs by itself."""
    newer(tmp_path, check="0" * 16)
    box = open_box(tmp_path)
    assert box.context.counters.store_damaged
    assert contents(box)
    box.close()
