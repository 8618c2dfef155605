"""The page of benchmarks: what is measured anew, what stays."""

from tests.bench.report import Figure, machine, markdown, rows_of


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
