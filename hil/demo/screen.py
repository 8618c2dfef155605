"""What the demo shows: one table, redrawn, and one line of events below it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True, slots=True)
class Value:
    """One point of a node: ``text`` is its value, or its quality if it has none."""

    name: str
    text: str
    unit: str
    good: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One node as the gateway sees it; ``age_s`` None: nothing taken from it yet."""

    name: str
    role: str
    values: Sequence[Value]
    age_s: float | None
    auth: str
    polls: int
    errors: int


@dataclass(frozen=True, slots=True)
class View:
    """Everything of one moment. ``note`` says what the demo is doing to its nodes."""

    rows: Sequence[Row]
    elapsed_s: float
    duration_s: float
    hour: str
    recorded: int
    depth: int
    delivered: int
    receipted_to: int
    gaps: int
    note: str = ""
    events: Sequence[str] = field(default_factory=tuple)


_SI = {"Cel": "°C", "ug/m3": "µg/m³", "/100": "%", "count": "", "%RH": "%RH"}


def draw(view: View) -> RenderableType:
    """The picture of one moment."""
    table = Table(
        title=(
            f"tianfu-edge demo   {view.elapsed_s:4.0f} of {view.duration_s:.0f} s   "
            f"Chengdu {view.hour.replace('T', ' ')}"
        ),
        expand=True,
        caption=(
            f"outbox: {view.recorded} readings recorded, {view.delivered} delivered; "
            f"{view.depth} records waiting, receipted to {view.receipted_to}; {view.gaps} gaps"
        ),
    )
    table.add_column("node", no_wrap=True)
    table.add_column("role", no_wrap=True)
    table.add_column("last values", ratio=1)
    for name in ("age", "auth", "polls", "errors"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in view.rows:
        table.add_row(
            row.name,
            row.role,
            _values(row),
            "-" if row.age_s is None else f"{row.age_s:.1f} s",
            Text(row.auth, style="green" if row.auth == "ok" else "yellow"),
            str(row.polls),
            Text(str(row.errors), style="red" if row.errors else ""),
        )
    parts: list[RenderableType] = [table]
    if view.note:
        parts.append(Text(f" now: {view.note}", style="yellow"))
    parts += [Text(f" {event}", style="cyan") for event in view.events[-4:]]
    return Group(*parts)


def _values(row: Row) -> RenderableType:
    cells = []
    for value in row.values:
        text = Text(f"{value.name} ", style="dim", no_wrap=True)
        unit = _SI.get(value.unit, value.unit) if value.good else ""
        style = "not dim bold" if value.good else "not dim yellow"
        text.append(f"{value.text} {unit}".rstrip(), style=style)
        cells.append(text)
    return Columns(cells, padding=(0, 2))


def progress(view: View) -> str:
    """The same in one line, for a log."""
    polls = sum(row.polls for row in view.rows)
    errors = sum(row.errors for row in view.rows)
    line = (
        f"{view.elapsed_s:4.0f} s  {polls} polls, {errors} errors, {view.recorded} readings "
        f"recorded, {view.delivered} delivered, {view.depth} records waiting, {view.gaps} gaps"
    )
    return f"{line}  ({view.note})" if view.note else line
