"""``tianfu-gateway trace``: which signed records stand behind a message to a platform, or went."""

import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from gateway_agent.config import load
from gateway_agent.errors import OperatorError
from gateway_agent.uplink.trace_log import FILE, find_message, find_seq
from protocols.exit_status import FAULT


def trace(
    kind: Annotated[
        str | None, typer.Argument(help="Name or type of the uplink, for instance hj212.")
    ] = None,
    message: Annotated[
        str | None, typer.Argument(help="The platform's id: QN, serial number, packet id.")
    ] = None,
    config: Annotated[
        Path, typer.Option("--config", "-c", help="The agent's configuration.")
    ] = Path("gateway.toml"),
    seq: Annotated[int | None, typer.Option("--seq", help="A record: where did it go?")] = None,
    stream: Annotated[int | None, typer.Option("--stream", help="The record's stream.")] = None,
    limit: Annotated[int, typer.Option("--limit", help="The newest so many.", min=1)] = 20,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON objects.")] = False,
) -> None:
    """Show the signed records behind a message to a platform, or the messages made from a record.

    Example: tianfu-gateway trace hj212 20261128093000001 --config gateway.toml

    The other way round: tianfu-gateway trace --seq 4711. The agent may be running. Exit status 1:
    no such message is in the log, which keeps the newest 200,000.
    """
    if (seq is None) == (kind is None or message is None):
        raise OperatorError(
            "expected an uplink and a message, or --seq: for instance `trace csv 2026-11-28.csv:80`"
            " or `trace --seq 4711`"
        )
    directory = load(config).gateway.state_dir
    if not (directory / FILE).exists():
        raise OperatorError(f"{directory / FILE}: no exporter has sent anything yet")
    try:
        if seq is not None:
            found = find_seq(directory, seq, stream, limit)
        else:
            assert kind is not None
            assert message is not None
            found = find_message(directory, kind, message, limit)
    except sqlite3.Error as error:
        raise OperatorError(f"{directory / FILE}: {error}") from error
    for one in found:
        if json_output:
            typer.echo(json.dumps(one._asdict()))
            continue
        when = "at an unknown time"
        if one.wall_ms is not None:
            when = datetime.fromtimestamp(one.wall_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        typer.echo(
            f"{one.exporter} {one.message}: records {one.seqs} of stream {one.stream}, {when};"
            f" answer {one.ack}" + (f" ({one.text})" if one.text else "")
        )
    if not found:
        typer.echo("nothing of it is in the log", err=True)
        raise typer.Exit(FAULT)
