"""docs/errors.md has every error of the table, and a test provokes each."""

import pytest

from boards.flash.errors import FAULTS
from tests.paths import ROOT
from tests.tools import errors_page


def test_the_page_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert errors_page.main(["--check"]) == 0, capsys.readouterr().err


def test_every_code_is_there_once() -> None:
    assert len({each.number for each in FAULTS}) == len(FAULTS)
    text = errors_page.PATH.read_text(encoding="utf-8")
    for each in FAULTS:
        assert text.count(f"| {each.code} |") == 1


def test_a_test_provokes_each() -> None:
    tests = "".join(
        path.read_text(encoding="utf-8")
        for kind in ("unit/boards/flash", "integration")
        for path in (ROOT / "tests" / kind).rglob("test_*.py")
    )
    assert [each.code for each in FAULTS if each.code not in tests] == []
