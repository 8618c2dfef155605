"""The screen of the demo: a table redrawn in a terminal, or a line of progress in a log."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self, TextIO

import typer
from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gateway_agent.status import DeviceStatus, PointValue, Status

if TYPE_CHECKING:
    from rich.live import Live

_PROGRESS_S: Final = 5.0
_SHOWN_EVENTS: Final = 3
_SI: Final = {"Cel": "°C", "ug/m3": "µg/m³", "/100": "%", "count": "", "%RH": "%RH"}


@dataclass(frozen=True, slots=True)
class View:
    """Everything of one moment. ``note`` is what the demo is doing to its nodes.

    ``platforms``: the newest frames to and from platforms beside the collector.
    """

    status: Status
    elapsed_s: float
    duration_s: float
    hour: str
    note: str = ""
    events: Sequence[str] = ()
    platforms: Sequence[str] = ()

    def counted(self) -> str:
        """Return how many readings have come how far."""
        counters = self.status.counters
        return (
            f"{counters.readings_recorded} readings recorded, {counters.readings_delivered} "
            "delivered"
        )

    @property
    def depth(self) -> int:
        """Return how many records wait in the outbox."""
        return 0 if self.status.outbox is None else self.status.outbox.depth


class Screen:
    """Show views: as a live table where standard output is a terminal, else as lines on stderr."""

    def __init__(self) -> None:
        self._live: Live | None = None
        self._next_s = 0.0
        self._echoed: Sequence[str] = ()  # frames of platforms that were shown last
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
        """Draw the table, or print a line if the last one is old enough."""
        if self._live is not None:
            self._live.update(draw(view), refresh=True)
        elif view.elapsed_s >= self._next_s:
            self._next_s = view.elapsed_s + _PROGRESS_S
            typer.echo(progress(view), err=True)
        if self._live is None:
            for line in view.platforms:
                if line not in self._echoed:
                    typer.echo(f"        {line}", err=True)
            self._echoed = view.platforms


def draw(view: View) -> RenderableType:
    """Return the table of one moment, with note and events below it."""
    receipted_to = 0 if view.status.outbox is None else view.status.outbox.receipted_to
    table = Table(
        title=(
            f"tianfu-edge demo   {view.elapsed_s:4.0f} of {view.duration_s:.0f} s   "
            f"Chengdu {view.hour.replace('T', ' ')}"
        ),
        expand=True,
        caption=(
            f"outbox: {view.counted()}; {view.depth} records waiting, receipted to "
            f"{receipted_to}; {view.status.counters.gaps.total()} gaps"
        ),
    )
    table.add_column("node", no_wrap=True)
    table.add_column("role", no_wrap=True)
    table.add_column("last values", ratio=1)
    for name in ("age", "auth", "polls", "errors"):
        table.add_column(name, justify="right", no_wrap=True)
    for node in view.status.nodes:
        table.add_row(*_cells(node))
    parts: list[RenderableType] = [table]
    if view.note:
        parts.append(Text(f" now: {view.note}", style="yellow"))
    parts += [Text(f" {event}", style="cyan") for event in view.events[:_SHOWN_EVENTS]]
    parts += [
        Text(f" {line}", style="magenta", overflow="ellipsis", no_wrap=True)
        for line in view.platforms
    ]
    return Group(*parts)


def _cells(node: DeviceStatus) -> tuple[RenderableType, ...]:
    return (
        node.name,
        node.role,
        Columns([_value(point) for point in node.values], padding=(0, 2)),
        "-" if node.age_ms is None else f"{node.age_ms / 1000:.1f} s",
        Text(node.auth, style="green" if node.auth == "ok" else "yellow"),
        str(node.polls),
        Text(str(node.errors), style="red" if node.errors else ""),
    )


def _value(point: PointValue) -> Text:
    text = Text(f"{point.name} ", style="dim", no_wrap=True)
    if point.value is None:
        return text.append("-", style="not dim yellow")
    unit = _SI.get(point.unit, point.unit)
    return text.append(f"{point.value:.6g} {unit}".rstrip(), style="not dim bold")


def progress(view: View) -> str:
    """Return the same in one line, for a log."""
    polls = sum(node.polls for node in view.status.nodes)
    errors = sum(node.errors for node in view.status.nodes)
    line = (
        f"{view.elapsed_s:4.0f} s  {polls} polls, {errors} errors, {view.counted()}, "
        f"{view.depth} records waiting, {view.status.counters.gaps.total()} gaps"
    )
    return f"{line}  ({view.note})" if view.note else line
