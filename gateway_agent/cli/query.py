"""``tianfu-gateway query``: what a collector has of a device, as table, CSV or SenML."""

import csv
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
from gateway_agent.collector.export import COLUMNS, shown_time
from gateway_agent.collector.query import MissingSpan, device_of, moment, read_missing
from gateway_agent.collector.readings import MeasuredValue, ReadingsReader, UndatedRecords
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
        typer.Option("--format", help="json: one object with readings and gaps."),
    ] = "table",
) -> None:
    """Show the readings of a device in a span of time, and the gaps between them with their cause.

    Example: tianfu-gateway query collector.db air-1 pm2_5 --from yesterday

    Example: tianfu-gateway query collector.db air-1 --from 7d --format csv > week.csv

    The collector may run meanwhile. Times are UTC; uncertainty and proof of each reading are in the
    other forms. CSV has a row for each gap, too, with its cause in place of a value. Readings that
    have no time yet are in no span: they are counted and named.
    """
    now = datetime.now(UTC)
    try:
        from_ms, to_ms = (round(moment(text, now).timestamp() * 1000) for text in (since, until))
        with closing(open_readonly(database)) as connection:
            name = device_of(connection, device)
            reader = ReadingsReader(connection)
            readings = reader.dated(name, point, from_ms, to_ms)
            gaps = list(read_missing(connection, name, from_ms, to_ms))
            undated = reader.without_time(name)
            _FORMS[form](readings, gaps, undated)
            if form != "json":
                for left_out in undated:
                    typer.echo(f"note: {left_out}: `export --undated` writes them", err=True)
    except ValueError as error:
        raise OperatorError(str(error)) from error
    except sqlite3.Error as error:
        raise OperatorError(f"{database}: {error}: is it a collector's database?") from error
    raise typer.Exit(GOOD)


def _show(
    readings: Iterator[MeasuredValue], gaps: list[MissingSpan], _u: list[UndatedRecords]
) -> None:
    table = Table()
    for heading in ("time (UTC)", "point"):
        table.add_column(heading)
    table.add_column("value", justify="right")
    table.add_column("")
    rows: list[tuple[int, str, str, str, str]] = [
        (r.time_ms or 0, r.point, f"{r.value:g}", r.unit, "") for r in islice(readings, SHOWN)
    ]
    is_cut = next(readings, None) is not None
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
            f"only the first {SHOWN} readings are shown: --format csv has all", style="yellow"
        )


def _csv(
    readings: Iterator[MeasuredValue], gaps: list[MissingSpan], _u: list[UndatedRecords]
) -> None:
    out = csv.writer(sys.stdout, lineterminator="\r\n")
    out.writerow(COLUMNS)
    for reading in readings:
        out.writerow((shown_time(reading.time_ms), *reading[1:], ""))
    for gap in gaps:
        out.writerow((shown_time(gap.time_ms), gap.device, *[""] * 7, gap.cause))


def _senml(
    readings: Iterator[MeasuredValue], _: list[MissingSpan], _u: list[UndatedRecords]
) -> None:
    """Write SenML-JSON (RFC 8428), which has no word for a gap."""
    sys.stdout.write("[")
    for number, reading in enumerate(readings):
        entry = {"n": f"{reading.device}:{reading.point}", "u": reading.unit, "v": reading.value}
        entry["t"] = (reading.time_ms or 0) / 1000
        if not reading.unit:
            del entry["u"]
        sys.stdout.write((",\n" if number else "") + json.dumps(entry))
    sys.stdout.write("]\n")


def _json(
    readings: Iterator[MeasuredValue], gaps: list[MissingSpan], undated: list[UndatedRecords]
) -> None:
    found = {
        "readings": [reading._asdict() for reading in readings],
        "gaps": [gap._asdict() for gap in gaps],
        "undated": [left_out._asdict() for left_out in undated],
    }
    typer.echo(json.dumps(found))


_FORMS: Final = {"table": _show, "csv": _csv, "senml": _senml, "json": _json}
