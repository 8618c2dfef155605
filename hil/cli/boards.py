"""``tianfu-hil boards``: the capabilities of each engine, as table or JSON."""

from __future__ import annotations

import json
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hil.engines.abilities import Capability
from hil.engines.registry import KINDS, EngineKind, available

#: What a test can rely on where an engine has the capability.
MEANING: Final = {
    Capability.IMAGE: "runs the board's own image",
    Capability.REPL: "console ends in a REPL",
    Capability.MPREMOTE: "mpremote can connect",
    Capability.VIRTUAL_TIME: "has a clock of its own",
    Capability.PAUSE: "its clock can be stopped",
    Capability.FLASH_IMAGE: "boots from given flash contents",
    Capability.FLASH_WRITES: "what is stored survives a reset",
    Capability.POWER_CUT_AT_FLASH: "power cut at the n-th flash operation",
    Capability.WARM_RESET: "a reset that keeps RAM",
    Capability.WATCHDOG: "a wedged node is reset",
    Capability.RESET_CAUSE: "and its cause can be read",
    Capability.UNIQUE_ID: "serial number can be chosen",
    Capability.I2C: "I2C parts",
    Capability.ONEWIRE: "1-Wire parts",
    Capability.ADC: "analog inputs",
}


def boards(
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show what each board can do on each engine, and which engines are there.

    Example: tianfu-hil boards
    """
    if json_output:
        typer.echo(json.dumps({kind.name: _plain(kind) for kind in KINDS.values()}, indent=1))
        return
    console = Console(soft_wrap=True)
    console.print(table(), soft_wrap=False)
    for kind in KINDS.values():
        probe = available(kind)
        state = f"{probe.version}" if not probe.problem else f"not here: {probe.problem}"
        console.print(Text(f"{kind.name}: {kind.title}, runs board {kind.board}; {state}"))


def table() -> Table:
    """Return the table of capabilities by engine."""
    shown = Table(title="capability by engine", title_justify="left")
    shown.add_column("needs(...)")
    for name in KINDS:
        shown.add_column(name, justify="center")
    shown.add_column("meaning")
    for capability in Capability:
        cells = [
            Text("yes", style="green") if capability in kind.capabilities else Text("-")
            for kind in KINDS.values()
        ]
        shown.add_row(capability.value, *cells, MEANING[capability])
    return shown


def _plain(kind: EngineKind) -> dict[str, object]:
    probe = available(kind)
    return {
        "title": kind.title,
        "board": kind.board,
        "version": probe.version or None,
        "problem": probe.problem or None,
        "capabilities": sorted(capability.value for capability in kind.capabilities),
        "lacks": {capability.value: why for capability, why in kind.lacks.items()},
    }
