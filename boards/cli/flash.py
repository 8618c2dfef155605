"""``tianfu-node flash``: from a blank board to a node that has proven itself, in one command."""

import dataclasses
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, TaskID

from boards.application import release_publics
from boards.errors import BoardError
from boards.flash.an3155 import FIRST_BAUD
from boards.flash.detect import FlashWish, MissingOptions, completed
from boards.flash.run import FlashReport, FlashRequest
from boards.flash.run import flash as run
from boards.folder import default_name
from boards.ports import serial_ports
from boards.provision import setting
from protocols.exit_status import FAULT, UNUSABLE
from protocols.identity import UID_PATTERN, UID_RULE

from .flash_lanes import run_lanes


def flash(
    port: Annotated[
        str | None,
        typer.Option(
            help="Serial port of the bootloader; dfu: USB path, swd: the ST-LINK's serial number."
        ),
    ] = None,
    role: Annotated[str | None, typer.Option(help="air, water or camera.")] = None,
    unit: Annotated[
        int | None,
        typer.Option(min=1, max=247, help="Modbus address; without it the next free one is asked."),
    ] = None,
    bus_port: Annotated[
        str | None,
        typer.Option(help="Serial port of the node's own bus, where it proves itself."),
    ] = None,
    board: Annotated[
        str | None,
        typer.Option(help="A board of `tianfu-node boards`; without it the default board."),
    ] = None,
    baud: Annotated[
        int,
        typer.Option(help="Speed of the bootloader's port; 115200 if it is more and not heard."),
    ] = FIRST_BAUD,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=N", help="A setting of docs/registers.md, raw value."),
    ] = None,
    image: Annotated[
        Path | None, typer.Option(help="The image; without it the board's own, built if need be.")
    ] = None,
    keys: Annotated[Path, typer.Option(help="Folder for the nodes' keys.")] = Path("keys"),
    log: Annotated[Path, typer.Option(help="The station log.")] = Path("station.jsonl"),
    labels: Annotated[Path, typer.Option(help="Folder for the labels.")] = Path("labels"),
    label: Annotated[
        bool, typer.Option("--label/--no-label", help="Draw a label: PNG, PDF and ZPL.")
    ] = True,
    lanes: Annotated[
        str | None,
        typer.Option(
            metavar="auto|BOOTLOADER=BUS,...",
            help="Flash boards side by side: auto takes the two ports of each adapter or hub.",
        ),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="With --lanes: how many boards.")] = 1,
    bell: Annotated[bool, typer.Option("--bell", help="With --lanes: ring if needed.")] = False,
    unlock: Annotated[
        bool,
        typer.Option("--unlock", help="Of a chip that is read-out protected: erase it all."),
    ] = False,
    replaces: Annotated[
        str, typer.Option(metavar="ID", help="The unique id of the broken node it continues.")
    ] = "",
    method: Annotated[
        str,
        typer.Option(help="uart, dfu or swd, for an own image; without it the board's first."),
    ] = "",
    firmware: Annotated[
        Path | None,
        typer.Option(help="MicroPython's release, for a stock board that has none."),
    ] = None,
    release_keys: Annotated[
        list[Path] | None,
        typer.Option("--release-key", help="Public key (PEM) whose updates it takes; at most two."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done; write nothing.")
    ] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object (a line a board).")
    ] = False,
) -> None:
    """Flash a board by the bootloader in its ROM, provision it, and let the node prove itself.

    Without options it looks for the board and asks for what it cannot find out.
    Example: tianfu-node flash --port /dev/ttyUSB0 --bus-port /dev/ttyUSB1 --role air --unit 7

    Set BOOT0 high and connect the board before; when it asks, set BOOT0 low and take the board's
    power away and give it back. If anything fails, repeat the same command: it begins anew. Never
    tried on a real board yet, only on models of the bootloader and the chip. Exit status 0: the
    node has proven itself twice, 1: not; docs/errors.md explains the codes of errors.
    """
    console = Console(stderr=True)
    wish = FlashWish(port, bus_port, role, unit, board, needs_bus=not dry_run, method=method)
    if lanes is not None:
        wish = FlashWish("", "", role, unit or 1, board, needs_bus=False, method=method)
    try:
        named = dict(map(setting, settings or []))
        technician = _AtTerminal() if sys.stdin.isatty() and not json_output else None
        show_wish = _proposal(console if lanes is None else Console(quiet=True))
        wish = completed(wish, log, baud, serial_ports, technician, show_wish)
        request = FlashRequest(
            wish.board or default_name(),
            wish.role or "",
            {**named, "unit_id": wish.unit or 0},
            wish.port or "",
            baud,
            wish.bus_port or "",
            keys,
            log,
            image,
            labels if label else None,
            unlock,
            dry_run,
            replaces=_replaced(replaces, lanes),
            method=wish.method,
            firmware=firmware,
            release=release_publics(release_keys or []),
        )
        if lanes is not None:
            run_lanes(request, lanes, count, json_output, bell)
            return
        with Progress(console=console, transient=True) as bars:
            report = run(request, _Checklist(console, bars))
    except MissingOptions as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(UNUSABLE) from error
    except BoardError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(FAULT) from error
    show(report, json_output)


def _replaced(text: str, lanes: str | None) -> str:
    uid = text.lower()
    if uid and (lanes is not None or not re.fullmatch(UID_PATTERN, uid)):
        raise BoardError(
            f"--replaces: expected the {UID_RULE} on the label of the broken node, for one board "
            f"and without --lanes, got {text}"
        )
    return uid


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
            + (f"\nStick this label on: {report.label[1]}" if report.label else "")
        )


def _proposal(console: Console) -> Callable[[str], None]:
    return lambda text: console.print(text, markup=False, highlight=False)


class _AtTerminal:
    """The technician, who answers at the terminal."""

    def choose(self, question: str, choices: Sequence[str]) -> str:
        """Ask for one of them by its number; the first is the default."""
        for number, each in enumerate(choices, 1):
            typer.echo(f"  {number} {each}", err=True)
        return choices[_asked(question, 1, len(choices)) - 1]

    def number(self, question: str, default: int) -> int:
        """Ask for a number."""
        return _asked(question, default, 247)


def _asked(question: str, default: int, highest: int) -> int:
    """Ask for a number from 1 on until one is typed that may be."""
    while True:
        number: int = typer.prompt(question, default=default, type=int, err=True)
        if 1 <= number <= highest:
            return number
        typer.echo(f"expected 1 to {highest}, got {number}", err=True)


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
