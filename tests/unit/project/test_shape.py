"""The plan of the house is measured right, and no modules import each other in a circle."""

import subprocess
import sys
from pathlib import Path

from tests.paths import ROOT
from tests.tools.shape import components, measure, room_arrows


def test_components_are_what_reaches_itself() -> None:
    arrows = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": {"d", "f"}, "f": set()}
    assert components(arrows) == [["a", "b", "c"], ["d", "e"]]
    assert components({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_modules_are_counted_by_their_room() -> None:
    arrows = {"p.m": {"p.q.n", "p.o"}, "p.o": set[str](), "p.q": {"p.q.n"}, "p.q.n": {"r.s.t"}}
    assert room_arrows(arrows) == {"p.m": {"p.q", "p.o"}, "p.o": set(), "p.q": {"r.s"}}


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert measure(ROOT)["circles"] == [], "take one of these imports away"


def test_another_checkout_is_measured_by_its_own_files(tmp_path: Path) -> None:
    for package in ("boards", "firmware", "gateway_agent", "hil", "protocols"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("", encoding="utf-8")
    (tmp_path / "hil" / "one.py").write_text("from hil import two\n", encoding="utf-8")
    (tmp_path / "hil" / "two.py").write_text("import hil.one\nimport boards\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "tests.tools.shape", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "| hil | 2 | 2 | 3 | 3 | 2 | boards 1 | 1 | hil/two.py (2) |" in done.stdout, (
        done.stdout + done.stderr
    )
    assert "circle of modules: hil.one, hil.two\nhil.one -> hil.two\n" in done.stdout
