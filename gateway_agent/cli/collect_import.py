"""``tianfu-gateway collect --import``: take what a stick has into the collector's database."""

import json
import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NoReturn

import typer
from rich.console import Console
from rich.progress import Progress

from gateway_agent.collector.config import CollectorConfig, load
from gateway_agent.collector.importing import (
    ImportedBatch,
    Offer,
    StickImport,
    as_imported,
    offer_to_running,
    receiver_alone,
)
from gateway_agent.errors import OperatorError
from gateway_agent.stick import Stick
from gateway_agent.store.errors import StoreBusy
from protocols.exit_status import FAULT, GOOD

from .quiet import quiet


def run_import(config: Path, path: Path, json_output: bool) -> NoReturn:
    """Import and end with typer.Exit. OperatorError: the collector or its database refuse."""
    shown = quiet("gateway_agent.collector", logging.ERROR)  # what is shown below
    try:
        with shown, _offer(load(config)) as offer:
            run = StickImport(Stick(path), offer)
            problem = _run(run)
    except sqlite3.Error as error:
        raise OperatorError(f"{config}: the database refuses: {error}") from error
    if json_output:
        typer.echo(json.dumps(_result(run, problem)))
    else:
        for text in run.problems:
            typer.echo(text, err=True)
        if run.waiting:
            typer.echo(
                f"{run.waiting} batches do not follow what is here: what is between them is on its"
                " way, or on another stick. Import this one again after it",
                err=True,
            )
        counts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(run.verdicts.items()))
        typer.echo(f"{run.files} files: {counts or 'nothing'}; {run.failed} problems")
        if problem:
            typer.echo(problem, err=True)
    raise typer.Exit(GOOD if run.is_good and not problem else FAULT)


@contextmanager
def _offer(config: CollectorConfig) -> Iterator[Offer]:
    """Give batches to the running collector, or receive them here if none runs."""
    path = config.collector.database
    try:
        with receiver_alone(config) as receiver:

            def offer(data: bytes) -> ImportedBatch:
                return as_imported(receiver.receive(data))

            yield offer
    except StoreBusy:
        yield partial(offer_to_running, path)


def _run(run: StickImport) -> str:
    """Import; return why not all of the stick could be read or written."""
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("files", total=None)

        def show(done: int, every: int) -> None:
            progress.update(task, completed=done, total=every)

        return _attempt(lambda: run.run(show))


def _attempt(action: Callable[[], None]) -> str:
    try:
        action()
    except OSError as error:
        return f"{error}: what was taken stays; plug the stick in and import it again"
    return ""


def _result(run: StickImport, problem: str) -> dict[str, object]:
    return {
        "good": run.is_good and not problem,
        "files": run.files,
        "batches": dict(run.verdicts),
        "waiting": run.waiting,
        "problems": run.problems + ([problem] if problem else []),
    }
