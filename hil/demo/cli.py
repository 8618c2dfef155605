"""``tianfu-gateway demo``, registered through the entry point group ``tianfu_gateway.commands``."""

from __future__ import annotations

import asyncio
import json as json_module
import logging
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self, TextIO

import typer

if TYPE_CHECKING:
    from rich.live import Live

    from hil.demo.run import Result
    from hil.demo.screen import View

_PROGRESS_S = 5.0


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
) -> None:
    """The whole way of a reading on this machine: nodes, line, gateway, broker, collector.

    Example: tianfu-gateway demo --duration 20 --json

    Ctrl-C ends it early and in order. Exit status 0 only if every recorded reading was delivered
    and verified and no gap is unexplained.
    """
    from hil.demo.run import Demo
    from hil.demo.site import SiteError
    from hil.errors import EngineError

    with ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tianfu-")))
        try:
            with Screen() as screen:
                result = asyncio.run(Demo(folder, duration, seed, screen.show).run())
        except (EngineError, SiteError, OSError) as error:
            typer.echo(f"the demo could not run: {error}", err=True)
            raise typer.Exit(1) from error
    typer.echo(_summary(result, keep), err=json)
    for problem in result.problems:
        typer.echo(f"FAILED: {problem}", err=True)
    if json:
        typer.echo(json_module.dumps(result.figures))
    raise typer.Exit(1 if result.problems else 0)


class Screen:
    """A live table where standard output is a terminal, else a line now and then on stderr."""

    def __init__(self) -> None:
        self._live: Live | None = None
        self._next = 0.0
        self._handlers: list[tuple[logging.StreamHandler[TextIO], TextIO]] = []

    def __enter__(self) -> Self:
        if sys.stdout.isatty():
            from rich.live import Live

            self._live = Live(auto_refresh=False)
            self._live.start()
            # Warnings stand above the table from now on, not in it.
            for handler in logging.getLogger().handlers:
                if isinstance(handler, logging.StreamHandler):
                    self._handlers.append((handler, handler.stream))
                    handler.setStream(sys.stderr)
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            for handler, stream in self._handlers:
                handler.setStream(stream)
            self._live.stop()

    def show(self, view: View) -> None:
        """Take the picture of this moment."""
        from hil.demo.screen import draw, progress

        if self._live is not None:
            self._live.update(draw(view), refresh=True)
        elif view.elapsed_s >= self._next:
            self._next = view.elapsed_s + _PROGRESS_S
            typer.echo(progress(view), err=True)


def _summary(result: Result, keep: Path | None) -> str:
    figures = result.figures
    ways = (
        ("sampled", "on the nodes"),
        ("recorded", "committed to the gateway's outbox"),
        ("delivered", "covered by a signed receipt, pruned from the outbox"),
        ("verified", "in the collector's database; signature, chain and node tags checked"),
    )
    gaps = _causes(figures["gaps_by_cause"])
    errors = _causes(figures["poll_errors"])
    lines = ["", "Readings, each counted at its own place:"]
    lines += [f"  {figures['readings_' + name]:>7}  {name:9}  {where}" for name, where in ways]
    lines.append(
        f"  gaps: {gaps}; samples named in them: {_causes(figures['samples_in_gaps'])}; "
        f"unexplained: {figures['gaps_unexplained']}; "
        f"still in flight: {figures['in_flight']}"
    )
    lines.append(
        f"  duplicates: {figures['duplicates']}; bad signatures: {figures['bad_signatures']}; "
        f"failed node tags: {figures['node_tag_failures']}"
    )
    lines.append(
        f"  polls: {figures['polls']}, errors: {errors}; batches: {figures['batches']}; "
        f"events: {figures['events']}; {figures['elapsed_s']} s"
    )
    if keep is not None:
        lines.append(f"  keys, databases and logs are in {keep}")
    return "\n".join(lines)


def _causes(table: object) -> str:
    assert isinstance(table, dict)
    return ", ".join(f"{cause} {count}" for cause, count in table.items() if count) or "none"
