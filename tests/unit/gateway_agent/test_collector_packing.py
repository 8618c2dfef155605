"""Packed readings: the views answer what a row for each reading answered, to the last bit."""

import sqlite3
import struct
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_agent.collector.audit import Audit
from gateway_agent.collector.audit_tables import open_for_audit
from gateway_agent.collector.migration import STEPS
from gateway_agent.collector.packing import pack, unpack
from gateway_agent.collector.receiver import ACCEPTED
from gateway_agent.collector.schema import SCHEMA, SCHEMA_VERSION
from gateway_agent.collector.shapes import MAX_SHAPES, Shapes, read_shape
from protocols.uplink import ProfileTemplate, Record, RecordPoint, decode_record

from .test_collector import Chain, Collector, stamp
from .test_collector import readings as of_co2
from .test_collector_evidence import VERSION_1

VERSION_4 = Path(__file__).with_name("collector_v4.sql")
I63 = 2**63
FLOATS = [
    0.0, -0.0, 0.1, 50.02, 1 / 3, 230.10000610351562, -1e-17, 1e-21, 2.0**-124, 2.0**-125,
    2.0**51, 2.0**51 + 0.5, 2.0**53 + 2, -(2.0**51), 1e18, 9.2e18,
    5e-324, 2.2250738585072014e-308, 1e-300, 1e308,
    1.7976931348623157e308, -1e300, 2.0**63, -(2.0**63), 3.4028234663852886e38, 1.4e-45,
]  # fmt: skip
INTEGERS = [0, 1, -1, 23, 65535, 2**53, 2**53 + 1, -(2**53) - 1, I63 - 1, -I63, -I63 + 1]
NUMBERS = st.one_of(
    st.sampled_from(FLOATS),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.sampled_from(INTEGERS),
    st.integers(-I63, I63 - 1),
)


def bits(value: object) -> object:
    """What two values must have alike: the type, and of a double every bit."""
    return (type(value), struct.pack(">d", value) if isinstance(value, float) else value)


@pytest.fixture(scope="module")
def database() -> sqlite3.Connection:
    """The tables of a collector, and beside them the table that version 4 had."""
    connection = sqlite3.connect(":memory:")
    connection.executescript(SCHEMA)
    connection.execute("CREATE TABLE rows_of_4 (number INTEGER PRIMARY KEY, value NUMERIC)")
    return connection


def check(connection: sqlite3.Connection, points: list[RecordPoint], numbers: list[float]) -> bool:
    """Compare the view with one row for each value; return whether the numbers could be packed."""
    text = pack(points, numbers)
    if text is None:
        return False
    values = [
        number if point.divisor == 1 else number / point.divisor
        for point, number in zip(points, numbers, strict=True)
    ]
    connection.execute("INSERT INTO packed_readings VALUES (1, 1, 1, ?)", (text,))
    connection.executemany(
        "INSERT INTO shapes VALUES (1, ?, ?, ?)",
        [(position, position, point.divisor) for position, point in enumerate(points)],
    )
    connection.executemany("INSERT INTO rows_of_4 VALUES (?, ?)", list(enumerate(values)))
    got = connection.execute("SELECT value FROM readings ORDER BY point_id").fetchall()
    expected = connection.execute("SELECT value FROM rows_of_4 ORDER BY number").fetchall()
    connection.rollback()
    assert [bits(value) for (value,) in got] == [bits(value) for (value,) in expected]
    unpacked = unpack(points, text)
    assert unpacked is not None
    assert [value for _, _, value in unpacked] == values
    return True


@given(st.lists(NUMBERS, min_size=1, max_size=8))
def test_any_numbers(database: sqlite3.Connection, numbers: list[float]) -> None:
    points = [RecordPoint(f"p{index}", "", 1) for index in range(len(numbers))]
    check(database, points, numbers)


@given(
    st.lists(
        st.tuples(
            st.one_of(st.integers(-70_000, 70_000), st.integers(-(2**64), 2**64)),
            st.sampled_from([1, 10, 100, 1000, 10**9]),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_any_numbers_with_a_divisor(
    database: sqlite3.Connection, pairs: list[tuple[int, int]]
) -> None:
    points = [RecordPoint(f"p{index}", "V", divisor) for index, (_, divisor) in enumerate(pairs)]
    fits = all(
        abs(number) <= 2**53 or (divisor == 1 and abs(number) < I63) for number, divisor in pairs
    )
    assert check(database, points, [number for number, _ in pairs]) is fits


def test_which_numbers_are_packed(database: sqlite3.Connection) -> None:
    point = [RecordPoint("p", "", 1)]
    apart = [number for number in [*FLOATS, *INTEGERS] if not check(database, point, [number])]
    assert apart == [
        2.0**-125, 5e-324, 2.2250738585072014e-308, 1e-300, 1e308, 1.7976931348623157e308, -1e300,
        2.0**63, -(2.0**63), 3.4028234663852886e38, 1.4e-45, -I63,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ["", "[]", "[1,2]", "[1 ]", "[1.0]", "1", "[true]", "[[1,125]]", "[[1,-1]]", "[[1]]",
     "[[1,2,3]]", "[[1,99999999999]]", '["1"]', "[1", b"[1]", 5, None, "[\udcff]"],
)  # fmt: skip
def test_another_text_is_not_unpacked(text: object) -> None:
    assert unpack([RecordPoint("p", "", 1)], text) is None


def meter(*raws: tuple[float | str, ...], first: int = 1) -> list[Record]:
    names = [("u", "V", -1), ("e", "Wh", 0), ("f", "Hz", 0), ("x", "", 0)]
    template = ProfileTemplate("gw-1.meter", names)
    return [template.record(raw, stamp(number)) for number, raw in enumerate(raws, first)]


def findings(path: Path) -> list[str]:
    with closing(open_for_audit(path)) as connection:
        return list(map(str, Audit(connection).run()))


def test_points_that_come_and_go_have_few_shapes(tmp_path: Path) -> None:
    collector = Collector(tmp_path)
    raws = [
        tuple(7 * bit if number >> bit & 1 else "timeout" for bit in range(4))
        for number in (15, *range(16), *range(15, -1, -1))
    ]
    collector.take(Chain().batch(meter(*raws)), ACCEPTED)
    assert collector.rows("SELECT count(DISTINCT id) FROM shapes") == [(1,)]
    assert collector.rows("SELECT count(*) FROM single_readings") == [(0,)]
    names = dict(enumerate("uefx"))
    expected = [
        (seq, names[bit], 7 * bit / 10 if bit == 0 else 7 * bit)
        for seq, raw in enumerate(raws, 1)
        for bit in range(4)
        if raw[bit] != "timeout"
    ]
    got = collector.rows("SELECT seq, name, value FROM measurements")
    assert sorted(got) == sorted(expected)
    assert findings(collector.path) == []
    collector.database.close()


def test_shapes_without_end_are_bounded_and_nothing_is_lost(tmp_path: Path) -> None:
    collector = Collector(tmp_path)
    records = [
        ProfileTemplate("gw-1.x", ((f"p{number}", "", 0),)).record((number,), stamp(number))
        for number in range(1, 41)
    ]
    collector.take(Chain().batch(records), ACCEPTED)
    assert collector.rows("SELECT count(DISTINCT id) FROM shapes") == [(MAX_SHAPES,)]
    got = collector.rows("SELECT name, value FROM measurements ORDER BY seq")
    assert got == [(f"p{number}", number) for number in range(1, 41)]
    assert findings(collector.path) == []
    collector.database.close()


def test_points_that_devices_have_in_common_are_kept_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2,560 devices with the same 100 points were forgotten and read again all the time."""
    monkeypatch.setattr("gateway_agent.collector.shapes.MAX_POINTS", 100)
    database = sqlite3.connect(tmp_path / "shapes.db", isolation_level=None)
    database.executescript(SCHEMA)
    database.execute("BEGIN")
    shapes, statements = Shapes(database), list[str]()
    names = [(f"p{number}", "V", -1) for number in range(50)]
    devices = [
        decode_record(ProfileTemplate(f"gw-1.d{number}", names).record(range(50), stamp(1)).data)
        for number in range(20)
    ]
    packed = [shapes.pack(record) for record in devices]
    database.set_trace_callback(statements.append)
    assert [shapes.pack(record) for record in devices] == packed
    assert statements == []
    others = [
        decode_record(ProfileTemplate(f"gw-2.d{n}", [(f"q{n}", "", 0)]).record([n], stamp(1)).data)
        for n in range(100)
    ]
    for record in others:
        shapes.pack(record)
        assert shapes._size <= 103
    assert [shapes.pack(record) for record in devices] == packed
    ids = [row[0] for row in packed if row is not None]
    assert len(ids) == len(set(ids)) == len(devices)
    for record, identity in zip(devices, ids, strict=True):
        found = read_shape(database, identity)
        assert found is not None
        assert (found[0], found[1].points) == (record.device_id, record.points)
    database.close()


def test_a_number_that_cannot_be_packed_has_a_row_of_its_own(tmp_path: Path) -> None:
    collector = Collector(tmp_path)
    chain = Chain()
    collector.take(chain.batch(meter((2301, 5, 50.02, 1e300), (2302, 6, 50.03, 2.5))), ACCEPTED)
    collector.take(chain.batch(meter((2303, 7, 5e-324, 3.5), first=3)), ACCEPTED)
    assert collector.rows("SELECT seq FROM packed_readings") == [(2,)]
    assert collector.rows("SELECT seq, name, value FROM measurements ORDER BY seq, name") == [
        (1, "e", 5), (1, "f", 50.02), (1, "u", 230.1), (1, "x", 1e300),
        (2, "e", 6), (2, "f", 50.03), (2, "u", 230.2), (2, "x", 2.5),
        (3, "e", 7), (3, "f", 5e-324), (3, "u", 230.3), (3, "x", 3.5),
    ]  # fmt: skip
    assert findings(collector.path) == []
    collector.database.close()


def test_a_database_of_version_4_goes_on_and_keeps_its_rows(tmp_path: Path) -> None:
    """The dump is of a file that the code of version 4 wrote, with values of every kind."""
    with closing(sqlite3.connect(tmp_path / "collector.db")) as old:
        old.executescript(VERSION_4.read_text())
        columns = [row[1] for row in old.execute("PRAGMA table_info(measurements)")]
        before = old.execute("SELECT * FROM measurements ORDER BY seq, name").fetchall()
        rows = old.execute("SELECT * FROM readings ORDER BY 1, 2, 3").fetchall()
    assert len(before) == len(rows) == 17
    collector = Collector(tmp_path)
    assert collector.database.alarms == []
    chain = Chain()
    chain.last = 7
    ((_, _, _, chain.head),) = collector.database.positions()
    assert findings(collector.path) == []
    assert collector.rows("SELECT * FROM readings ORDER BY 1, 2, 3") == rows
    # What version 4 has stored of another stream is recognised, though its digest was another.
    again = Chain(2).batch([*of_co2(2, 2, clock=False), *of_co2(50, 50)])
    collector.take(again, ACCEPTED)
    assert collector.database.counters()["records_repeated"] == 1
    assert collector.rows("SELECT seq FROM records WHERE stream_id = 2") == [(2,)]
    third = Chain(3).batch([*of_co2(50, 50), *of_co2(51, 51)])
    collector.take(third, ACCEPTED)
    assert collector.database.counters()["records_repeated"] == 2
    assert findings(collector.path) == []
    collector.take(
        chain.batch([*meter((2305, 9, 1.5, 1e300), (2306, 9, 1.5, 2), first=8)]), ACCEPTED
    )
    assert collector.rows("SELECT name FROM pragma_table_info('measurements')") == [
        (name,) for name in columns
    ]
    after = collector.rows("SELECT * FROM measurements WHERE stream = 1 ORDER BY seq, name")
    assert after[: len(before)] == before
    assert [row[2:5] for row in after[len(before) :]] == [
        ("e", 9, "Wh"), ("f", 1.5, "Hz"), ("u", 230.5, "V"), ("x", 1e300, ""),
        ("e", 9, "Wh"), ("f", 1.5, "Hz"), ("u", 230.6, "V"), ("x", 2, ""),
    ]  # fmt: skip
    assert findings(collector.path) == []
    collector.database.close()


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION))
def test_a_database_of_every_older_version_goes_on(tmp_path: Path, version: int) -> None:
    """Each is made from one that version 1 wrote, by the steps that led to it."""
    with closing(sqlite3.connect(tmp_path / "collector.db", isolation_level=None)) as old:
        old.executescript(VERSION_1.read_text())
        for step in STEPS[: version - 1]:
            step(old)
        old.execute(f"PRAGMA user_version = {version}")
        before = old.execute("SELECT * FROM measurements ORDER BY stream, seq, name").fetchall()
    collector = Collector(tmp_path)
    after = collector.rows("SELECT * FROM measurements ORDER BY stream, seq, name")
    assert after == before
    assert len(before) == 16
    collector.take(Chain(7).batch(of_co2(20, 21)), ACCEPTED)
    assert collector.rows("SELECT count(*) FROM packed_readings") == [(2,)]
    assert findings(collector.path) == []
    collector.database.close()


def test_the_audit_names_the_one_reading_that_was_changed(tmp_path: Path) -> None:
    collector = Collector(tmp_path)
    collector.take(Chain().batch(meter((2301, 5, 50.5, 7), (2302, 6, 50.25, 8))), ACCEPTED)
    change = "UPDATE packed_readings SET numbers = '[2302,6,[201,2],9]' WHERE seq = 2"
    collector.database._db.execute(change)
    (found,) = findings(collector.path)
    assert found == (
        "readings: record 2 of stream 1 of gw-1: expected ('gw-1.meter', 'x', '', 8), got"
        " ('gw-1.meter', 'x', '', 9)"
    )
    collector.database.close()


def test_a_newer_database_is_refused_and_not_touched(tmp_path: Path) -> None:
    Collector(tmp_path).database.close()
    path = tmp_path / "collector.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    before = path.read_bytes()
    with pytest.raises(sqlite3.DatabaseError, match="install the newer release"):
        Collector(tmp_path)
    assert path.read_bytes() == before


def test_readings_of_a_device_are_found_by_an_index(tmp_path: Path) -> None:
    """The views must not make SQLite unpack all rows for those of one device, or twice."""
    collector = Collector(tmp_path)
    collector.take(Chain().batch(of_co2(1, 9)), ACCEPTED)
    plan = [
        str(row[3])
        for row in collector.rows(
            "EXPLAIN QUERY PLAN SELECT * FROM measurements WHERE device = 'gw-1.co2'"
            " AND time_ms > 5"
        )
    ]
    assert not [line for line in plan if line.startswith("SCAN") and "json_each" not in line], plan
    order = [line.split()[1] for line in plan if line.startswith(("SCAN", "SEARCH"))]
    assert order.index("json_each") < order.index("shapes")
    collector.database.close()


@pytest.mark.parametrize("view", ["readings", "measurements"])
def test_a_view_that_was_changed_is_found_at_the_start(tmp_path: Path, view: str) -> None:
    Collector(tmp_path).database.close()
    with closing(sqlite3.connect(tmp_path / "collector.db")) as connection:
        ((sql,),) = connection.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (view,))
        connection.execute(f"DROP VIEW {view}")
        connection.execute(sql.replace("divisor = 0", "divisor = 1"))
    with pytest.raises(sqlite3.DatabaseError, match=f"the view {view} is not what was written"):
        Collector(tmp_path)
