"""``tianfu-node log``: what this station did, checked, exported, and made ready for the gateway."""

import csv
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from boards.errors import BoardError
from boards.flash import station_log
from boards.flash.sealing import seal_keys
from protocols.exit_status import FAULT
from protocols.station_log import HEAD_DIGITS, HEAD_RULE, StationChain

# How each line begins in the table; what else stands in a line comes behind.
_FIRST_COLUMNS = (
    *("time", "who", "station", "lane", "event", "board", "uid", "role", "unit", "key_id"),
    *("image", "verified_by", "seconds", "usb_serial"),
)


def log(
    file: Annotated[Path, typer.Option("--log", help="The station log.")] = Path("station.jsonl"),
    as_csv: Annotated[bool, typer.Option("--csv", help="Print a table for a spreadsheet.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check the chain alone; print the head to write down.")
    ] = False,
    head: Annotated[
        str, typer.Option(help="A head written down before: it must still be in the log.")
    ] = "",
    seal: Annotated[
        list[Path] | None,
        typer.Option(help="Add the keys of proven boards, sealed to this .pub file of a gateway."),
    ] = None,
    keys: Annotated[Path, typer.Option(help="Folder of the nodes' keys.")] = Path("keys"),
) -> None:
    """Print the station log: who did what to which board and how it was verified.

    Example: tianfu-node log --seal site-12.pub

    The sealed log is then given to `tianfu-gateway enroll`. Exit status 0: the log is whole, 1: a
    line was changed, removed or cut off.
    """
    try:
        if seal:
            typer.echo(f"{seal_keys(file, keys, seal)} keys sealed", err=True)
        found = station_log.chain(file)
        _check_head(file, found, head.lower())
        if verify and found.cut:
            raise BoardError(
                f"{file}: expected whole lines, line {found.cut[0]} was cut off; power was lost, "
                "or somebody cut the file: compare --head with the head that was written down"
            )
    except BoardError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(FAULT) from error
    if json_output:
        typer.echo(json.dumps({"head": found.head, "lines": found.lines}))
    elif as_csv:
        names = list(dict.fromkeys([*_FIRST_COLUMNS, *(n for line in found.lines for n in line)]))
        table = csv.DictWriter(sys.stdout, names, lineterminator="\n")
        table.writeheader()
        table.writerows({n: _safe(line.get(n)) for n in names} for line in found.lines)
    else:
        for line in [] if verify else found.lines:
            shown = [str(line[name]) for name in _FIRST_COLUMNS if name in line]
            typer.echo(" ".join(shown + [str(line.get("error", ""))]).rstrip())
        typer.echo(f"{len(found.lines)} lines, head {found.head}")


def _safe(value: object) -> object:
    """Return a cell that a spreadsheet does not take for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in {"=", "+", "-", "@"} else value


def _check_head(path: Path, found: StationChain, head: str) -> None:
    heads = [str(line["prev"]) for line in found.lines] + [found.head]
    if head and not any(len(head) >= HEAD_DIGITS and each.startswith(head) for each in heads):
        raise BoardError(
            f"{path}: expected the head {head} ({HEAD_RULE}) in the chain, it is not there: "
            "lines were cut off at the end, or it is another log"
        )
