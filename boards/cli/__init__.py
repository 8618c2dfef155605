"""``tianfu-node``: the command line for technicians who build, provision and calibrate nodes.

Every command ends with an exit status of :mod:`protocols.exit_status`.
"""

import importlib.metadata
from typing import Annotated

import typer

from .boards import boards
from .build import build
from .commission import blink, commission
from .console import console
from .flash import flash
from .label import label
from .line import calibrate, set_settings, show
from .log import log
from .monitor import monitor
from .probe import probe
from .provision import provision
from .recover import recover
from .sign import sign

app = typer.Typer(
    name="tianfu-node",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(build)
app.command()(sign)
app.command()(provision)
app.command()(flash)
app.command()(label)
app.command()(log)
app.command()(boards)
app.command()(probe)
app.command()(monitor)
app.command()(console)
app.command()(recover)
app.command()(show)
app.command("set")(set_settings)
app.command()(calibrate)
app.command()(blink)
app.add_typer(commission)


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
    """Build, flash and provision boards; show, set and calibrate a node."""
