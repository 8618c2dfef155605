"""``tianfu-node boards``: the boards there are."""

import json
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from boards import spec as specs
from boards.errors import BoardError
from protocols.exit_status import FAULT

KIB = 1024
_PIPE_WIDTH = 200


def boards(
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List the boards: chip, memory, how the firmware gets onto it, what can emulate it."""
    try:
        found = [specs.load(name) for name in specs.names()]
    except BoardError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(FAULT) from error
    if json_output:
        rows = [
            {
                "name": spec.board.name,
                "title": spec.board.title,
                "mcu": spec.board.mcu,
                "port": spec.board.port,
                "flash_bytes": spec.memory.flash,
                "ram_bytes": spec.memory.ram,
                "image_bytes_max": spec.memory.image,
                "heap_bytes_min": spec.memory.heap,
                "flash_method": spec.flash.method,
                "flash_methods": _methods(spec),
                "engines": spec.emulation.engines,
                "seen_on_silicon": spec.board.seen or None,
                "own_image": spec.has_image,
            }
            for spec in found
        ]
        typer.echo(json.dumps({"boards": rows}))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    for name in (
        "board",
        "chip",
        "flash",
        "RAM",
        "firmware",
        "flashed by",
        "emulated by",
        "seen on silicon",
    ):
        table.add_column(name, no_wrap=True)
    for spec in found:
        table.add_row(
            spec.board.name,
            spec.board.mcu,
            _kib(spec.memory.flash),
            _kib(spec.memory.ram),
            "own image" if spec.has_image else f"stock {spec.board.port}",
            ", ".join(_methods(spec)) or "-",
            ", ".join(spec.emulation.engines) or "-",
            "-" if spec.board.port == "unix" else spec.board.seen or "never",
        )
    console = Console()
    if not console.is_terminal:
        console.width = _PIPE_WIDTH  # nothing is cut off for the reader behind a pipe
    console.print(table)
    typer.echo("An own image is built by: tianfu-node build BOARD")


def _methods(spec: specs.Spec) -> list[str]:
    """Return the ways onto the board, the usual one first; a stock board's files go by its REPL."""
    own = [] if spec.flash.method == "none" else [spec.flash.method]
    return [*own, *spec.flash.also, *(["files over REPL"] if spec.stubs else [])]


def _kib(size: int | None) -> str:
    return "-" if size is None else f"{size // KIB} KiB"
