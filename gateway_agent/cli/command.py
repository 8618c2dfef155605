"""``tianfu-gateway get``, ``set`` and ``restart``: what a device has, and what people change."""

import getpass
import json
import os
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from gateway_agent.commands.command import Command, CommandResult
from gateway_agent.commands.socket import send_command
from gateway_agent.config import load
from gateway_agent.status import PointValue
from protocols.exit_status import FAULT
from protocols.uplink import MAX_OPERATOR_LENGTH

Config = Annotated[
    Path, typer.Option("--config", "-c", help="The agent's configuration, or state directory.")
]
Device = Annotated[str, typer.Argument(help="The device: NAME, BUS/NAME, or its id.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Confirm = Annotated[
    bool, typer.Option("--confirm", help="You have read what this change needs, and want it.")
]


def get(
    device: Device,
    config: Config,
    name: Annotated[str, typer.Argument(help="A setting or point; none: all.")] = "",
    json_output: Json = False,
) -> None:
    """Read settings of a node, or writable points of another device, from the device itself.

    Examples: tianfu-gateway get roof/air-1 --config gateway.toml
    tianfu-gateway get roof/air-1 sample_period --config gateway.toml

    The agent must be running: it asks between two polls. Exit status 1: it was not read, and why.
    """
    _run(Command(action="get", device=device, point=name), config, json_output)


def set_value(
    device: Device,
    name: Annotated[str, typer.Argument(help="A setting of the node, or a writable point.")],
    value: Annotated[
        list[str], typer.Argument(help="A number with its unit: 5 s. `now` sets a clock.")
    ],
    config: Config,
    confirm: Confirm = False,
    json_output: Json = False,
) -> None:
    """Change a setting of a node, or a writable point of another device, and read it back.

    Examples: tianfu-gateway set roof/air-1 sample_period 5 s --config gateway.toml
    tianfu-gateway set pump speed 40 % --config gateway.toml --confirm

    The value is checked before anything is sent. A node takes the write because it is signed with
    the node's key. Who changed what is in the stream. The agent must be running. Exit status 1: it
    was refused, or the device did not do it, and why.
    """
    command = Command(
        action="set", device=device, point=name, value=" ".join(value), confirm=confirm
    )
    _run(command, config, json_output)


def restart(device: Device, config: Config, json_output: Json = False) -> None:
    """Restart a node; its new address and speed come into force with that.

    Example: tianfu-gateway restart roof/air-1 --config gateway.toml

    Exit status 1: it did not, and why.
    """
    _run(Command(action="restart", device=device), config, json_output)


def _run(command: Command, config: Path, json_output: bool) -> None:
    state = state_directory(config)
    with Console(stderr=True).status(str(command)):
        result = send_command(state, command, _note())
    show_result(result, json_output)


def state_directory(config: Path) -> Path:
    """Return the state directory that a configuration names, or the one that is named itself.

    Who may command need not be allowed to read the configuration.
    """
    return config if config.is_dir() else load(config).gateway.state_dir


def show_result(result: CommandResult, json_output: bool) -> None:
    """Print what came of a command; end with FAULT if it is not done."""
    is_done = result.outcome == "done"
    if json_output:
        typer.echo(json.dumps(msgspec.to_builtins(result)))
    elif not is_done:
        typer.echo(f"{result.outcome}: {result.text}", err=True)
    elif len(result.values) > 1:
        for value in result.values:
            typer.echo(f"{value.name:20} {_shown(value)}")
    elif result.values and result.text == result.values[0].name:
        typer.echo(_shown(result.values[0]))
    else:
        typer.echo(result.text)
    if not is_done:
        raise typer.Exit(FAULT)


def _shown(value: PointValue) -> str:
    if value.text or value.value is None:
        return value.text or value.quality or "-"
    return f"{value.value:.12g} {value.unit}".strip()


def _note() -> str:
    """Return who commands; through sudo the kernel has only root."""
    try:
        name = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # OSError from Python 3.13 on
        return ""
    return name[:MAX_OPERATOR_LENGTH]
