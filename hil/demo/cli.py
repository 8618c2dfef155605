"""``tianfu-gateway demo``, registered through the entry point group ``tianfu_gateway.commands``."""

from __future__ import annotations

import asyncio
import json as json_module
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Final

import typer

from protocols.exit_status import FAULT, GOOD

#: A centre of SL 651 gets whole minutes.
_PLATFORMS_S: Final = 90.0


def demo(
    duration: Annotated[
        float, typer.Option("--duration", min=3, max=86_400, help="Run for so many seconds.")
    ] = 30.0,
    json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print the figures as one JSON object as last line, the summary on stderr.",
        ),
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Draws disturbances and noise.")] = 1,
    keep: Annotated[
        Path | None,
        typer.Option("--keep", help="Keep keys, databases and logs in this (new) folder."),
    ] = None,
    platforms: Annotated[
        bool,
        typer.Option("--platforms", help="Report to platforms on this machine, too; 90 s or more."),
    ] = False,
) -> None:
    """Show the whole way of a reading on this machine: nodes, line, gateway, broker, collector.

    Example: tianfu-gateway demo --duration 20 --json

    Ctrl-C ends it early and in order. Exit status 0 only if every recorded reading was delivered
    and verified and no gap is unexplained.
    """
    try:
        from hil.demo.figures import summary
        from hil.demo.platforms import DemoPlatforms
        from hil.demo.run import Demo
        from hil.demo.screen import Screen
        from hil.errors import HilError
    except ModuleNotFoundError as error:
        typer.echo(
            f"the demo needs the package {error.name}, which is not installed here: install with"
            " the extra `hil` (pip install 'tianfu-edge[hil]', from a clone: pip install '.[hil]')",
            err=True,
        )
        raise typer.Exit(FAULT) from error

    with ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tianfu-")))
        try:
            with Screen() as screen:
                beside = DemoPlatforms() if platforms else None
                seconds = max(duration, _PLATFORMS_S) if platforms else duration
                result = asyncio.run(Demo(folder, seconds, seed, screen.show, beside).run())
        except (HilError, OSError) as error:
            typer.echo(f"the demo could not run: {error}", err=True)
            raise typer.Exit(FAULT) from error
    typer.echo(summary(result.figures, keep), err=json)
    for problem in result.problems:
        typer.echo(f"FAILED: {problem}", err=True)
    if json:
        typer.echo(json_module.dumps(result.figures))
    raise typer.Exit(FAULT if result.problems else GOOD)
