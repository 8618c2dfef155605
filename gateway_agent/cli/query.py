"""``tianfu-gateway query``: what a collector has of a device, as table, CSV or SenML."""

import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, Final, Literal

import typer
from rich.table import Table
from rich.text import Text

from gateway_agent.cli.output import table_console
from gateway_agent.collector.database import open_readonly
from gateway_agent.collector.export import WRITERS, shown_time
from gateway_agent.collector.query import MissingSpan, device_of, moment, read_missing
from gateway_agent.collector.readings import (
    ReadingsReader,
    StoredValue,
    ThinnedValue,
    UndatedRecords,
)
from gateway_agent.errors import OperatorError
from protocols.exit_status import GOOD

SHOWN: Final = 200  # rows of a table; the other forms have no limit


def query(
    database: Annotated[Path, typer.Argument(help="The collector's database.")],
    device: Annotated[str, typer.Argument(help="Its id, or what stands behind the gateway's id.")],
    point: Annotated[str, typer.Argument(help="One of its points; all if left out.")] = "",
    since: Annotated[
        str, typer.Option("--from", metavar="TIME", help="2h (ago), today, 2026-11-28T08:00 ...")
    ] = "24h",
    until: Annotated[str, typer.Option("--to", metavar="TIME", help="The same, not included.")] = (
        "now"
    ),
    form: Annotated[
        Literal["table", "csv", "senml", "json"],
        typer.Option("--format", help="json: one object with readings, thinned values and gaps."),
    ] = "table",
) -> None:
    """Show the readings of a device in a span of time, and the gaps between them with their cause.

    Example: tianfu-gateway query collector.db air-1 pm2_5 --from yesterday

    Example: tianfu-gateway query collector.db air-1 --from 7d --format csv > week.csv

    The collector may run meanwhile. Times are UTC; uncertainty and proof of each reading are in the
    other forms. CSV has a row for each gap, too, with its cause in place of a value. Readings that
    have no time yet are in no span: they are counted and named.

    Where retention has thinned readings, what is left is shown in their place, marked as such: the
    mean, least and most of each minute or hour that reaches into the span, and of how many
    readings. In CSV these have columns of their own, in SenML names (`air-1:pm2_5:mean:60s`), in
    JSON a list, `thinned`.
    """
    now = datetime.now(UTC)
    try:
        from_ms, to_ms = (round(moment(text, now).timestamp() * 1000) for text in (since, until))
        with closing(open_readonly(database)) as connection:
            connection.execute("BEGIN")  # one moment for all of it: a collector may write meanwhile
            name = device_of(connection, device)
            reader = ReadingsReader(connection)
            values = reader.stored(name, point, from_ms, to_ms)
            gaps = list(read_missing(connection, name, from_ms, to_ms))
            undated = reader.without_time(name)
            if form == "table":
                _show(values, gaps)
            elif form == "json":
                _show_json(values, gaps, undated)
            else:
                _write(form, values, gaps)
            if form != "json":
                for left_out in undated:
                    typer.echo(f"note: {left_out}: `export --undated` writes them", err=True)
    except ValueError as error:
        raise OperatorError(str(error)) from error
    except sqlite3.Error as error:
        raise OperatorError(f"{database}: {error}: is it a collector's database?") from error
    raise typer.Exit(GOOD)


def _show(values: Iterator[StoredValue], gaps: list[MissingSpan]) -> None:
    table = Table()
    for heading in ("time (UTC)", "point"):
        table.add_column(heading)
    table.add_column("value", justify="right")
    table.add_column("")
    rows = [_cells(value) for value in islice(values, SHOWN)]
    is_cut = next(values, None) is not None
    last_ms = rows[-1][0] if is_cut else None
    rows += [
        (
            gap.time_ms or 0,
            f"gap: {gap.cause}",
            "" if gap.slots is None else str(gap.slots),
            "polls",
            "red",
        )
        for gap in gaps
        if last_ms is None or (gap.time_ms or 0) <= last_ms
    ]
    for time_ms, *cells, style in sorted(rows, key=lambda row: row[0]):
        table.add_row(Text(shown_time(time_ms)), *map(str, cells), style=style)
    console = table_console()
    console.print(table)
    if is_cut:
        console.print(
            f"only the first {SHOWN} values are shown: --format csv has all", style="yellow"
        )


def _cells(value: StoredValue) -> tuple[int, str, str, str, str]:
    """Return time, point, value, what stands behind it, and the style of a row."""
    if isinstance(value, ThinnedValue):
        of = f"{value.unit} of {value.readings} readings in {value.width_s} s".strip()
        shown = f"mean {value.mean:g} ({value.least:g} to {value.most:g})"
        return value.time_ms, value.point, shown, of, "cyan"
    return value.time_ms or 0, value.point, f"{value.value:g}", value.unit, ""


def _write(
    form: Literal["csv", "senml"], values: Iterator[StoredValue], gaps: list[MissingSpan]
) -> None:
    writer = WRITERS[form](sys.stdout.buffer)
    for value in values:
        if isinstance(value, ThinnedValue):
            writer.thinned(value)
        else:
            writer.reading(value)
    for gap in gaps:
        writer.gap(gap)
    writer.end()


def _show_json(
    values: Iterator[StoredValue], gaps: list[MissingSpan], undated: list[UndatedRecords]
) -> None:
    readings: list[dict[str, object]] = []
    thinned: list[dict[str, object]] = []
    for value in values:
        (thinned if isinstance(value, ThinnedValue) else readings).append(value._asdict())
    found = {
        "readings": readings,
        "thinned": thinned,
        "gaps": [gap._asdict() for gap in gaps],
        "undated": [left_out._asdict() for left_out in undated],
    }
    typer.echo(json.dumps(found))
