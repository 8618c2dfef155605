"""Opens the SQLite file in which an exporter keeps state of its own, and brings it up to date."""

import os
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal


def open_state(
    path: Path, upgrades: Mapping[int, Sequence[str]], synchronous: Literal["FULL", "NORMAL"]
) -> sqlite3.Connection:
    """Open or make a file of mode 0600, in autocommit, for one thread at a time.

    ``upgrades``: by the version that a file has (0: it is new), the statements that make it one of
    the newest version, which is the highest one there and 1. OSError: it cannot be opened.
    """
    newest = max(upgrades) + 1
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    try:
        connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version in upgrades:
                connection.execute("BEGIN IMMEDIATE")
                for statement in (*upgrades[version], f"PRAGMA user_version = {newest}"):
                    connection.execute(statement)
                connection.execute("COMMIT")
            elif version != newest:
                raise OSError(
                    f"{path}: expected version {newest}, got {version}: a newer program has"
                    " written it; install that one again"
                )
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise OSError(f"{path}: {error}") from error
    return connection
