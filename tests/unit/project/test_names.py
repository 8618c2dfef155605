"""One word, one thing: no two public classes of the product share a name.

Three pairs are one thing seen twice and may share it: a port (a class of a stub, or a Protocol) and
the class behind it, a part's driver and its simulation in hil/sim, and what each board brings under
the name that the firmware asks for. The scenarios of the bench are tests and do not count.
"""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from tests.paths import ROOT

PACKAGES = ("boards", "firmware", "gateway_agent", "hil", "protocols")
TESTS = ROOT / "hil" / "scenarios"


def files() -> Iterator[Path]:
    """Yield every Python file and stub of the product."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py*")):
            if path.suffix in (".py", ".pyi") and not path.is_relative_to(TESTS):
                yield path


def is_protocol(node: ast.ClassDef) -> bool:
    """Whether a class describes what others bring."""
    return any(ast.unparse(base).split("[")[0].split(".")[-1] == "Protocol" for base in node.bases)


def kind_of(path: Path, node: ast.ClassDef) -> str:
    """Return which side of a thing a class shows: port, simulation, a board's, or itself."""
    parts = path.relative_to(ROOT).parts
    if parts[:2] == ("hil", "sim"):
        return "simulation"
    if parts[0] == "boards" and (path.parent / "board.toml").exists():
        return f"board {parts[1]}"
    if path.suffix == ".pyi" or is_protocol(node):
        return "port"
    return "class"


def shared() -> dict[str, list[str]]:
    """Return each name that two classes of one kind bear, with the files they stand in."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path in files():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                # A stub beside its module describes the same class once more.
                where = path.relative_to(ROOT).with_suffix("").as_posix()
                places = found[node.name, kind_of(path, node)]
                places += [where] * (where not in places)
    # A class of a board is also compared with the classes of everybody.
    for (name, kind), paths in list(found.items()):
        if kind.startswith("board ") and (name, "class") in found:
            found[name, "class"] += paths
    return {name: paths for (name, _), paths in sorted(found.items()) if len(paths) > 1}


def test_one_word_one_thing() -> None:
    assert shared() == {}, "rename one of the two by the term of its field"
