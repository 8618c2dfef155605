"""``tianfu-gateway collect``: run the collector until a signal stops it."""

import asyncio
import logging
import sqlite3
from pathlib import Path
from typing import Annotated

import typer

from gateway_agent import threads
from gateway_agent.collector.config import CollectorConfig, load
from gateway_agent.collector.service import run_collector
from gateway_agent.process import stop_on_signal
from gateway_agent.store.errors import StoreFailed
from protocols.exit_status import FAULT

log = logging.getLogger(__name__)


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
    loaded = load(config)
    try:
        threads.run(_serve(loaded))
    except (sqlite3.Error, OSError, StoreFailed) as error:
        typer.echo(f"{loaded.collector.database}: {error}{_remedy(error)}", err=True)
        raise typer.Exit(FAULT) from error


def _remedy(error: Exception) -> str:
    """Return what to do about an error that ends a start, if its text does not have it."""
    if isinstance(error, sqlite3.OperationalError | OSError | StoreFailed):
        return (
            "; collector.database has to be a file that this user can write, in a directory of a"
            " local file system"
        )
    return ""


async def _serve(config: CollectorConfig) -> None:
    stop = asyncio.Event()
    stop_on_signal(stop.set)
    where = config.broker.where
    await run_collector(config, stop, lambda: typer.echo(f"collecting from {where}"))
