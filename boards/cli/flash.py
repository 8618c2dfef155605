"""``tianfu-node flash``: from a blank board to a node that has proven itself, in one command."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, TaskID

from boards.errors import BoardError
from boards.flash.run import FlashReport, FlashRequest
from boards.flash.run import flash as run
from boards.folder import default_name
from boards.provision import setting
from protocols.exit_status import FAULT, UNUSABLE


def flash(
    port: Annotated[str, typer.Option(help="Serial port of the board's bootloader.")],
    role: Annotated[str, typer.Option(help="air, water or camera.")],
    unit: Annotated[int, typer.Option(min=1, max=247, help="Modbus address of the node.")],
    bus_port: Annotated[
        str | None,
        typer.Option(help="Serial port of the node's own bus, where it proves itself."),
    ] = None,
    board: Annotated[
        str | None,
        typer.Option(help="A board of `tianfu-node boards`; without it the default board."),
    ] = None,
    baud: Annotated[int, typer.Option(help="Speed of the bootloader's port.")] = 115200,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=N", help="A setting of docs/registers.md, raw value."),
    ] = None,
    image: Annotated[
        Path | None, typer.Option(help="The image; without it the board's own, built if need be.")
    ] = None,
    keys: Annotated[Path, typer.Option(help="Folder for the nodes' keys.")] = Path("keys"),
    log: Annotated[Path, typer.Option(help="The station log.")] = Path("station.jsonl"),
    unlock: Annotated[
        bool,
        typer.Option("--unlock", help="Of a chip that is read-out protected: erase it all."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done; write nothing.")
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Flash a board by the bootloader in its ROM, provision it, and let the node prove itself.

    Example: tianfu-node flash --port /dev/ttyUSB0 --bus-port /dev/ttyUSB1 --role air --unit 7

    Set BOOT0 high and connect the board before; when it asks, set BOOT0 low and take the board's
    power away and give it back. If anything fails, repeat the same command: it begins anew. Never
    tried on a real board yet, only on models of the bootloader and the chip. Exit status 0: the
    node has proven itself twice, 1: not; docs/errors.md explains the codes of errors.
    """
    if bus_port is None and not dry_run:
        typer.echo(
            "--bus-port: expected the port of the node's bus: a board that has not proven itself "
            "is not flashed (--dry-run needs none)",
            err=True,
        )
        raise typer.Exit(UNUSABLE)
    console = Console(stderr=True)
    try:
        request = FlashRequest(
            board or default_name(),
            role,
            {**dict(map(setting, settings or [])), "unit_id": unit},
            port,
            baud,
            bus_port or "",
            keys,
            log,
            image,
            unlock,
            dry_run,
        )
        with Progress(console=console, transient=True) as bars:
            report = run(request, _Checklist(console, bars))
    except BoardError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(FAULT) from error
    show(report, json_output)


def show(report: FlashReport, json_output: bool) -> None:
    """Print what was done."""
    if json_output:
        fields = dataclasses.asdict(report)
        typer.echo(json.dumps(fields, default=str))
    elif report.proof is None:
        typer.echo("dry run: nothing was written")
    else:
        typer.echo(
            f"PROVEN twice: board {report.uid} in {report.seconds:.0f} s and "
            f"{len(report.human_actions)} human actions. Its key, for the gateway and the "
            f"collector: {report.key_file}"
        )


class _Checklist:
    """The steps on the terminal: a bar while one runs, a line when it is done."""

    def __init__(self, console: Console, bars: Progress) -> None:
        self._console = console
        self._bars = bars
        self._step = ""
        self._bar: TaskID | None = None

    def begin(self, step: str) -> None:
        """Show a bar."""
        self._step = step
        self._remove()
        self._bar = self._bars.add_task(step, total=None)

    def progress(self, done: int, total: int) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bars.update(self._bar, completed=done, total=total)

    def end(self, text: str) -> None:
        """Replace the bar by a line."""
        self._remove()
        self._console.print(f"[ok] {self._step}: {text}", markup=False, highlight=False)

    def ask(self, text: str) -> None:
        """Show what to do, until the step is done."""
        self._console.print(f"[you] {text}", markup=False, highlight=False)

    def _remove(self) -> None:
        if self._bar is not None:
            self._bars.remove_task(self._bar)
            self._bar = None
