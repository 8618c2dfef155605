"""``tianfu-node build``: a board's firmware image."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from boards import build as images
from boards import spec as specs
from boards.application import build_application
from boards.errors import BoardError
from boards.provision import write_new
from protocols.exit_status import FAULT

KIB = 1024


def build(
    board: Annotated[str, typer.Argument(help="A board of `tianfu-node boards`.")],
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    clean: Annotated[
        bool, typer.Option("--clean", help="Build anew, also when nothing has changed.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Build once more elsewhere; compare every byte.")
    ] = False,
    application: Annotated[
        Path | None,
        typer.Option(help="A new file: an application for a slot of nodes that run --base."),
    ] = None,
    modules: Annotated[
        list[str] | None,
        typer.Option(
            "--module", help="A module of the application, such as firmware/node/bank.py."
        ),
    ] = None,
    base: Annotated[
        Path | None,
        typer.Option(help="The nodes' firmware.bin; without it the image that is built now."),
    ] = None,
    release: Annotated[int, typer.Option(help="Version of the application, from 1.")] = 1,
    floor: Annotated[
        int, typer.Option(help="Once confirmed, a node takes no version below this one.")
    ] = 0,
    rollback_from: Annotated[
        int, typer.Option(help="The version that nodes run which are to go back to this one.")
    ] = 0,
) -> None:
    """Build a board's image and hold it against the budget of its board.toml.

    Example: tianfu-node build BOARD --verify

    The MicroPython tree is the one MICROPYTHON_SRC names, or Debian's source package, fetched
    once through apt. Needs gcc-arm-none-eabi, libnewlib-arm-none-eabi, gcc and make.

    With --application it also makes what `tianfu-node sign` signs and an update brings to nodes in
    service: the named modules, which go before those in their image. Exit status 0: built and
    within the budget, 1: not.
    """
    console = Console(stderr=True)
    try:
        spec = specs.load(board)
        with console.status(f"{board}: looking at what has changed") as status:

            def progress(text: str) -> None:
                status.update(f"{board}: {text}")
                if not console.is_terminal:
                    console.print(f"{board}: {text}", highlight=False)

            image = images.build(board, progress, clean)
            if verify:
                image = images.verify(board, progress)
            if application is not None:
                content = build_application(
                    board,
                    (base or image.bin).read_bytes(),
                    modules or [],
                    (release, floor, rollback_from),
                    progress,
                )
                write_new(application, content)
    except (BoardError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(FAULT) from error
    if json_output:
        fields = dataclasses.asdict(image)
        fields = {k: str(v) if isinstance(v, Path) else v for k, v in fields.items()}
        typer.echo(json.dumps({"board": board, **fields, "reproducible": verify or None}))
        return
    show(image, spec)
    if verify:
        typer.echo("Another build, in another folder, gave the same bytes.")
    if application is not None:
        typer.echo(f"application {application}, unsigned: tianfu-node sign {application}")


def show(image: images.Image, spec: specs.Spec) -> None:
    """Print the image's sizes against the budget, and where it is."""
    table = Table(title=f"{spec.board.title}, MicroPython {image.version}", title_justify="left")
    for name in ("", "bytes", "KiB", "budget", "left"):
        table.add_column(name, justify="left" if not name else "right")
    memory = spec.memory
    rows = (
        ("image in flash", image.flash_bytes, memory.image, "at most"),
        ("static RAM and stack", image.ram_bytes, None, ""),
        ("heap", image.heap_bytes, memory.heap, "at least"),
    )
    for what, size, bound, word in rows:
        left = "" if bound is None else f"{abs(size - bound) / KIB:.1f} KiB"
        budget = "" if bound is None else f"{word} {bound // KIB} KiB"
        table.add_row(what, str(size), f"{size / KIB:.1f}", budget, left)
    Console().print(table)
    typer.echo(f"image   {image.bin}\nsymbols {image.elf}\nSHA-256 {image.digest}")
