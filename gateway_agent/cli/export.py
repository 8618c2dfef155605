"""``tianfu-gateway export``: a collector's readings as a file of CSV, Parquet or SenML-JSON."""

import json
import sqlite3
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import Progress

from gateway_agent.cli.verify import JsonOutput
from gateway_agent.collector.database import open_readonly
from gateway_agent.collector.export import ExportedReadings, Form
from gateway_agent.collector.export import export as export_readings
from gateway_agent.collector.query import device_of, known_devices, moment
from gateway_agent.errors import OperatorError
from protocols.exit_status import GOOD

_FORMS: Final[dict[str, Form]] = {
    ".csv": "csv",
    ".parquet": "parquet",
    ".json": "senml",
    ".senml": "senml",
}


def export(
    database: Annotated[Path, typer.Argument(help="The collector's database.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file; replaced when it is whole.")],
    device: Annotated[
        list[str] | None, typer.Option(help="Repeat it for several; all if left out.")
    ] = None,
    point: Annotated[str, typer.Option(help="One point of each; all if left out.")] = "",
    since: Annotated[
        str, typer.Option("--from", metavar="TIME", help="2h (ago), today, 2026-11-28T08:00 ...")
    ] = "1970-01-01T00:00Z",
    until: Annotated[str, typer.Option("--to", metavar="TIME", help="The same, not included.")] = (
        "now"
    ),
    form: Annotated[
        Form | None, typer.Option("--format", help="By the name of the file, if left out.")
    ] = None,
    undated: Annotated[
        bool, typer.Option("--undated", help="Write readings without a time, too.")
    ] = False,
    json_output: JsonOutput = False,
) -> None:
    """Write readings, thinned values and gaps to a file, by time for each device.

    Example: tianfu-gateway export collector.db --out november.csv --from 2026-11-01 --to 2026-12-01

    Example: tianfu-gateway export collector.db --out air.parquet --device air-1 --device air-2

    The collector may run meanwhile: the file has what was there at one moment. Memory does not grow
    with the span. A file that cannot be finished leaves the old one. Parquet needs the extra
    `parquet`. Readings without a time are counted and named. Where retention has thinned readings,
    what is left is written instead: a minute or an hour of a point, with `width_s`, `readings`,
    `mean`, `least` and `most` in place of a value.
    """
    chosen = form or _form_of(out)
    now = datetime.now(UTC)
    console = Console(stderr=True)
    try:
        span = tuple(round(moment(text, now).timestamp() * 1000) for text in (since, until))
        with (
            closing(open_readonly(database)) as connection,
            Progress(console=console, disable=not console.is_terminal, transient=True) as progress,
        ):
            connection.isolation_level = None
            names = [device_of(connection, text) for text in device or ()]
            task = progress.add_task(out.name, total=1)
            done = export_readings(
                connection, names or known_devices(connection), point, (span[0], span[1]), out,
                chosen, undated, lambda share: progress.update(task, completed=share),
            )  # fmt: skip
    except ValueError as error:
        raise OperatorError(str(error)) from error
    except sqlite3.Error as error:
        raise OperatorError(f"{database}: {error}: is it a collector's database?") from error
    except OSError as error:
        raise OperatorError(f"{out}: {error}: nothing was written there") from error
    typer.echo(json.dumps(asdict(done)) if json_output else _text(out, done, undated))
    raise typer.Exit(GOOD)


def _form_of(out: Path) -> Form:
    forms: dict[str, Form] = {
        ".csv": "csv",
        ".parquet": "parquet",
        ".json": "senml",
        ".senml": "senml",
    }
    found = forms.get(out.suffix.lower())
    if found is None:
        raise typer.BadParameter(
            f"expected a name that ends in {', '.join(_FORMS)}, got {out.name}; or name a --format",
            param_hint="--out",
        )
    return found


def _text(out: Path, done: ExportedReadings, with_undated: bool) -> str:
    size = out.stat().st_size
    counts = f"{done.readings} readings and {done.gaps} gaps of {done.devices} devices"
    if done.thinned:
        counts = f"{done.thinned} thinned values (of a minute or an hour), {counts}"
    lines = [f"{out}: {counts}, {size} bytes"]
    if done.undated:
        what = "are in it without one" if with_undated else "are not in it (--undated writes them)"
        lines.append(f"{done.undated_records} records have no time and {what}:")
        lines += [f"  {text}" for text in done.undated[:20]]
    return "\n".join(lines)
