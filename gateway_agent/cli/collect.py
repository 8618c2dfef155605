"""``tianfu-gateway collect``: run the collector until a signal stops it."""

from pathlib import Path
from typing import Annotated

import typer


def collect(
    config: Annotated[
        Path, typer.Option("--config", "-c", help="The configuration file.", show_default=False)
    ],
) -> None:
    """Verify batches, write them to the database, and return signed receipts.

    Example: tianfu-gateway collect --config collector.toml

    Prints one line when it is ready. Stops on SIGTERM or SIGINT; ignores SIGHUP. It does not start
    if the newest rows of the database are not what was received; see `audit`.
    """
    from gateway_agent.collector import process

    process.run(config)
