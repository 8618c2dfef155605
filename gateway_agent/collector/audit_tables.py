"""Check what no batch of a collector's database proves by itself: the file, strays, seals."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

from gateway_agent.store import head_file
from gateway_agent.store.errors import StoreDamaged
from protocols.text_of_others import printable

from .batch_log import head_path, problem_of, read_head
from .rows import Row, seal
from .schema import APPLICATION_ID, SCHEMA, SCHEMA_VERSION

MAX_TEXT: Final = 200  # characters of a value in a finding


class AuditFinding(NamedTuple):
    """One thing that is not as it was received; ``where`` names the row for people."""

    table: str
    where: str
    message: str

    def __str__(self) -> str:
        return printable(f"{self.table}: {self.where}: {self.message}")  # rows may hold anything


def structure(connection: sqlite3.Connection) -> Iterator[AuditFinding]:
    """Check the file as SQLite does, and that it has our tables."""
    for (line,) in connection.execute("PRAGMA integrity_check(100)"):
        if line != "ok":
            yield AuditFinding("database", "integrity_check", str(line)[:MAX_TEXT])
    with closing(sqlite3.connect(":memory:")) as fresh:
        fresh.executescript(SCHEMA)
        expected, found = _shape(fresh), _shape(connection)
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            message = f"expected {expected.get(name)}, got {found.get(name)}"
            yield AuditFinding("database", f"structure of {name}", message[:MAX_TEXT])
    rows = connection.execute("SELECT id FROM database").fetchall()
    if len(rows) != 1:
        yield AuditFinding("database", "id", f"expected one row, got {len(rows)}")


def strays(connection: sqlite3.Connection, table: str, accounted: int) -> Iterator[AuditFinding]:
    """Compare the number of rows with ``accounted``, those of the batches."""
    (total,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608 # ours
    if total == accounted:
        return
    sql = (
        f"SELECT stream_id, seq FROM {table} AS stray WHERE NOT EXISTS (SELECT 1 FROM batches"  # noqa: S608 # a name of ours
        " WHERE batches.stream_id = stray.stream_id AND seq BETWEEN first AND last) LIMIT 10"
    )
    rows = [] if table == "anchors" else connection.execute(sql).fetchall()
    message = f"{total} rows, the batches account for {accounted}"
    yield AuditFinding(table, f"(stream id, record) {rows}"[:MAX_TEXT], message)


def points(connection: sqlite3.Connection) -> Iterator[AuditFinding]:
    """Find names that belong to nothing, where no rows were removed."""
    for row in connection.execute(
        "SELECT * FROM points WHERE id NOT IN (SELECT point_id FROM single_readings)"
        " AND id NOT IN (SELECT point_id FROM shapes) AND NOT EXISTS (SELECT 1 FROM removals)"
    ):
        yield AuditFinding("points", repr(row)[:MAX_TEXT], "no reading has this point")


def shapes(connection: sqlite3.Connection) -> Iterator[AuditFinding]:
    """Find shapes of no row, where no rows were removed."""
    for row in connection.execute(
        "SELECT * FROM shapes WHERE id NOT IN (SELECT shape_id FROM packed_readings)"
        " AND NOT EXISTS (SELECT 1 FROM removals)"
    ):
        yield AuditFinding("shapes", repr(row)[:MAX_TEXT], "no readings have this shape")


def devices(connection: sqlite3.Connection) -> Iterator[AuditFinding]:
    """Compare the devices with those of the records."""
    for device, gateway in connection.execute(
        "SELECT device, gateway FROM devices WHERE NOT EXISTS (SELECT 1 FROM records JOIN"
        " streams ON streams.id = stream_id WHERE records.device = devices.device"
        " AND streams.gateway = devices.gateway)"
    ):
        yield AuditFinding("devices", str(device), f"no record of it came from {gateway}")
    for (device,) in connection.execute(
        "SELECT device FROM (SELECT DISTINCT device FROM records) AS one"
        " WHERE device NOT IN (SELECT device FROM devices) AND EXISTS (SELECT 1 FROM records"
        " WHERE records.device = one.device AND kind NOT IN ('gap', 'action'))"
    ):
        yield AuditFinding("devices", str(device), "is missing")


def counters(connection: sqlite3.Connection) -> Iterator[AuditFinding]:
    """Check the seals of the counters."""
    for name, value, sealed in connection.execute("SELECT name, value, seal FROM counters"):
        if sealed != seal(name, value):
            yield AuditFinding("counters", str(name), f"is not what was written: {value}")


def _shape(connection: sqlite3.Connection) -> dict[str, object]:
    """Return what indexes and views are, and the columns of every table.

    A table's own statement may differ: that of a table which grew is not that of a new one.
    """
    shape: dict[str, object] = {}
    for kind, name, table, sql in connection.execute(
        "SELECT type, name, tbl_name, sql FROM sqlite_schema"
    ).fetchall():
        if kind != "table":
            shape[f"{kind} {name}"] = (table, sql)
            continue
        columns = connection.execute(
            'SELECT name, type, "notnull", pk FROM pragma_table_info(?)', (name,)
        )
        shape[f"{kind} {name}"] = columns.fetchall()
    return shape


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def open_for_audit(path: Path) -> sqlite3.Connection:
    """Open a database to read it as it is at this moment. sqlite3.Error if it is not one of ours.

    Close it afterwards.
    """
    uri = f"{path.absolute().as_uri()}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None)
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if (application, version) != (APPLICATION_ID, SCHEMA_VERSION):
            raise sqlite3.DatabaseError(
                f"expected a collector database of version {SCHEMA_VERSION}, got application id"
                f" {application:#x} version {version}; a collector of this release brings an older"
                " one to this version"
            )
        # A flipped bit in a text must not raise: it is to be compared.
        connection.text_factory = _text
        connection.execute("BEGIN")  # a running collector and an audit do not disturb each other
    except BaseException:
        connection.close()
        raise
    return connection


def fetch(connection: sqlite3.Connection, sql: str, arguments: tuple[int, ...]) -> list[Row]:
    """Return the rows of a query; sqlite3.Error."""
    of_any_text = connection.text_factory
    connection.text_factory = str  # takes a third less time than a function of ours
    try:
        return connection.execute(sql, arguments).fetchall()
    except sqlite3.OperationalError:
        pass  # a text that is not UTF-8, or what the next line finds again
    finally:
        connection.text_factory = of_any_text
    return connection.execute(sql, arguments).fetchall()


def check_head_file(connection: sqlite3.Connection, path: Path) -> Iterator[AuditFinding]:
    """Compare a database with the head file beside it, if there is one."""
    try:
        seen = head_file.read(head_path(path))
        problem = problem_of(connection, read_head(connection), seen)
    except (StoreDamaged, sqlite3.Error, ValueError, TypeError) as error:
        problem = str(error)
    if problem:
        yield AuditFinding("database", str(head_path(path)), problem)
