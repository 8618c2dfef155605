"""The history keeps 48 hours in a bounded file, gaps with their cause, and outlives damage."""

from pathlib import Path

import pytest

from gateway_agent.status import DeviceState, DeviceStatus, PointValue
from gateway_agent.web.history import Recorder
from gateway_agent.web.history_file import KEEP_MS, HistoryFile, HistoryPiece, HistoryRow
from gateway_agent.web.series import history_of

START_MS = 1_790_000_000_000


def device(
    value: float | None, age_ms: int = 100, cause: str = "", quality: str = "", name: str = "air-1"
) -> DeviceStatus:
    state: DeviceState = "failing" if cause else "ok"
    return DeviceStatus(
        id=name,
        name=name,
        bus="roof",
        unit=1,
        kind="node",
        role="air",
        auth="ok",
        state=state,
        values=[PointValue("co2", "ppm", value, quality=quality)],
        age_ms=age_ms,
        polls=1,
        errors=0,
        skipped=0,
        problem="no answer" if cause else "",
        cause=cause,
    )


def rows_of(pieces: list[HistoryPiece]) -> list[HistoryRow]:
    return [row for piece in pieces for row in piece.rows]


async def test_values_qualities_and_gaps_come_back_as_they_were(tmp_path: Path) -> None:
    file = HistoryFile(tmp_path / "history.db", 1 << 20)
    recorder = Recorder(file)
    now = START_MS
    recorder.take([device(400)], now)
    recorder.take([device(None, quality="warm-up")], now + 10_000)
    for step in range(2, 100):  # no answer for long: the gap has two rows
        recorder.take([device(None, 100 + step * 10_000 - 10_000, "crc")], now + step * 10_000)
    recorder.take([device(402)], now + 1_000_000)
    expected = [
        HistoryRow(now - 100, (400,)),
        HistoryRow(now + 9900, (None,), ("warm-up",)),
        HistoryRow(now + 20_000, (), (), "crc"),
        HistoryRow(now + 990_000, (), (), "crc"),
        HistoryRow(now + 999_900, (402,)),
    ]
    assert rows_of(await recorder.series("air-1", 0, 1 << 62)) == expected
    recorder.flush(everything=True)
    again = Recorder(HistoryFile(tmp_path / "history.db", 1 << 20))
    assert rows_of(await again.series("air-1", 0, 1 << 62)) == expected
    assert await again.series("air-2", 0, 1 << 62) == []


async def test_an_answer_is_taken_once(tmp_path: Path) -> None:
    recorder = Recorder(HistoryFile(tmp_path / "history.db", 1 << 20))
    recorder.take([device(400, 100)], START_MS)
    recorder.take([device(400, 10_100)], START_MS + 10_000)
    assert len(rows_of(await recorder.series("air-1", 0, 1 << 62))) == 1


async def test_answers_after_a_clock_that_was_ahead_are_taken(tmp_path: Path) -> None:
    recorder = Recorder(HistoryFile(tmp_path / "history.db", 1 << 20))
    recorder.take([device(400, 100)], START_MS + 3_600_000)
    for step in range(5):
        recorder.take([device(401 + step, 100)], START_MS + step * 10_000)
    values = [row.values for row in rows_of(await recorder.series("air-1", 0, 1 << 62))]
    assert sorted(values) == [(400 + step,) for step in range(6)]


def piece(first_ms: int, seed: int) -> HistoryPiece:
    rows = [
        HistoryRow(
            first_ms + step, tuple((seed * 7919 + step * step * k) % 9973 / 7 for k in range(20))
        )
        for step in range(200)
    ]
    return HistoryPiece(tuple(f"p{k}" for k in range(20)), rows)


def test_the_file_stays_below_its_limit_and_the_newest_stays(tmp_path: Path) -> None:
    limit = 1 << 20
    path = tmp_path / "history.db"
    file = HistoryFile(path, limit)
    for hour in range(24):
        file.write({f"d{n}": piece(START_MS + hour * 1000, hour * 5 + n) for n in range(5)})
        assert path.stat().st_size <= limit
    assert file.read("d4", START_MS + 23_000, 1 << 62)
    assert not file.read("d4", START_MS, START_MS + 500)


def test_what_is_older_than_48_hours_goes(tmp_path: Path) -> None:
    file = HistoryFile(tmp_path / "history.db", 1 << 24)
    file.write({"a": piece(START_MS, 1)})
    file.write({"b": piece(START_MS + KEEP_MS + 1000, 2)})
    assert file.read("a", 0, 1 << 62) == []
    assert len(file.read("b", 0, 1 << 62)) == 1


@pytest.mark.parametrize("damage", [b"no database", b"SQLite format 3\0" + bytes(5000)])
def test_a_damaged_file_is_begun_anew(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "history.db"
    path.write_bytes(damage)
    file = HistoryFile(path, 1 << 20)
    assert file.read("a", 0, 1 << 62) == []
    file.write({"a": piece(START_MS, 1)})
    assert len(file.read("a", 0, 1 << 62)) == 1


def test_a_place_that_cannot_be_written_costs_the_history_only(tmp_path: Path) -> None:
    file = HistoryFile(tmp_path / "absent" / "history.db", 1 << 20)
    file.write({"a": piece(START_MS, 1)})
    assert file.read("a", 0, 1 << 62) == []


def test_a_time_without_rows_is_a_gap_and_no_line_crosses_it() -> None:
    rows = [HistoryRow(START_MS, (1.0,)), HistoryRow(START_MS + 10_000, (2.0,))]
    rows.append(HistoryRow(START_MS + 600_000, (3.0,)))
    history = history_of("a", [HistoryPiece(("p",), rows)], {"p": "Cel"}, 0, 60_000)
    assert history.points[0].values == [1, 2, None, 3]
    assert history.t_ms == [START_MS, START_MS + 10_000, START_MS + 10_001, START_MS + 600_000]
    (gap,) = history.gaps
    assert (gap.from_ms, gap.to_ms, gap.cause) == (START_MS + 10_000, START_MS + 600_000, "no-data")
