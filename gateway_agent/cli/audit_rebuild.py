"""``tianfu-gateway audit --rebuild``: make a collector's tables anew from the batches it keeps."""

import json
import logging
import sqlite3
import sys
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import Progress

from gateway_agent.collector.errors import RESTORE
from gateway_agent.collector.rebuild import RebuildKeys, TableRebuild, UnknownGateway
from gateway_agent.store.errors import StoreError
from protocols.exit_status import FAULT, GOOD

from .quiet import quiet


def rebuild(database: Path, out: Path | None, keys: RebuildKeys, json_output: bool) -> None:
    """Rebuild ``database`` in its place, or into ``out``; ends with typer.Exit."""
    # Each record that was refused before is refused again: no news.
    no_news = quiet("gateway_agent.collector", logging.CRITICAL)
    bar = Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True)
    try:
        with no_news, bar as progress:
            task = progress.add_task("rebuild", total=1)
            run = TableRebuild(database, keys, lambda done: progress.update(task, completed=done))
            if out is None:
                run.in_place()
            else:
                run.to(out)
    except (sqlite3.Error, OSError, StoreError, UnknownGateway) as error:
        is_damaged = isinstance(error, sqlite3.DatabaseError) and RESTORE not in str(error)
        remedy = f"; {RESTORE}" if is_damaged else ""
        typer.echo(f"{database}: {error}{remedy}; nothing was changed", err=True)
        raise typer.Exit(FAULT) from error
    good = not run.problems and not run.missing
    if json_output:
        typer.echo(json.dumps(_result(run, out or database, good)))
    else:
        for problem in run.problems:
            typer.echo(str(problem), err=True)
        for lost in run.missing:
            typer.echo(f"missing: {lost}", err=True)
        where = "in its place; the old files are in the folder quarantine" if out is None else out
        typer.echo(
            f"{'rebuilt' if good else 'REBUILT WITH GAPS'}: {run.batches} batches, {run.records}"
            f" records, {run.readings} readings, {len(run.missing)} ranges are missing and named"
            f" as gaps, {len(run.problems)} problems; {where}"
        )
    raise typer.Exit(GOOD if good else FAULT)


def _result(run: TableRebuild, path: Path, good: bool) -> dict[str, object]:
    return {
        "good": good,
        "database": str(path),
        "batches": run.batches,
        "records": run.records,
        "readings": run.readings,
        "missing": [
            {"gateway": lost.gateway, "stream": lost.stream, "first": lost.first, "last": lost.last}
            for lost in run.missing
        ],
        "problems": [problem._asdict() for problem in run.problems],
    }
