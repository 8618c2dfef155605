"""Nothing in the product swallows a cancellation, except named places with a reason.

What is looked for: handlers of CancelledError, of BaseException or of everything that do not end
with a ``raise``; ``suppress`` of these; ``wait_for``, which drops a cancellation up to Python 3.11;
``shield``, which leaves a task behind; ``except*``, in whose place a cancellation of the group is
lost; and endless loops of a coroutine that do not ask whether it was cancelled.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.paths import ROOT

PACKAGES: Final = ("gateway_agent", "protocols", "boards", "hil")
CANCELLING: Final = {"BaseException", "CancelledError"}
LOSING: Final = {"wait_for": "asyncio.wait_for", "shield": "asyncio.shield"}
ASKS: Final = "raise_if_cancelled"

# File, function, what: why it loses nothing.
PLACES: Final = {
    ("boards/flash/lanes.py", "run", "except"): "it is a thread; who started it raises it again",
    ("gateway_agent/agent.py", "_run", "except*"): "what it caught is raised after it",
    ("gateway_agent/cancellation.py", "whatever_comes", "except"): "raised when the work is done",
    ("gateway_agent/field/commit_queue.py", "_outcome", "shield"): "the next call awaits the rest",
    ("gateway_agent/field/line_silence.py", "fall", "loop"): "it has a limit, DRAIN_S",
    ("gateway_agent/field/field.py", "run", "except"): "the handler around it raises",
    ("gateway_agent/threads.py", "call", "except"): "it is no coroutine; the future gets it",
    ("hil/site/broker.py", "_accept", "except"): "it is the last thing that this task does",
}
# The bench may wait as it likes: what it waits for has a limit of its own, and a test around it.
ONLY_IN_THE_AGENT: Final = {"loop", "wait_for", "shield"}


class Finder(ast.NodeVisitor):
    """Collects (function, what, line) of one module."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str, int]] = []
        self._functions = [("<module>", False)]  # name, and whether it is a coroutine

    def _add(self, what: str, node: ast.stmt | ast.expr | ast.excepthandler) -> None:
        self.found.append((self._functions[-1][0], what, node.lineno))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._function(node, False)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._function(node, True)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, is_async: bool) -> None:
        self._functions.append((node.name, is_async))
        self.generic_visit(node)
        self._functions.pop()

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        catches = node.type is None or CANCELLING & names(node.type)
        if catches and not isinstance(node.body[-1], ast.Raise):
            self._add("except", node)
        self.generic_visit(node)

    def visit_TryStar(self, node: ast.TryStar) -> None:
        self._add("except*", node)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        name = ast.unparse(node.func)
        if name in LOSING.values():
            self._add(name.removeprefix("asyncio."), node)
        if name.endswith("suppress") and any(CANCELLING & names(item) for item in node.args):
            self._add("suppress", node)
        self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        if self._functions[-1][1] and isinstance(node.test, ast.Constant):
            calls = {
                ast.unparse(item.func) for item in ast.walk(node) if isinstance(item, ast.Call)
            }
            if ASKS not in calls:
                self._add("loop", node)
        self.generic_visit(node)


def names(node: ast.expr) -> set[str]:
    """The last parts of the names in an expression of exception types."""
    found = {item.id for item in ast.walk(node) if isinstance(item, ast.Name)}
    return found | {item.attr for item in ast.walk(node) if isinstance(item, ast.Attribute)}


def found_in(path: Path, text: str) -> Iterator[tuple[tuple[str, str, str], int]]:
    """Every place in a module, with its line."""
    finder = Finder()
    finder.visit(ast.parse(text))
    name = str(path.relative_to(ROOT))
    for function, what, line in finder.found:
        if what not in ONLY_IN_THE_AGENT or name.startswith("gateway_agent/"):
            yield (name, function, what), line


def test_no_cancellation_is_swallowed() -> None:
    modules = [path for name in PACKAGES for path in sorted((ROOT / name).rglob("*.py"))]
    assert len(modules) > 200
    found: dict[tuple[str, str, str], list[int]] = {}
    for path in modules:
        if "scenarios" not in path.parts:  # tests
            for place, line in found_in(path, path.read_text(encoding="utf-8")):
                found.setdefault(place, []).append(line)
    new = {place: lines for place, lines in found.items() if place not in PLACES}
    assert not new, "raise it, or name the place in PLACES with a reason"
    assert not [place for place in PLACES if place not in found], "these are no longer there"
    assert not {place: lines for place, lines in found.items() if len(lines) > 1}


AGENT = ROOT / "gateway_agent" / "x.py"
SWALLOWS = [
    ("except", "try:\n  await x\n except BaseException:\n  pass"),
    ("except", "try:\n  await x\n except:\n  log()"),
    ("except", "try:\n  await x\n except (OSError, asyncio.CancelledError):\n  return"),
    ("except*", "try:\n  await x\n except* OSError:\n  pass"),
    ("suppress", "with contextlib.suppress(asyncio.CancelledError, OSError):\n  await x"),
    ("suppress", "with suppress(BaseException):\n  await x"),
    ("wait_for", "await asyncio.wait_for(x, 1)"),
    ("shield", "await asyncio.shield(x)"),
    ("loop", "while True:\n  await x"),
]


@pytest.mark.parametrize(("what", "text"), SWALLOWS)
def test_each_way_to_swallow_one_is_found(what: str, text: str) -> None:
    assert list(found_in(AGENT, f"async def f():\n {text}")) == [
        (("gateway_agent/x.py", "f", what), 4 if what == "except" else 2)
    ]


@pytest.mark.parametrize(
    "text",
    [
        "try:\n  await x\n except BaseException:\n  log()\n  raise",
        "try:\n  await x\n except Exception:\n  pass",
        "while True:\n  raise_if_cancelled(task)\n  await x",
        "while not done:\n  await x",
        "with suppress(TimeoutError):\n  await x",
    ],
)
def test_what_swallows_none_is_not(text: str) -> None:
    assert not list(found_in(AGENT, f"async def f():\n {text}"))
