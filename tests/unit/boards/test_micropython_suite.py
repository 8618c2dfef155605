"""What MicroPython's test runner prints is parsed, and a list that no longer fits is reported."""

from pathlib import Path

from tests.tools.micropython_suite import Plan, choose, parse

WHOLE = """\
pass  basics/a.py
skip  basics/b.py
FAIL  basics/c.py
2 tests performed (9 individual testcases)
1 tests passed
1 tests skipped: b
1 tests failed: c
"""


def test_a_whole_run() -> None:
    outcome = parse(WHOLE)
    assert (outcome.passed, outcome.skipped, outcome.failed) == (1, ["b"], ["basics/c.py"])
    assert outcome.problem == ""


def test_a_run_that_broke_off_is_a_problem() -> None:
    outcome = parse("platform=x\npass  basics/a.py\nerror: test x requires unittest\n")
    assert outcome.passed == 1
    assert "requires unittest" in outcome.problem


def test_entries_that_name_no_test_are_told(tmp_path: Path) -> None:
    for name in ("basics/a.py", "basics/b.py", "other/c.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    plan = Plan(["basics"], {"basics/a.py": "why", "other/c.py": "not in the folders"})
    assert choose(tmp_path, plan) == (["basics/b.py"], ["other/c.py"])
