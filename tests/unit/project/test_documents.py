"""The documents name files, classes and functions that exist, and modules say why they exist."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.paths import ROOT

FOLDERS = ("boards", "docs", "firmware", "gateway_agent", "hil", "protocols", "tests", "typings")
BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
PLACE = re.compile(rf"^(?:{'|'.join(FOLDERS)})(?:/[\w.-]+)*/?$")
# `firmware/node/bank.py: Bank.read_input`, or a name alone that belongs to the file named last.
NAMED = re.compile(r"^([\w/]+\.pyi?): ([\w.]+)$")
METHOD = re.compile(r"^[A-Z]\w*\.[a-z_]\w*$")


def documents() -> list[Path]:
    """Return every Markdown file of the project, decisions apart: they are of their day."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    return sorted(path for path in pages if path.name != "CHANGELOG.md")


def codes(page: Path) -> list[str]:
    """Return what a page shows as code inside its sentences."""
    text = re.sub(
        r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    return CODE.findall(text)


@cache
def names_in(path: Path) -> frozenset[str]:
    """Return the functions, classes and methods of a file, methods as Class.method."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {
                f"{node.name}.{member.name}"
                for member in node.body
                if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef)
            }
    return frozenset(found)


@pytest.mark.parametrize("page", documents(), ids=lambda page: page.name)
def test_files_that_are_named_exist(page: Path) -> None:
    missing = [
        code
        for code in (item.partition(": ")[0] for item in codes(page))
        # Capital words stand for names in the lists of CONTRIBUTING.
        if PLACE.match(code) and not re.search(r"[A-Z]{4}", code) and not (ROOT / code).exists()
    ]
    assert not missing, f"{page.name} names what does not exist: {missing}"


@pytest.mark.parametrize("page", documents(), ids=lambda page: page.name)
def test_functions_that_are_named_exist(page: Path) -> None:
    missing: list[str] = []
    last: frozenset[str] = frozenset()
    for code in codes(page):
        if match := NAMED.match(code):
            path = ROOT / match[1]
            last = names_in(path) if path.exists() else frozenset()
            if match[2] not in last:
                missing.append(code)
        elif METHOD.match(code) and last and code not in last:
            missing.append(code)
    assert not missing, f"{page.name} names what does not exist: {missing}"


def test_architecture_walks_through_every_package_of_the_product() -> None:
    walked = {
        match[1].split("/")[0]
        for c in codes(ROOT / "docs/architecture.md")
        if (match := NAMED.match(c))
    }
    assert walked == {"firmware", "gateway_agent", "protocols"}


def test_words_of_the_glossary_stand_once_and_in_order() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    words = re.findall(r"^\| ([^|]+?) \|", text, re.MULTILINE)[1:]
    assert len(words) > 20
    assert words == sorted(set(words))
