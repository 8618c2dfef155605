"""The tables of fields in docs/formats.md are those that writer and reader use."""

import pytest

from tests.tools import formats_page


def test_the_tables_are_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert formats_page.main(["--check"]) == 0, capsys.readouterr().err


def test_every_table_is_on_the_page() -> None:
    text = formats_page.PATH.read_text(encoding="utf-8")
    for name in formats_page.TABLES:
        assert f"<!-- fields: {name} -->\n| where |" in text


def test_rows_as_an_integrator_reads_them() -> None:
    rows = formats_page.table("receipt").splitlines()
    assert rows[4].startswith("| 2 | contiguous_to | 0 to 2^63 - 1 | records 1 to this one")
    rows = formats_page.table("batch").splitlines()
    assert rows[7].startswith("| `tf` 5 | head | 32 bytes | chain head after `last` |")
