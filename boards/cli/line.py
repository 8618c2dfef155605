"""``tianfu-node show``, ``set`` and ``calibrate``: one node on a line or behind a gateway."""

import json
from pathlib import Path
from typing import Annotated

import typer

from boards.configure import CALIBRATED, change, checked, restart
from boards.configure import calibrate as run_calibration
from boards.errors import BoardError
from boards.node_line import NodeIdentity, NodeLine
from boards.node_port import speed_at
from boards.provision import node_key, setting
from firmware.node.identity import NodeKey
from protocols.exit_status import FAULT
from protocols.wire.register_names import QUALITY_NAMES, STATUS_NAMES
from protocols.wire.registers import SETTINGS

PORT_HELP = "Serial port that no agent runs on; beside an agent gateway:BUS, its bus."
Port = Annotated[str, typer.Argument(help=PORT_HELP)]
Unit = Annotated[int, typer.Option(min=1, max=247, help="Modbus address of the node.")]
Baud = Annotated[
    int,
    typer.Option(help="Speed of the line.", show_default="9600, or that of the gateway's bus"),
]
Key = Annotated[
    Path | None, typer.Option(help="The node's key file; a node that has a key demands it.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def _proven(line: NodeLine, key: NodeKey | None) -> NodeIdentity:
    identity = line.identity()
    if key is not None and line.write_state().commissioned:
        line.check_key(key, identity)
    return identity


def show(port: Port, unit: Unit = 1, baud: Baud = 0, json_output: Json = False) -> None:
    """Print what a node is and has: unique id, role, key id, sample, raw readings, settings.

    Example: tianfu-node show /dev/ttyUSB0 --unit 2

    Exit status 0: shown, 1: not.
    """
    try:
        with NodeLine(port, unit, speed_at(port, baud)) as line:
            identity = line.identity()
            state = line.write_state()
            _, sample = line.sample(identity.map)
            raw = line.raw(identity.map) if state.counter.boot_epoch else []
            settings = line.settings()
    except BoardError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(FAULT) from error
    header = sample.header
    status = [name for bit, name in enumerate(STATUS_NAMES) if header.status & 1 << bit]
    points = {
        point.name: {
            "quality": QUALITY_NAMES[sample.quality[index]],
            "value": sample.raw[index] * 10.0**point.exp10 if not sample.quality[index] else None,
            "raw": raw[index] if raw else None,
        }
        for index, point in enumerate(identity.map.points)
    }
    about: dict[str, object] = {
        "uid": identity.uid.hex(),
        "role": identity.map.role,
        "map": f"{identity.map.map_id:04x}.{identity.map.version}",
        "key_id": header.key_id or None,
        "signed_writes": state.commissioned,
        "writes_refused": state.refused,
        "sample": f"{header.boot_epoch}/{header.seq}",
        "status": status,
    }
    named = {each.name: settings[at] for at, each in enumerate(SETTINGS)}
    if json_output:
        typer.echo(json.dumps(about | {"points": points, "settings": named}))
        return
    for name, text in about.items():
        typer.echo(f"{name:18}{' '.join(status) if text is status else text}")
    typer.echo("points")
    for name, point in points.items():
        value = "-" if point["value"] is None else f"{point['value']:g}"
        typer.echo(f"  {name:18}{value:10}{point['quality']:14}raw {point['raw']}")
    typer.echo("settings")
    for name, number in named.items():
        typer.echo(f"  {name:18}{number}")


def set_settings(
    port: Port,
    settings: Annotated[
        list[str], typer.Argument(metavar="NAME=N...", help="Settings of docs/registers.md, raw.")
    ],
    key: Key = None,
    unit: Unit = 1,
    baud: Baud = 0,
    restart_node: Annotated[
        bool, typer.Option("--restart", help="Restart it then: address and speed need that.")
    ] = False,
) -> None:
    """Change settings of a node, signed with its key, and read them back.

    Example: tianfu-node set /dev/ttyUSB0 sample_period_ds=100 --unit 2 --key keys/air-01.json

    Exit status 0: all settings are as asked, 1: they are not.
    """
    try:
        wanted = dict(map(setting, settings))
        checked(wanted)
        secret = None if key is None else node_key(key)
        with NodeLine(port, unit, speed_at(port, baud)) as line:
            identity = _proven(line, secret)
            changes = change(line, identity, wanted, secret)
            for each in changes:
                typer.echo(f"{each.name}: {each.old} -> {each.new}")
            if not changes:
                typer.echo("nothing to change")
            if restart_node:
                restart(line, identity, secret)
                typer.echo("the node restarts")
    except BoardError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(FAULT) from error


def calibrate(
    port: Port,
    point: Annotated[str, typer.Argument(help=" or ".join(CALIBRATED))],
    number: Annotated[int, typer.Argument(min=1, max=2, help="Which calibration point: 1 or 2.")],
    value: Annotated[float, typer.Argument(help="What the reference liquid has: 7.00, or 100.")],
    key: Key = None,
    unit: Unit = 1,
    baud: Baud = 0,
) -> None:
    """Make what a probe reads now one of its two calibration points.

    Example: tianfu-node calibrate /dev/ttyUSB0 ph 1 7.00 --unit 3 --key keys/water-01.json

    Put the probe into the reference liquid first. Five samples must agree. Exit status 0:
    calibrated, 1: not.
    """
    try:
        secret = None if key is None else node_key(key)
        with NodeLine(port, unit, speed_at(port, baud)) as line:
            identity = _proven(line, secret)
            done = run_calibration(line, identity, point, number, value, secret, typer.echo)
    except BoardError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(FAULT) from error
    for each in done.changes:
        typer.echo(f"{each.name}: {each.old} -> {each.new}")
    measured = "no valid value yet" if done.measured is None else f"{done.measured:g}"
    typer.echo(f"raw {done.raw}, spread {done.spread}; the node now measures {measured}")
