"""All that nodes run passes mpy-cross and fits the bytes pinned in tests/budgets.toml."""

from pathlib import Path

import pytest

from tests.tools import budgets

REMEDY = (
    "make it smaller, or pin the new size with `python -m tests.tools.budgets` "
    "and name in the commit what the bytes buy"
)


@pytest.fixture(scope="module")
def sizes() -> dict[str, int]:
    """Return the size of every source as .mpy; one that does not compile fails its own test."""
    measured: dict[str, int] = {}
    for source in budgets.sources():
        try:
            measured[source.as_posix()] = budgets.compiled_size(source)
        except RuntimeError:
            continue
    return measured


@pytest.mark.parametrize("source", budgets.sources(), ids=Path.as_posix)
def test_file_compiles_and_fits_its_budget(source: Path) -> None:
    size = budgets.compiled_size(source)
    bound = budgets.read_table()["file"].get(source.as_posix())
    assert bound is not None, f"{source} has no budget yet: python -m tests.tools.budgets"
    assert size <= bound, f"{source}: {size} bytes as .mpy, budget {bound}: {REMEDY}"


def test_groups_fit_their_budgets(sizes: dict[str, int]) -> None:
    bounds = budgets.read_table()["total"]
    over = {
        group: f"{size} bytes, budget {bounds.get(group)}"
        for group, size in budgets.totals(sizes).items()
        if size > bounds.get(group, 0)
    }
    assert not over, f"{over}: {REMEDY}"


@pytest.mark.parametrize("role", budgets.ROLES)
def test_imported_role_fits_its_heap(role: str) -> None:
    heap = budgets.imported_heap(role)
    bound = budgets.read_table()["heap"][role]
    assert heap <= bound, f"{role}: {heap} bytes of heap after import, budget {bound}: {REMEDY}"


def test_table_names_only_what_exists() -> None:
    known = {source.as_posix() for source in budgets.sources()}
    stale = sorted(set(budgets.read_table()["file"]) - known)
    assert not stale, f"remove with `python -m tests.tools.budgets`: {stale}"


def test_budgets_leave_little_room(sizes: dict[str, int]) -> None:
    """A bound far above the size would let later growth pass unseen."""
    loose = {
        name: f"{sizes[name]} bytes, budget {bound}"
        for name, bound in budgets.read_table()["file"].items()
        if name in sizes and bound > 2 * budgets.SLACK_BYTES + sizes[name] * 1.25
    }
    assert not loose, f"pin them with `python -m tests.tools.budgets`: {loose}"


def test_what_micropython_cannot_parse_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "modern.py"
    source.write_text(
        "def f(x):\n    match x:\n        case 1:\n            pass\n", encoding="utf-8"
    )
    with pytest.raises(RuntimeError, match=r"mpy-cross refuses modern\.py"):
        budgets.compiled_size(Path("modern.py"), tmp_path)
