"""Log which signed records stand behind each message to a platform, for ``tianfu-gateway trace``.

It is a file of its own, ``traces.db`` beside the outbox: an exporter writes it before its cursor
moves, and a command reads it while the agent runs. It is bounded, and nothing but questions depend
on it: one that cannot be read is set aside and begun anew.
"""

import logging
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from protocols.export_record import SentMessage

from .state_file import set_aside

log = logging.getLogger(__name__)

FILE: Final = "traces.db"
MAX_ROWS: Final = 200_000  # messages of all exporters; about 30 MB
_TRIM_EVERY: Final = 1000  # rows between two looks at the number
_VERSION: Final = 1
_SCHEMA: Final = (
    """CREATE TABLE message (id INTEGER PRIMARY KEY, exporter TEXT NOT NULL, kind TEXT NOT NULL,
    message TEXT NOT NULL, stream INTEGER NOT NULL, first INTEGER NOT NULL,
    last INTEGER NOT NULL, seqs TEXT NOT NULL, ack TEXT NOT NULL, text TEXT NOT NULL,
    wall_ms INTEGER)""",
    "CREATE INDEX by_message ON message (message)",
    "CREATE INDEX by_seq ON message (last, first)",
    f"PRAGMA user_version = {_VERSION}",
)
_COLUMNS: Final = "exporter, kind, message, stream, seqs, ack, text, wall_ms"


class TracedMessage(NamedTuple):
    """One message to a platform, with the records of ``stream`` that it was made from."""

    exporter: str
    kind: str
    message: str
    stream: int
    seqs: str  # ranges: "4-6,9"
    ack: str
    text: str
    wall_ms: int | None  # when it was logged


class TraceLog:
    """Write with :meth:`add` from any thread; every call is one commit."""

    def __init__(self, directory: Path, max_rows: int = MAX_ROWS) -> None:
        self._path = directory / FILE
        self._max_rows = max_rows
        self._lock = threading.Lock()
        self._since_trim = _TRIM_EVERY
        self._connection = self._open()

    def _open(self) -> sqlite3.Connection | None:
        for attempt in range(2):
            try:
                return _opened(self._path)
            except sqlite3.DatabaseError as error:
                log.warning("%s cannot be used (%s): it is set aside", self._path, error)
                if attempt == 0:
                    set_aside(self._path)
            except OSError as error:
                log.warning("%s: %s", self._path, error)
        return None

    def add(
        self,
        exporter: str,
        kind: str,
        stream: int,
        sent: Sequence[SentMessage],
        wall_ms: int | None,
    ) -> None:
        """Log messages; if they cannot be written, for want of room for instance, warn."""
        rows = [
            (exporter, kind, one.message[:200], stream, min(one.seqs), max(one.seqs),
             ranges(one.seqs), one.ack[:200], one.text[:200], wall_ms)
            for one in sent
            if one.seqs
        ]  # fmt: skip
        with self._lock:
            if self._connection is None or not rows:
                return
            try:
                with self._connection:
                    self._connection.executemany(
                        "INSERT INTO message (exporter, kind, message, stream, first, last, seqs,"
                        " ack, text, wall_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                        rows,
                    )
                    self._trim(self._connection, len(rows))
            except sqlite3.Error as error:
                log.warning("%s: %d messages are not traced: %s", self._path, len(rows), error)

    def _trim(self, connection: sqlite3.Connection, added: int) -> None:
        self._since_trim += added
        if self._since_trim >= min(_TRIM_EVERY, self._max_rows):
            self._since_trim = 0
            connection.execute(
                "DELETE FROM message WHERE id <= (SELECT max(id) FROM message) - ?",
                (self._max_rows,),
            )

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


def _opened(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL").fetchone()
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA journal_size_limit = 4194304").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            with connection:
                for statement in _SCHEMA:
                    connection.execute(statement)
        elif version != _VERSION:
            raise sqlite3.DatabaseError(f"expected version {_VERSION}, got {version}")
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def _reading(directory: Path) -> Iterator[sqlite3.Connection]:
    path = directory / FILE
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        yield connection


def find_message(directory: Path, kind: str, message: str, limit: int) -> list[TracedMessage]:
    """Read the messages with this id of an exporter (or of a kind of them), the newest first."""
    with _reading(directory) as connection:
        rows = connection.execute(
            f"SELECT {_COLUMNS} FROM message WHERE message = ? AND ? IN (kind, exporter)"  # noqa: S608 # constant
            " ORDER BY id DESC LIMIT ?",
            (message, kind, limit),
        ).fetchall()
    return [TracedMessage(*row) for row in rows]


def find_seq(directory: Path, seq: int, stream: int | None, limit: int) -> list[TracedMessage]:
    """Read the messages made from record ``seq``, of any stream if ``stream`` is None."""
    with _reading(directory) as connection:
        rows = connection.execute(
            f"SELECT {_COLUMNS} FROM message WHERE last >= ?1 AND first <= ?1"  # noqa: S608 # constant
            " AND (?2 IS NULL OR stream = ?2) ORDER BY id DESC",
            (seq, stream),
        )
        found = (TracedMessage(*row) for row in rows)
        kept = (one for one in found if _holds(one.seqs, seq))
        return [one for one, _ in zip(kept, range(limit), strict=False)]


def ranges(seqs: Sequence[int]) -> str:
    """Return numbers as ranges: ``4-6,9``."""
    found: list[list[int]] = []
    for seq in sorted(set(seqs)):
        if found and found[-1][1] == seq - 1:
            found[-1][1] = seq
        else:
            found.append([seq, seq])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in found)


def _holds(text: str, seq: int) -> bool:
    for part in text.split(","):
        first, _, last = part.partition("-")
        if int(first) <= seq <= int(last or first):
            return True
    return False
