"""The file of an exporter's own state: made, brought up to date, and refused if it is newer."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway_agent.uplink.state_file import open_state

FIRST = {0: ("CREATE TABLE one (n INTEGER)",)}
SECOND = {0: (*FIRST[0], "CREATE TABLE two (n INTEGER)"), 1: ("CREATE TABLE two (n INTEGER)",)}


def tables(connection: sqlite3.Connection) -> list[str]:
    return [name for (name,) in connection.execute("SELECT name FROM sqlite_master ORDER BY name")]


def test_a_file_is_made_and_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with closing(open_state(path, FIRST, "FULL")) as connection:
        connection.execute("INSERT INTO one VALUES (7)")
    assert path.stat().st_mode & 0o777 == 0o600
    for _ in range(2):
        with closing(open_state(path, SECOND, "NORMAL")) as connection:
            assert tables(connection) == ["one", "two"]
            assert connection.execute("SELECT n FROM one").fetchall() == [(7,)]
    with pytest.raises(OSError, match=r"expected version 1, got 2: .* install that one again"):
        open_state(path, FIRST, "FULL")
    with closing(open_state(path, SECOND, "FULL")) as connection:
        assert tables(connection) == ["one", "two"]


def test_what_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(b"no database" * 100)
    with pytest.raises(OSError, match=r"state\.db: file is not a database"):
        open_state(path, FIRST, "FULL")
    assert path.read_bytes() == b"no database" * 100
