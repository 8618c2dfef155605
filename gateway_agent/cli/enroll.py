"""``tianfu-gateway enroll``: nodes of a station log become known to a gateway or a collector."""

from pathlib import Path
from typing import Annotated

import typer

from gateway_agent.enrolment import plan
from gateway_agent.enrolment_keys import load_enrolment_key
from gateway_agent.enrolment_log import NotEnrolled, read_nodes


def enroll(
    log: Annotated[Path, typer.Argument(help="The station log, with keys sealed to us.")],
    config: Annotated[
        Path, typer.Option(help="The configuration of the gateway, or of the collector.")
    ] = Path("gateway.toml"),
    key: Annotated[
        Path | None, typer.Option(help="Our private key; without it enroll.pem beside --config.")
    ] = None,
    bus: Annotated[str, typer.Option(help="The bus of the new nodes, if there are several.")] = "",
    uid: Annotated[
        list[str] | None, typer.Option(help="Only this node; without it all proven ones.")
    ] = None,
    replace: Annotated[
        str, typer.Option(metavar="NAME", help="The device that has a new board, or a new key.")
    ] = "",
    head: Annotated[
        str, typer.Option(help="The log's head, as the station reads it out: 16 digits or more.")
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be added; write nothing.")
    ] = False,
) -> None:
    """Make the gateway, or the collector, know the nodes of a station log and their keys.

    Example: tianfu-gateway enroll station.jsonl --config gateway.toml

    On the station: tianfu-node log --seal enroll.pem.pub; its last line has the head, which --head
    compares, so that a log that was cut short on the way is noticed. A [[bus]] may have no device
    before. Repeating it changes nothing. Restart the
    gateway afterwards. Exit status 0: all nodes are known, 1: nothing was written.
    """
    private = load_enrolment_key(key or config.resolve().parent / "enroll.pem")
    nodes = read_nodes(log, private, tuple(each.lower() for each in uid or []), head)
    done = plan(config, nodes, bus, replace)
    for step in done.steps:
        typer.echo(step)
    if not done.steps:
        typer.echo("all nodes of the log are known already")
    elif dry_run:
        typer.echo("dry run: nothing was written")
    else:
        try:
            done.apply()
        except OSError as error:
            raise NotEnrolled(f"{error.filename}: cannot be written: {error.strerror}") from error
        typer.echo(f"{config}: written; restart what reads it")
