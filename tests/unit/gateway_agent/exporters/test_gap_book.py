"""What exporters gave up is named in a bounded book, and its counts are complete."""

from gateway_agent.status import ExporterStatus, GapStatus
from gateway_agent.uplink.gap_book import MAX_GAPS, GapBook
from gateway_agent.web.metrics import _exporters


def minute(number: int, kind: str = "2051", cause: str = "age") -> GapStatus:
    first_ms = 60_000 * number
    return GapStatus(kind=kind, first_ms=first_ms, last_ms=first_ms + 60_000, count=1, cause=cause)


def test_what_touches_is_one_gap() -> None:
    book = GapBook()
    for number in (3, 4, 5, 9):
        book.add(minute(number))
        book.add(minute(number, kind="2061"))
    assert [(one.kind, one.first_ms, one.last_ms, one.count) for one in book.gaps] == [
        ("2051", 180_000, 360_000, 3),
        ("2061", 180_000, 360_000, 3),
        ("2051", 540_000, 600_000, 1),
        ("2061", 540_000, 600_000, 1),
    ]
    book.add(minute(13), joins_ms=180_000)  # three minutes after the one before
    assert (book.gaps[2].last_ms, book.gaps[2].count) == (840_000, 2)


def test_the_book_is_bounded_and_loses_no_count() -> None:
    book = GapBook()
    for number in range(0, 200, 2):
        book.add(minute(number))
        book.add(minute(number, cause="unit"))
    again = GapBook(book.text())
    assert again.gaps == book.gaps
    assert len(again.gaps) == 2 * MAX_GAPS
    assert [one.count for one in again.gaps if one.cause == "age"] == [85, *[1] * 15]
    assert [one.first_ms for one in again.gaps][:2] == [0, 0]
    status = ExporterStatus(name="city", type="hj212", where="", required=True, gaps=again.gaps)
    (metric,) = [one for one in _exporters([status]) if one.name == "tianfu_exporter_gaps"]
    assert [(one.labels["kind"], one.labels["cause"], one.value) for one in metric.samples] == [
        ("2051", "age", 100),
        ("2051", "unit", 100),
    ]
