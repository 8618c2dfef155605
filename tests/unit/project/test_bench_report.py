"""The page of benchmarks: what is measured anew, what stays."""

from collections.abc import Callable
from functools import partial

import pytest

from tests.bench import __main__ as bench
from tests.bench.report import (
    Figure,
    Figures,
    dropped,
    machine,
    markdown,
    of_another_machine,
    rows_of,
)
from tests.bench.whole_way import Extent


def test_a_page_keeps_what_was_not_measured_and_renews_what_was() -> None:
    first = [Figure("a", "s", "<= 2", "slow", [3, 1]), Figure("b", "ms", None, "", [5])]
    page = markdown(first, "2026-01-01")
    assert rows_of(page) == {
        "a": "| a | s | 2 | 1 to 3 | 2 | <= 2 | met | slow | 2026-01-01 |",
        "b": "| b | ms | 5 | 5 to 5 | 1 |  |  |  | 2026-01-01 |",
    }
    again = markdown([Figure("b", "ms", None, "", [7]), Figure("c", "", None, "", [1])], "2", page)
    rows = rows_of(again)
    assert list(rows) == ["a", "b", "c"]
    assert rows["a"] == rows_of(page)["a"]
    assert rows["b"] == "| b | ms | 7 | 7 to 7 | 1 |  |  |  | 2 |"


def test_figures_of_another_machine_are_not_mixed_with_ours() -> None:
    page = markdown([Figure("a", "s", None, "", [1])], "2026-01-01")
    assert rows_of(page.replace(machine(), "Another, 64 cores")) == {}
    assert rows_of("") == {}


def test_rows_of_another_machine_are_named_before_they_are_dropped() -> None:
    first = [Figure("a", "s", None, "", [1]), Figure("b", "s", None, "", [1])]
    page = markdown(first, "2026-01-01")
    assert (of_another_machine(page), of_another_machine("")) == ("", "")
    assert dropped(first[:1], page) == []
    other = page.replace(machine(), "Another, 64 cores")
    assert "Another, 64 cores" in of_another_machine(other)
    assert dropped(first[:1], other) == ["b"]
    assert list(rows_of(markdown(first[:1], "2", other))) == ["a"]


def test_a_step_that_fails_costs_only_its_own_figures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> None:
        raise RuntimeError("no broker")

    def steps(figures: Figures, run: int, *_: object) -> dict[str, Callable[[], None]]:
        return {"start": broken, "node": partial(figures.add, "heap", "bytes", run + 1.0),
                "fixed": partial(figures.add, "CPU", "s", run + 1.0)}  # fmt: skip

    monkeypatch.setattr(bench, "_steps", steps)
    figures = Figures()
    failed = bench._measure(figures, 2, Extent(1), None, None)
    assert failed == ["run 1, step start", "run 2, step start"]
    # What takes long and varies little is measured in the first run only.
    assert {name: figure.runs for name, figure in figures.all.items()} == {
        "heap": [1.0],
        "CPU": [1.0, 2.0],
    }
    shown = capsys.readouterr().err
    assert "run 2 of 2, step 2 of 2: fixed" in shown
    assert "RuntimeError: no broker" in shown
