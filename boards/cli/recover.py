"""``tianfu-node recover``: bring a board back, rung by rung."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from boards import spec as specs
from boards.errors import BoardError
from boards.flash.an3155 import FIRST_BAUD
from boards.flash.run import FlashRequest
from boards.flash.run import flash as flash_board
from boards.folder import default_name
from boards.probe.findings import FoundLoader
from boards.provision import node_key
from boards.recover.ladder import Ladder, RecoverPlan, RungFailed, RungResult
from boards.recover.pins import text
from protocols.exit_status import FAULT, UNUSABLE


def recover(
    port: Annotated[
        str | None, typer.Option(help="Serial port of the console, which the bootloader uses too.")
    ] = None,
    bus_port: Annotated[str | None, typer.Option(help="Serial port of the node's bus.")] = None,
    unit: Annotated[int, typer.Option(min=1, max=247, help="Modbus address of the node.")] = 1,
    baud: Annotated[int, typer.Option(help="Speed of the bus.")] = 9600,
    role: Annotated[
        str | None, typer.Option(help="air, water or camera, if its store does not show it.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="The node's key file, for the restart.")] = None,
    board: Annotated[
        str | None, typer.Option(help="A board of `tianfu-node boards`; else the default board.")
    ] = None,
    method: Annotated[
        str, typer.Option(help="uart, dfu or swd: how to reach the chip; else the board's first.")
    ] = "",
    keys: Annotated[Path, typer.Option(help="Folder for the nodes' keys.")] = Path("keys"),
    log: Annotated[Path, typer.Option(help="The station log.")] = Path("station.jsonl"),
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not wait for Enter: the board is in reach of nobody.")
    ] = False,
    pins: Annotated[bool, typer.Option("--pins", help="Only show where to connect what.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Bring a board back: soft reset, console, watchdog, chip without its firmware, flash anew.

    Example: tianfu-node recover --port /dev/ttyUSB0 --bus-port /dev/ttyUSB1 --unit 7

    Stops at the first means after which the node runs. Only the last one writes; it makes a new key
    and loses the settings. Exit status 0: the node runs, 1: it does not.
    """
    try:
        name = board or default_name()
        picture = text(specs.load(name))
        if pins:
            typer.echo(picture)
            return
        if port is None:
            typer.echo("--port: expected the port of the board's console", err=True)
            raise typer.Exit(UNUSABLE)
        secret = None if key is None else node_key(key)
        plan = RecoverPlan(name, port, bus_port, unit, baud, secret, method)

        def flash(found: FoundLoader | None) -> str:
            return _flash(plan, found, ladder.place, role, keys, log)

        results: list[RungResult] = []

        def done(result: RungResult) -> None:
            results.append(result)
            if not json_output:
                typer.echo(f"[{'ok' if result.works else '--'}] {result.rung}: {result.text}")

        ladder = Ladder(plan, _Hands(picture, yes), _Steps(), flash)
        works = ladder.climb(done)
    except BoardError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(FAULT) from error
    if json_output:
        typer.echo(json.dumps({"works": works, "rungs": [*map(dataclasses.asdict, results)]}))
    elif not works:
        typer.echo("the node does not run; docs/errors.md explains the codes of errors")
    if not works:
        raise typer.Exit(FAULT)


def _flash(
    plan: RecoverPlan,
    found: FoundLoader | None,
    place: str,
    role: str | None,
    keys: Path,
    log: Path,
) -> str:
    wanted = role or (found.role if found is not None else "")
    if not wanted:
        raise RungFailed("not tried: its store does not show its role, name it with --role")
    if plan.bus_port is None:
        raise RungFailed("not tried: a board that cannot prove itself is not flashed (--bus-port)")
    request = FlashRequest(
        board=plan.board,
        role=wanted,
        settings={"unit_id": plan.unit, "baud_div_100": plan.baud // 100},
        port=place,
        baud=FIRST_BAUD,
        method=plan.method,
        bus_port=plan.bus_port,
        keys=keys,
        log=log,
    )
    report = flash_board(request, _Steps())
    return f"flashed and proven; its new key: {report.key_file}"


class _Hands:
    """Asks at the terminal, with the picture of the pins once."""

    def __init__(self, picture: str, yes: bool) -> None:
        self._picture = picture
        self._yes = yes

    def asked(self, text: str) -> None:
        """Print what is to be done and wait for Enter."""
        if self._picture:
            typer.echo(self._picture, err=True)
            self._picture = ""
        typer.echo(f"Now {text}.", err=True)
        if not self._yes:
            typer.prompt("Then press Enter", default="", show_default=False, err=True)


class _Steps:
    """Shows steps as lines of standard error."""

    def begin(self, step: str) -> None:
        """Print what begins."""
        typer.echo(f"{step} ...", err=True)

    def progress(self, done: int, total: int) -> None:
        """Show nothing."""

    def end(self, text: str) -> None:
        """Print the result."""
        typer.echo(f"  {text}", err=True)

    def ask(self, text: str) -> None:
        """Print what to do, until the step is done."""
        typer.echo(f"[you] {text}", err=True)
