"""``tianfu-hil bench``: a bench that stays up, for work by hand."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from protocols.exit_status import FAULT, UNUSABLE

if TYPE_CHECKING:
    from hil.bench import Bench
    from hil.benchfile import BenchFile
    from hil.engines.registry import EngineKind


def bench(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="The bench, in TOML.", show_default=False),
    ] = None,
    example: Annotated[bool, typer.Option("--example", help="Print an example file.")] = False,
    engine: Annotated[
        str | None, typer.Option("--engine", metavar="NAME", help="In place of the file's.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option("--seconds", metavar="S", help="End by itself after so long.")
    ] = None,
) -> None:
    """Start boards, line and parts, show how to connect, and leave them running until Ctrl-C.

    Example: tianfu-hil bench --example > my.toml && tianfu-hil bench my.toml
    """
    from dataclasses import replace

    from hil.benchfile import EXAMPLE, BenchFileError, read_bench
    from hil.engines.images import image_of
    from hil.engines.registry import KINDS, available
    from hil.errors import EngineError, ImageError

    if example:
        typer.echo(EXAMPLE, nl=False)
        return
    if file is None:
        raise typer.BadParameter("expected a file; `tianfu-hil bench --example` prints one")
    try:
        plan = read_bench(file)
        if engine is not None:
            if engine not in KINDS:
                raise BenchFileError(f"--engine: expected one of {', '.join(KINDS)}, got {engine}")
            plan = replace(plan, engine=engine)
    except BenchFileError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(UNUSABLE) from error
    kind = KINDS[plan.engine]
    probe = available(kind)
    if probe.problem:
        typer.echo(f"engine {kind.name}: {probe.problem}. {probe.remedy}", err=True)
        raise typer.Exit(FAULT)
    try:
        image = image_of(kind.board, _show_progress) if kind.runs_image else None
        asyncio.run(_serve(plan, kind, image, seconds))
    except (EngineError, ImageError, LookupError, OSError) as error:
        typer.echo(f"the bench did not come up: {error}", err=True)
        raise typer.Exit(FAULT) from error


def _show_progress(text: str) -> None:
    """Show what the user waits for."""
    typer.echo(f"... {text}", err=True)


async def _serve(
    plan: BenchFile, kind: EngineKind, image: Path | None, seconds: float | None
) -> None:
    from hil.bench import Bench
    from hil.sim.chengdu import Chengdu

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    with tempfile.TemporaryDirectory(prefix="hil-") as folder:
        made = Bench(
            Path(folder),
            Chengdu(),
            engine=kind.make(image, plan.seed),
            places=plan.places,
            settings=plan.settings,
            seed=plan.seed,
            baud=plan.baud,
        )
        async with made:
            _apply_faults(made, plan)
            await made.power_on()
            _show(made, plan)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), seconds)
    typer.echo("bench ended")


def _apply_faults(made: Bench, plan: BenchFile) -> None:
    for node, parts in plan.parts.items():
        for name, fault in parts.items():
            if name not in made.parts[node]:
                known = ", ".join(made.parts[node])
                raise LookupError(f"parts.{node}: expected one of {known}, got {name!r}")
            try:
                made.parts[node][name].fault = fault
            except ValueError as error:
                raise LookupError(f"parts.{node}.{name}: {error}") from error
    for disturbance in plan.faults:
        made.line.inject(disturbance)
    for node, disturbances in plan.link_faults.items():
        for disturbance in disturbances:
            made.links[node].inject(disturbance)


def _show(made: Bench, plan: BenchFile) -> None:
    from hil.engines.abilities import HasRepl
    from protocols.wire.registers import map_of_role

    typer.echo(f"engine {plan.engine}, seed {plan.seed}, {len(made.places)} nodes on one line")
    typer.echo(f"line: {made.port}  (Modbus RTU, 9600 8N1)")
    for place in made.places:
        board = made.nodes[place.name]
        words = map_of_role(place.role).words
        typer.echo(f"\nnode {place.name}: role {place.role}, address {place.unit}")
        typer.echo(f"  uid {board.spec.uid}, key {board.spec.key}")
        typer.echo(f"  boot line {dict(board.boot)}")
        if place.name in made.links:
            typer.echo(f"  link    {made.link_port(place.name)}  ({board.spec.link_baud} 8N1)")
        typer.echo(f"  log     {board.folder / 'console.log'}")
        if isinstance(board, HasRepl):
            typer.echo(f"  console {board.repl().path}")
            typer.echo(f"  mpremote connect {board.repl().path} resume repl")
        for name, part in made.parts[place.name].items():
            typer.echo(f"  part    {name}: {part.fault}")
        poll = f"-m rtu -b 9600 -P none -a {place.unit} -t 3:hex -0 -r 0 -c {words} -1"
        typer.echo(f"  mbpoll {poll} {made.port}")
    typer.echo("\nCtrl-C ends it.")
