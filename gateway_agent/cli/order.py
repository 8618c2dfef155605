"""``tianfu-gateway order``: commands and configurations for a gateway that only MQTT reaches."""

import asyncio
from pathlib import Path
from typing import Annotated, Final, get_args

import msgspec
import typer
from rich.console import Console

from gateway_agent.cli.command import show_result
from gateway_agent.cli.snapshot import write_whole
from gateway_agent.commands.command import Command, CommandAction
from gateway_agent.commands.send_order import deliver, load_operator, make_order
from gateway_agent.errors import OperatorError
from protocols.uplink import MAX_ORDER_BYTES

_USAGE: Final = (
    "get DEVICE [NAME] | set DEVICE NAME VALUE | restart DEVICE | snapshot DEVICE |"
    " configure FILE.toml | send FILE.order"
)


def order(
    words: Annotated[list[str], typer.Argument(metavar="ORDER...", help=_USAGE)],
    config: Annotated[Path, typer.Option("--config", "-c", help="The operator's own file.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write the order here, send nothing.")
    ] = None,
    life_s: Annotated[
        int, typer.Option("--for", min=1, max=86_400, help="Seconds in which it may be done.")
    ] = 600,
    wait_s: Annotated[int, typer.Option("--wait", min=1, help="Seconds for the reply.")] = 60,
    confirm: Annotated[
        bool, typer.Option("--confirm", help="You have read what this change needs, and want it.")
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Sign an order with your key, send it to a gateway over MQTT, and show its signed reply.

    Examples: tianfu-gateway order set roof/air-1 sample_period 5 s --config ana.toml
    tianfu-gateway order configure site-12.toml --config ana.toml
    tianfu-gateway order restart roof/air-1 --config ana.toml --for 3600 --out restart.order

    Your file names the gateway, its public key, your key and the broker (docs/operator.md); the
    gateway has your public key in [orders]. An order is done once, within its time, by the gateway
    that it is for; `send` gives an order of a file. Exit status 1: refused or failed, and why.
    """
    operator = load_operator(config)
    if words[0] == "send":
        data = _read(words)
    else:
        data = make_order(operator, _wanted(words, confirm), life_s)
    if out is not None:
        write_whole(out, data)
        typer.echo(f"{out}: an order for {operator.gateway}, good for {life_s} s")
        return
    with Console(stderr=True).status(f"{' '.join(words)}: waiting for {operator.gateway}"):
        result = asyncio.run(deliver(operator, data, wait_s))
    show_result(result, json_output)


def _wanted(words: list[str], confirm: bool) -> Command | str:
    action, *rest = words
    if action == "configure" and len(rest) == 1:
        try:
            return Path(rest[0]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise OperatorError(f"{rest[0]}: {error}") from error
    least = 3 if action == "set" else 1
    if action not in get_args(CommandAction) or len(rest) < least:
        raise OperatorError(f"expected {_USAGE}; got {' '.join(words)!r}")
    device, point, value = rest[0], "".join(rest[1:2]), " ".join(rest[2:])
    fields = {"action": action, "device": device, "point": point, "value": value}
    try:
        return msgspec.convert(fields | {"confirm": confirm}, Command)
    except msgspec.ValidationError as error:
        raise OperatorError(f"{' '.join(words)!r}: {error}") from error


def _read(words: list[str]) -> bytes:
    if len(words) != 2:
        raise OperatorError(f"expected send FILE, got {' '.join(words)!r}")
    try:
        with Path(words[1]).open("rb") as file:
            return file.read(MAX_ORDER_BYTES + 1)
    except OSError as error:
        raise OperatorError(f"{words[1]}: {error.strerror or error}") from error
