"""The summary of `tox run -e coverage` adds up, and a file below the aim is named."""

from tests.tools.covered import File, Report, Summary, ranges, summary


def test_packages_add_up_and_a_file_below_the_aim_is_named() -> None:
    report = Report(
        {
            "hil/a.py": File(Summary(8, 10), [3, 4]),
            "hil/b.py": File(Summary(30, 30), []),
            "boards/c.py": File(Summary(0, 0), []),
            "boards/d.py": File(Summary(1, 2), [7]),
        }
    )
    text, wrong = summary(report, {"boards/d.py": "runs elsewhere", "hil/b.py": "old"})
    assert "| hil | 40 | 38 | 95.0 % |" in text
    assert "| boards | 2 | 1 | 50.0 % |" in text
    assert "| all | 42 | 39 | 92.9 % |" in text
    assert "boards/d.py: 50.0 %, runs elsewhere\n    lines 7" in text
    assert "hil/a.py: 80.0 %, no reason stands in pyproject.toml\n    lines 3-4" in text
    assert [line.split(":")[0] for line in wrong] == ["hil/a.py", "hil/b.py"]


def test_lines_in_short_form() -> None:
    assert ranges([9, 3, 4, 5]) == "3-5, 9"
    assert ranges([]) == ""
