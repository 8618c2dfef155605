"""``tianfu-hil doctor``: what is missing for each engine, and does what is there work?"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.text import Text

from hil.engines.registry import KINDS, EngineKind, available
from hil.tools import BUILD_TOOLS, SUITE_TOOLS, Tool
from protocols.exit_status import FAULT

#: Called with what the user waits for.
ShowProgress = Callable[[str], None]

_START_S: Final = 60.0
_UID: Final = "00" * 11 + "d0"


@dataclass(slots=True)
class Requirement:
    """One thing that an engine needs. ``problem`` empty: it is there; ``remedy`` mends it."""

    name: str
    found: str = ""
    problem: str = ""
    remedy: str = ""


@dataclass(slots=True)
class Diagnosis:
    """The state of one engine; ``boot_line`` is the first line of the node that was started."""

    engine: str
    checks: list[Requirement] = field(default_factory=list)
    boot_line: str = ""
    seconds: float = 0.0

    @property
    def works(self) -> bool:
        """Return True if the node came up on it."""
        return bool(self.boot_line)

    @property
    def problem(self) -> str:
        """Return the first problem, empty if there is none."""
        return next((f"{c.name}: {c.problem}" for c in self.checks if c.problem), "")

    def plain(self) -> dict[str, object]:
        """Return what ``--json`` prints."""
        return {
            "engine": self.engine,
            "checks": [asdict(check) for check in self.checks],
            "said": self.boot_line,
            "seconds": self.seconds,
            "works": self.works,
            "problem": self.problem,
        }


def _silent(_text: str) -> None:
    """Show no progress."""


def doctor(
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show what each engine lacks and how to install it; start each one that is there.

    Example: tianfu-hil doctor

    Exit status 1: no engine works.
    """
    console = Console(highlight=False, soft_wrap=True)
    progress = Console(stderr=True, highlight=False, soft_wrap=True)
    with progress.status("looking for engines") as status:

        def show(text: str) -> None:
            status.update(text)
            if not progress.is_terminal:
                progress.print(f"... {text}")

        diagnoses = []
        for kind in KINDS.values():
            show(f"looking at engine {kind.name}")
            diagnosis = diagnose(kind, show)
            diagnoses.append(diagnosis)
            if not json_output:
                _show(console, diagnosis)
    tools = [tool_check(tool) for tool in SUITE_TOOLS]
    if json_output:
        engines = {diagnosis.engine: diagnosis.plain() for diagnosis in diagnoses}
        found = {"engines": engines, "tools": [asdict(tool) for tool in tools]}
        typer.echo(json.dumps(found, indent=1))
    else:
        _show_tools(console, tools)
    if not any(d.works for d in diagnoses):
        raise typer.Exit(FAULT)


def tool_check(tool: Tool) -> Requirement:
    """Look for one program besides the engines."""
    found = tool.find()
    if found is None:
        return Requirement(tool.name, "", f"not found; needed for {tool.purpose}", tool.remedy)
    return Requirement(tool.name, found=str(found))


def diagnose(kind: EngineKind, show: ShowProgress = _silent) -> Diagnosis:
    """Look at everything ``kind`` needs, then start a node on it."""
    result = Diagnosis(kind.name)
    probe = available(kind)
    where = f"{probe.program} {probe.version}" if probe.program else ""
    result.checks.append(Requirement("program", where, probe.problem, probe.remedy))
    image = None
    if kind.runs_image and not probe.problem:
        check, image = _image(kind.board, show)
        result.checks += check
    if result.problem:
        return result
    show(f"starting a node on {kind.name}")
    begun = time.monotonic()
    try:
        result.boot_line = asyncio.run(_start(kind, image))
    except Exception as error:  # noqa: BLE001 - whatever it is, the user sees it
        result.checks.append(Requirement("start", problem=str(error) or type(error).__name__))
    result.seconds = round(time.monotonic() - begun, 2)
    return result


def _image(board: str, show: ShowProgress) -> tuple[list[Requirement], Path | None]:
    """Return the checks of the board's image, and the image, built if its tools are there."""
    checks = [tool_check(tool) for tool in BUILD_TOOLS]
    if any(check.problem for check in checks):
        return checks, None
    from hil.engines.images import image_of
    from hil.errors import ImageError

    try:
        image = image_of(board, show)
    except ImageError as error:
        return [*checks, Requirement("image", problem=str(error), remedy=error.remedy)], None
    return [*checks, Requirement("image", found=str(image))], image


async def _start(kind: EngineKind, image: Path | None) -> str:
    """Start one node; return its boot line."""
    from hil.engines.base import NodeSpec

    with tempfile.TemporaryDirectory(prefix="hil-") as folder:
        async with kind.make(image, 0) as engine:
            spec = NodeSpec("doctor", "water", _UID, key="00" * 32)
            board = await engine.board(spec, Path(folder))
            boot = await board.start(_START_S)
            return json.dumps(dict(boot))


def _show(console: Console, diagnosis: Diagnosis) -> None:
    head = Text(diagnosis.engine, style="bold")
    state = "works" if diagnosis.works else "does not run here"
    head.append(f"  {state}", style="green" if diagnosis.works else "red")
    console.print(head)
    for check in diagnosis.checks:
        _line(console, check)
    if diagnosis.works:
        console.print(
            f"  after {diagnosis.seconds:.1f} s the node came up: {diagnosis.boot_line}",
            markup=False,
        )


def _show_tools(console: Console, tools: list[Requirement]) -> None:
    console.print(Text("tools", style="bold"))
    for tool in tools:
        _line(console, tool)


def _line(console: Console, check: Requirement) -> None:
    good = Text("ok      ", style="green") if not check.problem else Text("problem ", style="red")
    console.print(Text("  ") + good + Text(f"{check.name}: {check.problem or check.found}"))
    if check.remedy and check.problem:
        console.print(Text(f"          {check.remedy}", style="bold"))
