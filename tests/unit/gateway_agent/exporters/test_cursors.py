"""An exporter's place in the outbox: what is kept for it, what it loses, and that both survive."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway_agent.store.errors import StoreFull
from gateway_agent.store.exports import Cursor, Loss
from gateway_agent.store.outbox import Outbox
from gateway_agent.store.retention import Keep
from tests.unit.gateway_agent.store_help import StillClock, contents, numbers, open_box, records

FOREVER = Keep(1 << 60, 1 << 60)


def filled(directory: Path, groups: int = 5, clock: StillClock | None = None) -> Outbox:
    """An outbox with ``groups`` commits of four records, numbered from 0."""
    box = open_box(directory, clock)
    for index in range(groups):
        box.append(records(4 * index, 4), {})
    return box


def deliver(box: Outbox, to: int) -> None:
    """Let the collector have everything up to ``to``."""
    piece = box.slice(box.stats().receipted_to, to - box.stats().receipted_to, 1 << 20)
    assert piece is not None
    assert piece.last == to
    box.release(piece.stream, to, piece.head)


def kept(box: Outbox, after: int) -> list[int]:
    """First values of what an exporter reads after ``after``."""
    found = []
    while (piece := box.kept_slice(after, 3, 1 << 20)) is not None:
        found += [record.data for record in piece.records]
        after = piece.last
    return numbers(found)


def fill(box: Outbox) -> int:
    """Append commits of 100 records, numbered from 0, until none has room; how many there are."""
    number = 0
    while True:
        try:
            box.append(records(number, 100), {})
        except StoreFull:
            return number
        number += 100


def test_what_is_receipted_stays_until_every_required_exporter_has_it(tmp_path: Path) -> None:
    box = filled(tmp_path)
    stream = box.stats().stream
    box.attach(["a", "b"], ["a", "b"])
    deliver(box, 14)
    assert box.stats().depth == 6
    assert box.stats().unaccounted == 0
    assert kept(box, 0) == list(range(20))
    box.advance("a", stream, 20)
    assert kept(box, box.cursors["b"].to) == list(range(20))
    box.advance("b", stream, 9)
    box.close()
    box = open_box(tmp_path)
    box.attach(["a", "b"], ["a", "b"])
    assert {name: cursor.to for name, cursor in box.cursors.items()} == {"a": 20, "b": 9}
    assert kept(box, 9) == list(range(9, 20))
    assert len(contents(box)) == 6
    box.advance("b", stream, 20)
    deliver(box, 20)
    assert kept(box, 0) == []
    box.close()
    with closing(sqlite3.connect(tmp_path / "outbox.db")) as connection:
        assert connection.execute("SELECT count(*) FROM groups").fetchone() == (0,)
    assert open_box(tmp_path).stats()[:4] == (stream, 20, 20, 0)


def test_an_exporter_that_is_not_required_loses_what_is_pruned_and_it_is_named(
    tmp_path: Path,
) -> None:
    box = filled(tmp_path)
    stream = box.stats().stream
    box.attach(["a"], [])
    box.advance("a", stream, 2)
    deliver(box, 8)
    deliver(box, 12)
    cursor = box.cursors["a"]
    assert cursor == Cursor(stream, 12, 10, (Loss(stream, 3, 12, "not_required"),))
    box.close()
    assert open_box(tmp_path).cursors["a"] == cursor


def test_age_by_the_boot_clock_ends_what_is_kept(tmp_path: Path) -> None:
    clock = StillClock()
    box = filled(tmp_path, clock=clock)
    stream = box.stats().stream
    box.attach(["a"], ["a"])
    box.expire("a", Keep(10, 1 << 60))
    assert box.cursors["a"].lost == 0  # nothing is receipted: the collector needs it all
    deliver(box, 18)
    clock.now = 20  # the records were made at 1 to 20 ms
    box.expire("a", Keep(10, 1 << 60))
    assert box.cursors["a"] == Cursor(stream, 8, 8, (Loss(stream, 1, 8, "age"),))
    box.close()
    clock.boot += 1  # of an earlier boot: at least as old as this boot
    clock.now = 11
    box = open_box(tmp_path, clock)
    box.attach(["a"], ["a"])
    box.expire("a", Keep(10, 1 << 60))
    assert box.cursors["a"] == Cursor(stream, 18, 18, (Loss(stream, 1, 18, "age"),))
    assert len(contents(box)) == 2


def test_bytes_end_what_is_kept(tmp_path: Path) -> None:
    box = filled(tmp_path)
    box.attach(["a"], ["a"])
    deliver(box, 18)
    box.expire("a", FOREVER)
    assert box.cursors["a"].lost == 0
    box.expire("a", Keep(1 << 60, 1))
    assert box.cursors["a"].to == 18
    assert [loss.cause for loss in box.cursors["a"].losses] == ["bytes"]


def test_new_records_come_before_what_is_kept_for_exporters(tmp_path: Path) -> None:
    box = open_box(tmp_path, max_bytes=1 << 20)
    box.attach(["a"], ["a"])
    again = records(0, 100)
    for _ in range(200):  # each time about 10 KiB
        box.append(again, {})
        deliver(box, box.stats().last)
    cursor = box.cursors["a"]
    assert {loss.cause for loss in cursor.losses} == {"room"}
    assert cursor.lost == cursor.to
    assert len(kept(box, cursor.to)) == 20_000 - cursor.to >= 100


def test_new_exporters_at_a_full_outbox_stop_no_receipt(tmp_path: Path) -> None:
    box = open_box(tmp_path, max_bytes=1 << 20)
    box.attach(["a"], ["a"])
    number = fill(box)
    new = [f"platform {index} {'x' * 200}" for index in range(1000)]  # more than has room
    with pytest.raises(StoreFull):
        box.attach(["a", *new], ["a", *new])
    with pytest.raises(StoreFull):
        box.append(records(number, 100), {})
    deliver(box, 50)
    assert box.cursors.keys() == {"a"}
    assert kept(box, 0) == list(range(number))
    box.advance("a", box.stats().stream, number)
    deliver(box, number)
    box.attach(["a", *new[:100]], ["a", *new[:100]])
    assert box.append(records(number, 100), {}) == number + 100


def test_a_rebuild_keeps_the_place_in_the_new_stream(tmp_path: Path) -> None:
    box = filled(tmp_path)
    old = box.stats().stream
    box.attach(["ahead", "behind"], ["ahead", "behind"])
    deliver(box, 10)
    box.advance("ahead", old, 15)
    box.advance("behind", old, 6)
    box.rebuild("operator", "a test")
    stream = box.stats().stream
    assert stream != old
    assert box.cursors["ahead"] == Cursor(stream, 5)
    assert kept(box, 5) == list(range(15, 20))
    assert box.cursors["behind"] == Cursor(stream, 0, 4, (Loss(old, 7, 10, "new_stream"),))
    box.close()
    assert open_box(tmp_path).cursors["ahead"] == Cursor(stream, 5)


def test_damage_in_what_is_kept_costs_the_collector_nothing(tmp_path: Path) -> None:
    box = filled(tmp_path)
    box.attach(["a"], ["a"])
    deliver(box, 14)
    box.close()
    with closing(sqlite3.connect(tmp_path / "outbox.db")) as connection, connection:
        connection.execute("UPDATE groups SET data = zeroblob(length(data)) WHERE first = 5")
    box = open_box(tmp_path)
    assert numbers(contents(box)) == list(range(14, 20))
    assert box.cursors["a"].lost == 14
    assert box.cursors["a"].losses[0].cause == "new_stream"


def test_a_new_exporter_begins_with_what_has_no_receipt_and_an_old_name_is_forgotten(
    tmp_path: Path,
) -> None:
    box = filled(tmp_path)
    deliver(box, 10)
    box.attach(["a"], ["a"])
    assert kept(box, box.cursors["a"].to) == list(range(10, 20))
    deliver(box, 15)
    box.attach([], [])
    assert box.cursors == {}
    assert kept(box, 0) == list(range(15, 20)) or kept(box, 0)[-5:] == list(range(15, 20))
    box.close()
    box = open_box(tmp_path)
    assert box.cursors == {}
    assert box.stats().depth == 5


def test_losses_are_bounded_and_the_sum_is_right() -> None:
    cursor = Cursor(1, 0)
    for number in range(100):
        cursor = cursor.moved(cursor.to + 1).given_up(cursor.to + 3, ("age", "bytes")[number % 2])
    assert len(cursor.losses) == 16
    assert cursor.lost == 200
    assert cursor.losses[-1] == Loss(1, 299, 300, "bytes")


@pytest.mark.parametrize("to", [0, 3, 21, 99])
def test_a_delivery_that_was_never_recorded_moves_nothing(tmp_path: Path, to: int) -> None:
    box = filled(tmp_path)
    box.attach(["a"], ["a"])
    box.advance("a", box.stats().stream, 3)
    box.advance("a", box.stats().stream, to)
    box.advance("a", box.stats().stream + 1, 10)
    assert box.cursors["a"].to == 3
