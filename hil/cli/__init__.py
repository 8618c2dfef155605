"""``tianfu-hil``: the command line of the bench of emulated boards.

Every command ends with an exit status of :mod:`protocols.exit_status`.
"""

from __future__ import annotations

import importlib.metadata
from typing import Annotated

import typer

from hil.cli.bench import bench as _bench
from hil.cli.board import board as _board
from hil.cli.boards import boards as _boards
from hil.cli.doctor import doctor as _doctor
from hil.cli.platform import platform as _platform
from hil.cli.run import run as _run

app = typer.Typer(
    name="tianfu-hil",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(_run)
app.command("bench")(_bench)
app.command("board")(_board)
app.command("doctor")(_doctor)
app.command("boards")(_boards)
app.add_typer(_platform, name="platform")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(importlib.metadata.version("tianfu-edge"))
        raise typer.Exit


@app.callback()
def main(
    _: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_version, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Run the product on emulated boards: real firmware, a real line, no hardware.

    First `doctor` (what is missing here?), then `run` (all suites on every engine there is).
    `board` gives an emulated board to try `tianfu-node flash` on.
    `bench --example > my.toml` and `bench my.toml` give a site to work with by hand.
    """
