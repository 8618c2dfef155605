"""``tianfu-gateway collect``: run the collector until a signal stops it, or import a stick."""

from pathlib import Path
from typing import Annotated

import typer

from gateway_agent.cli.verify import JsonOutput


def collect(
    config: Annotated[
        Path, typer.Option("--config", "-c", help="The configuration file.", show_default=False)
    ],
    stick: Annotated[
        Path | None,
        typer.Option("--import", metavar="DIR", help="Take the batches on a stick, and end."),
    ] = None,
    json_output: JsonOutput = False,
) -> None:
    """Verify batches, write them to the database, and return signed receipts.

    Example: tianfu-gateway collect --config collector.toml

    Prints one line when it is ready. Stops on SIGTERM or SIGINT; ignores SIGHUP. It does not start
    if the newest rows of the database are not what was received; see `audit`.

    Example: tianfu-gateway collect --config collector.toml --import /media/usb

    The collector may run meanwhile: then it takes the batches. The receipts are written to the
    stick. Exit status 0: all that is on the stick is in the database, whatever way it came. 1:
    files or batches were refused, or do not follow what is here yet.
    """
    if stick is not None:
        from gateway_agent.cli.collect_import import run_import

        run_import(config, stick, json_output)
    from gateway_agent.collector import process

    process.run(config)
