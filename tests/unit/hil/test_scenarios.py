"""The scenarios run on every engine alike: they ask for abilities and defects, never for a name."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import hil.scenarios
from hil.engines.registry import KINDS

SCENARIOS = sorted(Path(hil.scenarios.__path__[0]).glob("*.py"))
NAMES = re.compile("|".join(KINDS), re.IGNORECASE)


def words(tree: ast.Module) -> list[tuple[int, str]]:
    """Return every name and every text of a module, docstrings among them, with its line."""
    found = []
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append((line, node.value))
        elif isinstance(node, ast.Name):
            found.append((line, node.id))
        elif isinstance(node, ast.Attribute):
            found.append((line, node.attr))
        elif isinstance(node, ast.alias):
            found.append((line, node.name))
        elif isinstance(node, ast.ImportFrom):
            found.append((line, node.module or ""))
    return found


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.name)
def test_no_scenario_names_an_engine(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert [(line, word) for line, word in words(tree) if NAMES.search(word)] == []


@pytest.mark.parametrize("text", ["on QEMU", "hil.engines.qemu", "QemuEngine", "unix-store"])
def test_a_name_is_found(text: str) -> None:
    assert NAMES.search(text)


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.name)
def test_no_scenario_casts_a_board(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert "cast" not in {word for _, word in words(tree)}
