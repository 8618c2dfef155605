"""The file of an exporter's own state: made, brought up to date, set aside, or refused."""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from gateway_agent.uplink.hj212.config import Hj212Uplink
from gateway_agent.uplink.hj212.work import Hj212Work
from gateway_agent.uplink.state_file import open_state

from .export_world import context

FIRST = {0: ("CREATE TABLE one (n INTEGER)",)}
SECOND = {0: (*FIRST[0], "CREATE TABLE two (n INTEGER)"), 1: ("CREATE TABLE two (n INTEGER)",)}


def opened(path: Path, upgrades: Mapping[int, Sequence[str]]) -> sqlite3.Connection:
    return open_state(path, upgrades, "FULL", "the loss").connection


def tables(connection: sqlite3.Connection) -> list[str]:
    return [name for (name,) in connection.execute("SELECT name FROM sqlite_master ORDER BY name")]


def test_a_file_is_made_and_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with closing(opened(path, FIRST)) as connection:
        connection.execute("INSERT INTO one VALUES (7)")
    assert path.stat().st_mode & 0o777 == 0o600
    for _ in range(2):
        with closing(opened(path, SECOND)) as connection:
            assert tables(connection) == ["one", "two"]
            assert connection.execute("SELECT n FROM one").fetchall() == [(7,)]
    with pytest.raises(OSError, match=r"expected version 1, got 2: .* install that one again"):
        opened(path, FIRST)
    with closing(opened(path, SECOND)) as connection:
        assert tables(connection) == ["one", "two"]


def damaged(path: Path, how: str) -> bytes:
    """A file with a row in each of many pages, of which one is damaged."""
    with closing(opened(path, FIRST)) as connection:
        connection.executemany("INSERT INTO one VALUES (?)", [("x" * 3000,) for _ in range(50)])
    data = bytearray(path.read_bytes())
    if how == "no database":
        data[:] = b"no database" * 100
    elif how == "a page":
        data[5 * 4096 : 6 * 4096] = bytes(4096)
    else:
        del data[len(data) // 2 :]
    path.write_bytes(data)
    return bytes(data)


@pytest.mark.parametrize("how", ["no database", "a page", "half of it"])
def test_a_damaged_file_is_set_aside_and_a_new_one_begins(
    tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "state.db"
    data = damaged(path, how)
    connection, is_anew = open_state(path, FIRST, "FULL", "the loss")
    with closing(connection):
        assert is_anew
        assert connection.execute("SELECT n FROM one").fetchall() == []
    assert (tmp_path / "state.db.damaged").read_bytes() == data
    assert "the loss" in caplog.text
    connection, is_anew = open_state(path, FIRST, "FULL", "the loss")
    connection.close()
    assert not is_anew


def test_periods_of_a_damaged_file_are_named(tmp_path: Path) -> None:
    config = Hj212Uplink(host="h", port=1, mn="010000A8900016F000169DC0")
    (tmp_path / f"hj212-{config.label}.db").write_bytes(b"no database" * 100)
    work = Hj212Work(config, context(tmp_path), 5000)
    (gap,) = work.gaps.gaps
    assert (gap.kind, gap.cause, gap.last_ms) == ("state", "damage", 5000)
    work.store.close()
