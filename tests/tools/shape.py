"""Show the plan of the house: rooms, modules, lines, imports and circles of each package.

``tox run -e shape`` prints it as a table; ``--json`` prints the same figures for a script, and a
folder as argument measures another checkout. The figures come from grimp, which import-linter uses
too; imports for type checking alone count, because a reader follows them as well. Lines are those
of the Python files, stubs (.pyi) included.

A room of a package is a folder in it, with all below, or a module that stands beside the folders;
between two rooms there is an arrow if a module of one imports a module of the other. A circle is a
strongly connected component: modules, or rooms, of which each reaches every other by imports.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypedDict

import grimp

from tests.paths import ROOT

PACKAGES = ("boards", "firmware", "gateway_agent", "hil", "protocols")


class Circle(TypedDict):
    """Modules or rooms that import each other, and the imports that close the circle."""

    modules: list[str]
    edges: list[str]


class PackageShape(TypedDict):
    """The figures of one package."""

    rooms: int
    arrows: int
    modules: int
    lines: int
    edges_inside: int
    edges_out: dict[str, int]
    largest: str
    largest_lines: int
    circles: int


class Shape(TypedDict):
    """The figures of the whole project."""

    packages: dict[str, PackageShape]
    circles: list[Circle]
    room_circles: list[Circle]


def components(arrows: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Return the strongly connected components of two or more modules, by Tarjan's algorithm."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(start: str) -> None:
        work = [(start, iter(arrows.get(start, ())))]
        index[start] = low[start] = len(index)
        stack.append(start)
        while work:
            module, targets = work[-1]
            for target in targets:
                if target not in index:
                    index[target] = low[target] = len(index)
                    stack.append(target)
                    work.append((target, iter(arrows.get(target, ()))))
                    break
                if target in stack:
                    low[module] = min(low[module], index[target])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[module])
                if low[module] == index[module]:
                    at = stack.index(module)
                    if len(stack) - at > 1:
                        found.append(sorted(stack[at:]))
                    del stack[at:]

    for module in arrows:
        if module not in index:
            visit(module)
    return sorted(found)


def lines_of(root: Path, package: str) -> dict[str, int]:
    """Return the number of lines of each Python file of a package, by path."""
    return {
        path.relative_to(root).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in sorted((root / package).rglob("*.py*"))
        if path.suffix in (".py", ".pyi") and "__pycache__" not in path.parts
    }


def circles_of(arrows: Mapping[str, set[str]]) -> list[Circle]:
    """Return every circle with the imports between its members."""
    return [
        {
            "modules": modules,
            "edges": [f"{a} -> {b}" for a in modules for b in sorted(arrows[a] & set(modules))],
        }
        for modules in components(arrows)
    ]


def room_of(module: str) -> str:
    """Return the room that a module is in: the first two parts of its name."""
    return ".".join(module.split(".")[:2])


def room_arrows(arrows: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Return the arrows between rooms, from those between modules."""
    found: dict[str, set[str]] = {}
    for module, targets in arrows.items():
        found.setdefault(room_of(module), set()).update(room_of(target) for target in targets)
    for room, others in found.items():
        others.discard(room)
    return found


def measure(root: Path) -> Shape:
    """Return the figures of the checkout at ``root``, which must be first on ``sys.path``."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    arrows = {
        module: set(graph.find_modules_directly_imported_by(module)) for module in graph.modules
    }
    plan = room_arrows(arrows)
    circles = circles_of(arrows)
    packages: dict[str, PackageShape] = {}
    for package in PACKAGES:
        own = [module for module in arrows if module.split(".")[0] == package]
        rooms = [room for room in plan if room.startswith(f"{package}.")]
        targets = [target.split(".")[0] for module in own for target in arrows[module]]
        lines = lines_of(root, package)
        largest = max(lines, key=lambda path: lines[path])
        packages[package] = {
            "rooms": len(rooms),
            "arrows": sum(target in rooms for room in rooms for target in plan[room]),
            "modules": len(own),
            "lines": sum(lines.values()),
            "edges_inside": targets.count(package),
            "edges_out": {
                other: targets.count(other) for other in sorted(set(targets)) if other != package
            },
            "largest": largest,
            "largest_lines": lines[largest],
            "circles": sum(
                all(module.split(".")[0] == package for module in circle["modules"])
                for circle in circles
            ),
        }
    return {"packages": packages, "circles": circles, "room_circles": circles_of(plan)}


def table(shape: Shape) -> str:
    """Return the figures as text for people: a Markdown table, then the circles."""
    rows = [
        (
            "| package | rooms | arrows | modules | lines | imports inside "
            "| imports of other packages | circles | largest file |"
        ),
        "|---|---:|---:|---:|---:|---:|---|---:|---|",
    ]
    for name, figures in shape["packages"].items():
        out = ", ".join(f"{other} {count}" for other, count in figures["edges_out"].items())
        rows.append(
            f"| {name} | {figures['rooms']} | {figures['arrows']} | {figures['modules']} "
            f"| {figures['lines']} | {figures['edges_inside']} | {out or 'none'} "
            f"| {figures['circles']} | {figures['largest']} ({figures['largest_lines']}) |"
        )
    every = shape["packages"].values()
    rows.append(
        f"| all | {sum(one['rooms'] for one in every)} "
        f"| {sum(one['arrows'] for one in every)} | {sum(one['modules'] for one in every)} "
        f"| {sum(one['lines'] for one in every)} | {sum(one['edges_inside'] for one in every)} "
        f"| {sum(sum(one['edges_out'].values()) for one in every)} | {len(shape['circles'])} | |"
    )
    for what, circles in (("modules", shape["circles"]), ("rooms", shape["room_circles"])):
        for circle in circles:
            members = ", ".join(circle["modules"])
            rows += ["", f"circle of {what}: {members}", *circle["edges"]]
    return "\n".join(rows)


def main() -> None:
    """Print the figures of this checkout, or of the one that is named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("root", nargs="?", type=Path, default=ROOT, help="another checkout")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    root = options.root.resolve()
    sys.path.insert(0, str(root))
    shape = measure(root)
    print(json.dumps(shape, indent=2) if options.json else table(shape))


if __name__ == "__main__":
    main()
