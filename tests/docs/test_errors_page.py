"""docs/errors.md has every error of the table, and a test provokes each."""

import ast
import re

import pytest

from boards.flash.errors import FAULTS
from tests.paths import ROOT
from tests.tools import errors_page

MARK = re.compile(r"pytest\.mark\.provokes\(([^)]*)\)")
CODE = re.compile(r"TF-[A-Z]+-\d{3}")


def test_the_page_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert errors_page.main(["--check"]) == 0, capsys.readouterr().err


def test_every_code_is_there_once_and_in_order() -> None:
    numbers = [each.number for each in FAULTS]
    assert numbers == sorted(set(numbers))
    text = errors_page.PATH.read_text(encoding="utf-8")
    for each in FAULTS:
        assert text.count(f"| {each.code} |") == 1


def test_a_test_provokes_each() -> None:
    """A mark is believed: tests/conftest.py fails a test that does not make what it is marked with.

    What runs by hand only, marked exhaustive, does not count.
    """
    provoked: set[str] = set()
    for kind in ("unit/boards", "integration"):
        for path in (ROOT / "tests" / kind).rglob("test_*.py"):
            for test in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(test, ast.FunctionDef | ast.AsyncFunctionDef):
                    provoked |= marked(test)
    assert sorted({each.code for each in FAULTS} - provoked) == []
    assert sorted(provoked - {each.code for each in FAULTS}) == []


def marked(test: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """Return the codes of a test's marks."""
    marks = [ast.unparse(mark) for mark in test.decorator_list]
    if "pytest.mark.exhaustive" in marks:
        return set()
    return {code for mark in marks for codes in MARK.findall(mark) for code in CODE.findall(codes)}
