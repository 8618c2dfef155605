"""The table in docs/reliability.md has a line for each row of the check ``promise``."""

from tests.promise import table
from tests.promise.breaks import BREAKS
from tests.promise.rows import ROWS


def test_the_rows_on_the_page_are_the_rows_that_exist() -> None:
    page = table.PAGE.read_text(encoding="utf-8")
    assert table.names_on(page) == [row.name for row in ROWS]


def test_what_is_broken_on_purpose_is_on_the_page() -> None:
    page = table.PAGE.read_text(encoding="utf-8")
    for item in BREAKS.values():
        (row,) = [row for row in ROWS if row.faults is item.faults]
        assert f"| {item.name} | {item.what} | {row.name} |\n" in page


def test_a_table_replaces_the_one_before() -> None:
    page = "a\n<!-- promise: the table -->\n| old |\n| older |\n\nb\n"
    lines = list(table.lines_of([("killed", "SIGKILL"), ("frozen", "SIGSTOP")]).values())
    lines[0].runs, lines[0].faults = 3, 7
    written = table.filled(page, table.text_of(lines, "ab12"))
    assert table.names_on(written) == ["killed", "frozen"]
    assert "| killed | SIGKILL | 3 | 7 | 0 | ab12 |\n" in written
    assert "old" not in written
    assert written.endswith("\n\nb\n")
    assert table.filled(written, table.text_of(lines, "ab12")) == written
