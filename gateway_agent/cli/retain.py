"""``tianfu-gateway retain``: thin old readings of a collector, as its configuration has it."""

import json
import sqlite3
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from gateway_agent.cli.verify import JsonOutput
from gateway_agent.collector import retention as rule
from gateway_agent.collector.config import CollectorConfig, load
from gateway_agent.collector.database import Database, open_readonly
from gateway_agent.collector.keys import keys_of_gateways, keys_of_nodes
from gateway_agent.collector.retention import RetentionResult, retention_of
from gateway_agent.errors import OperatorError
from gateway_agent.keys import load_private
from protocols.exit_status import FAULT, GOOD


def retain(
    config: Annotated[
        Path,
        typer.Option("--config", "-c", help="The collector's configuration.", show_default=False),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be thinned; change nothing.")
    ] = False,
    json_output: JsonOutput = False,
) -> None:
    """Thin readings older than `[retention]` allows: first to minutes, then to hours.

    Example: tianfu-gateway retain --config collector.toml --dry-run

    A running collector does it by itself, every hour; stop it to do it now. Only what is archived
    and proved goes; the archive keeps it. Gaps, events, actions and what was refused stay. Exit
    status 1: something old enough had to stay, because it is not proved.
    """
    loaded = load(config)
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("segments", total=None)
        try:
            done = _run(
                loaded,
                dry_run,
                lambda share, every: progress.update(task, completed=share, total=every),
            )
        except (sqlite3.Error, OSError) as error:
            raise OperatorError(f"{loaded.collector.database}: {error}") from error
    if json_output:
        typer.echo(json.dumps(asdict(done) | {"dry_run": dry_run}))
    else:
        for text in done.kept:
            typer.echo(text, err=True)
        would = "would be " if dry_run else ""
        typer.echo(
            f"{done.readings} readings of {done.segments} segments {would}thinned to minutes,"
            f" {done.minutes} rows of a minute to hours, {done.hours} rows of an hour removed"
        )
    raise typer.Exit(FAULT if done.kept else GOOD)


def _run(config: CollectorConfig, dry_run: bool, progress: rule.Progress) -> RetentionResult:
    path = config.collector.database
    retention = retention_of(config, keys_of_gateways(config), keys_of_nodes(config))
    if dry_run:
        with closing(open_readonly(path)) as connection:
            return rule.run(retention, connection, None, progress)
    database = Database(path)
    try:
        archive = database.archive(load_private(config.collector.key))
        return rule.run(retention, database.connection, archive, progress)
    finally:
        database.close()
