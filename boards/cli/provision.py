"""``tianfu-node provision``: what a new board's record store shall hold."""

import json
from pathlib import Path
from typing import Annotated

import typer

from boards.application import release_publics
from boards.errors import BoardError
from boards.folder import default_name
from boards.provision import provision as make
from boards.provision import setting, write_new
from protocols.exit_status import FAULT


def provision(
    role: Annotated[str, typer.Argument(help="air, water or camera.")],
    key: Annotated[
        Path, typer.Option(help="The node's key, from `tianfu-gateway keygen node`; mode 0600.")
    ],
    out: Annotated[Path, typer.Option(help="A new file for the content of the store.")],
    unit: Annotated[
        int | None, typer.Option(help="Modbus address, 1 to 247; 1 if no setting gives another.")
    ] = None,
    uid: Annotated[
        str | None, typer.Option(help="24 hex digits; without it the chip's own counts.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=N", help="A setting of docs/registers.md, raw value."),
    ] = None,
    release_keys: Annotated[
        list[Path] | None,
        typer.Option("--release-key", help="Public key (PEM) whose updates it takes; at most two."),
    ] = None,
    board: Annotated[
        str | None,
        typer.Option(help="A board of `tianfu-node boards`; without it the default board."),
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Make the record store of a new board: its role, its address, its key.

    Example: tianfu-node provision air --unit 2 --key keys/air-01.json --out store.bin

    The file is flashed beside the image, at the address that is printed, and deleted afterwards: it
    holds the secret. Exit status 0: made, 1: not.
    """
    try:
        board = board or default_name()
        values = dict(map(setting, settings or []))
        if unit is not None:
            values["unit_id"] = unit
        release = release_publics(release_keys or [])
        made = make(board, role, key, values, uid, release)
        write_new(out, made.store)
    except BoardError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(FAULT) from error
    if json_output:
        fields = {
            "board": board,
            "role": made.role,
            "uid": made.uid,
            "settings": made.settings,
            "key_id": made.key_id,
            "address": made.address,
            "bytes": len(made.store),
            "store": str(out),
        }
        typer.echo(json.dumps(fields))
        return
    extra = "".join(f", {name} {value}" for name, value in made.settings.items())
    typer.echo(
        f"{made.role} node {made.uid or '(the unique id of its chip)'}{extra}, key id "
        f"{made.key_id}\n"
        f"Flash {out}, all {len(made.store)} bytes, to {made.address:#010x}; then delete it: it "
        "holds the node's secret."
    )
