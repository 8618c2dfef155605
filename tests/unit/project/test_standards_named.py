"""What is said of a standard names its clause, or says that it is from implementations.

Checked is each docstring and each comment in the folders that speak with platforms, and each
paragraph of the integrators' page: one that names a standard has a clause, a table or an annex in
it, or one of the phrases below. That the clause is the right one only a reader can check.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

from tests.paths import ROOT

FOLDERS = (
    "protocols/uplink/hj212",
    "protocols/uplink/sl651",
    "protocols/uplink/sl427",
    "gateway_agent/uplink/hj212",
    "gateway_agent/uplink/sl651",
    "gateway_agent/uplink/sl427",
    "gateway_agent/indices",
)
PAGE = ROOT / "docs" / "integrators.md"
# An edition, with its year: the name of a protocol alone is no statement about its text.
NAMED = re.compile(
    r"HJ 212-20\d\d|HJ 633(?:-20\d\d)?|HJ 1404|GB 3838|GB 3095|SL 651-2014|SL 427-2021|SZY206-2016"
)
CLAUSE = re.compile(
    r"(?i)\b(?:tables?|annex(?:es)?|chapter|section|clause) [0-9A-Z]"
    r"|\b[A-H]\.\d|\b\d\.\d+(?:\.\d+)*\b"
)
PHRASES = ("from implementations", "was read in", "were read in", "was not read")


def is_sourced(paragraph: str) -> bool:
    """Whether a paragraph that names a standard says where the statement is from."""
    text = " ".join(paragraph.split())
    return bool(CLAUSE.search(NAMED.sub("", text))) or any(
        phrase in text.lower() for phrase in PHRASES
    )


def statements(path: Path) -> Iterator[tuple[str, str]]:
    """Yield a file's docstrings, and its comments."""
    text = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield getattr(node, "name", "module"), ast.get_docstring(node) or ""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield f"line {token.start[0]}", token.string


def test_a_statement_about_a_standard_has_its_source() -> None:
    bare = [
        f"{path.relative_to(ROOT)}, {where}: {' '.join(paragraph.split())[:100]}"
        for folder in FOLDERS
        for path in sorted((ROOT / folder).glob("*.py"))
        for where, paragraph in statements(path)
        if NAMED.search(paragraph) and not is_sourced(paragraph)
    ]
    assert bare == []


def test_so_has_one_on_the_page_of_integrators() -> None:
    paragraphs = re.split(r"\n\s*\n", re.sub(r"```.*?```", "", PAGE.read_text(), flags=re.DOTALL))
    bare = [p[:100] for p in paragraphs if NAMED.search(p) and not is_sourced(p)]
    assert bare == []


def test_the_check_itself() -> None:
    assert NAMED.search("as HJ 212-2017 has it")
    assert not is_sourced("as HJ 212-2017 has it")
    assert is_sourced("as HJ 212-2017 has it (table 3)")
    assert is_sourced("a request that is not valid (SL 651-2014,\n6.3.1.2 d)")
    assert is_sourced("as HJ 212-2025 has it; from implementations")
