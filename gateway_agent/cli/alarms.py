"""``tianfu-gateway alarms``: what the running agent's rules say, and what people do about it."""

import getpass
import json
import re
from typing import Annotated, Final

import msgspec
import typer
from rich.table import Table

from gateway_agent.alarms.socket import AlarmOrder, send_alarm_order
from gateway_agent.alarms.watch import AlarmError
from gateway_agent.cli.command import Config, state_directory
from gateway_agent.cli.output import table_console
from gateway_agent.errors import OperatorError
from gateway_agent.status import AlarmStatus
from gateway_agent.status_socket import read_status
from protocols.exit_status import FAULT, GOOD

_UNITS_MS: Final = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_COLOURS: Final = {"unacknowledged": "red", "acknowledged": "yellow"}


def alarms(
    config: Config,
    acknowledge: Annotated[
        str, typer.Option("--acknowledge", metavar="NAME", help="You have seen it; `all` for all.")
    ] = "",
    shelve: Annotated[
        str, typer.Option("--shelve", metavar="NAME", help="Put it aside for a time.")
    ] = "",
    maintenance: Annotated[
        str,
        typer.Option("--maintenance", metavar="DEVICE", help="You work on it: expect silence."),
    ] = "",
    span: Annotated[
        str, typer.Option("--for", metavar="TIME", help="How long: 30m, 8h, 2d; 0s takes it back.")
    ] = "8h",
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show the alarms that are not normal, the most urgent first; acknowledge or shelve one.

    Examples: tianfu-gateway alarms --config gateway.toml
    tianfu-gateway alarms --config gateway.toml --acknowledge river-high
    tianfu-gateway alarms --config gateway.toml --shelve pm-stuck --for 2d

    tianfu-gateway alarms --config gateway.toml --maintenance basin --for 2h

    While somebody works on a device no alarm about it begins, and what it does not answer is a gap
    with the cause operator. A restart of the agent ends that.

    Who did what is in the stream, with the alarm's name. Exit status 1: an alarm is active and
    nobody has seen it.
    """
    directory = state_directory(config)
    if acknowledge or shelve or maintenance:
        who = getpass.getuser()
        if acknowledge:
            order = AlarmOrder("acknowledge", "" if acknowledge == "all" else acknowledge, who)
        elif maintenance:
            order = AlarmOrder("maintain", maintenance, who, _span_ms(span))
        else:
            order = AlarmOrder("shelve", shelve, who, _span_ms(span))
        try:
            changed = send_alarm_order(directory, order)
        except AlarmError as error:
            raise OperatorError(str(error)) from error
        typer.echo(json.dumps({"changed": changed}) if json_output else f"{changed} changed")
        raise typer.Exit(GOOD)
    found = read_status(directory).alarm_summary
    if json_output:
        typer.echo(json.dumps({"alarms": msgspec.to_builtins(found)}))
    elif found:
        table_console().print(_table(found))
    else:
        typer.echo("all alarms are normal")
    raise typer.Exit(FAULT if any(item.state == "unacknowledged" for item in found) else GOOD)


def _span_ms(text: str) -> int:
    match = re.fullmatch(r"(\d{1,9})([smhd])", text)
    if match is None:
        raise OperatorError(f"--for: a time as 30m, 8h or 2d was expected, got {text!r}")
    return int(match[1]) * _UNITS_MS[match[2]]


def _table(found: list[AlarmStatus]) -> Table:
    table = Table()
    for name in ("alarm", "about", "severity", "state", "for", "what to do"):
        table.add_column(name)
    for item in found:
        since = (
            f"{item.for_ms // 60_000} min" if item.for_ms >= 60_000 else f"{item.for_ms // 1000} s"
        )
        style = _COLOURS.get(item.state)
        table.add_row(
            item.name, item.about, item.severity, item.state, since, item.text, style=style
        )
    return table
