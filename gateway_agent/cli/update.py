"""``tianfu-gateway update``: give nodes a new application over their bus, by the running agent."""

import getpass
import os
import time
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import Progress, TaskID

from gateway_agent.config import load
from gateway_agent.status import RolloutStatus, to_json
from gateway_agent.status_socket import read_status
from gateway_agent.update.image import MAX_FILE, UpdateError
from gateway_agent.update.order_socket import UpdateOrder, send_order
from protocols.uplink import MAX_OPERATOR_LENGTH

_LOOK_S: Final = 1.0


def update(
    config: Annotated[Path, typer.Option("--config", "-c", help="The agent's configuration.")],
    target: Annotated[str, typer.Argument(help="A node's name or id, a role, or all.")] = "",
    image: Annotated[Path | None, typer.Option("--image", help="The image, a .tfu file.")] = None,
    canary: Annotated[int, typer.Option(help="Nodes that come first, alone.")] = 1,
    group: Annotated[int, typer.Option(help="Nodes at one time after them.")] = 8,
    wait: Annotated[bool, typer.Option(help="Wait for the end and show how far it is.")] = True,
    cancel: Annotated[bool, typer.Option("--cancel", help="End the one under way.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Give nodes a new application over their bus.

    Example: tianfu-gateway update water --image node-7.tfu --config gateway.toml --canary 2

    The agent must be running; it does the work between its polls, with at most 30 % of the bus, and
    goes on after a restart. Canaries come first, then groups; the first node that fails ends it.
    Exit status 1: it was refused or a node failed, and why.
    """
    state = load(config).gateway.state_dir
    if cancel:
        send_order(state, UpdateOrder(target="", cancel=True, operator=_operator()), b"")
        typer.echo("the update ends; nodes that were begun keep what they run")
        return
    if image is None or not target:
        raise UpdateError("expected a node, a role or all, and --image FILE")
    data = _read(image)
    order = UpdateOrder(
        target=target, size=len(data), canary=canary, group=group, operator=_operator()
    )
    nodes = send_order(state, order, data)
    if not wait:
        typer.echo(f"{nodes} nodes are updated; `tianfu-gateway status` shows how far they are")
        return
    ended = _follow(state)
    if json_output:
        typer.echo(to_json(ended))
    else:
        for node in ended.nodes:
            typer.echo(f"{node.name}: {node.phase}" + (f": {node.problem}" if node.problem else ""))
    if ended.ended != "done":
        raise UpdateError(ended.ended)


def _operator() -> str:
    """Return who gives the order, as the system has it; "" for an account without a name."""
    try:
        name = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # OSError from Python 3.13 on
        return ""
    return name[:MAX_OPERATOR_LENGTH]


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise UpdateError(f"{path}: {error.strerror or error}") from error
    if len(data) > MAX_FILE:
        raise UpdateError(f"{path}: longer than {MAX_FILE} bytes: no image for a node")
    return data


def _follow(state: Path) -> RolloutStatus:
    with Progress(console=Console(stderr=True), transient=True) as shown:
        tasks: dict[str, TaskID] = {}
        while True:
            now = read_status(state).update
            if now is None:
                raise UpdateError("the agent has no update any more: was its state removed?")
            for node in now.nodes:
                task = tasks.get(node.name)
                if task is None:
                    task = tasks[node.name] = shown.add_task(node.name, total=None)
                have = node.blocks - node.missing
                text = f"{node.name}: {node.phase}"
                shown.update(task, description=text, completed=have, total=node.blocks or None)
            if now.ended:
                return now
            time.sleep(_LOOK_S)
