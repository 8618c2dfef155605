"""``tianfu-gateway status``: what the running agent sees."""

import json
import time
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gateway_agent.config import load
from gateway_agent.status import StatusError, read_status

WATCH_S: Final = 1.0
MAX_VALUES: Final = 8  # of one device in the table; --json has them all


def status(
    config: Annotated[Path, typer.Option("--config", "-c", help="The agent's configuration file.")],
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Renew it every second.")] = False,
) -> None:
    """Show devices, outbox, uplink and counters of the running agent.

    Example: tianfu-gateway status --config gateway.toml --watch

    Exit status 1: no agent answers.
    """
    directory = load(config).gateway.state_dir
    if json_output:
        while True:
            typer.echo(json.dumps(read_status(directory)))
            if not watch:
                return
            time.sleep(WATCH_S)
    if not watch:
        Console().print(render(read_status(directory)))
        return
    with Live(render(read_status(directory)), console=Console(), auto_refresh=False) as live:
        try:
            while True:
                time.sleep(WATCH_S)
                try:
                    shown = render(read_status(directory))
                except StatusError as error:
                    shown = Group(Text(str(error), style="red"))
                live.update(shown, refresh=True)
        except KeyboardInterrupt:
            return


def render(snapshot: dict[str, object]) -> Group:
    """A snapshot of :meth:`GatewayAgent.snapshot` as tables."""
    return Group(_devices(snapshot), *_lines(snapshot))


def _devices(snapshot: dict[str, object]) -> Table:
    table = Table(title=f"gateway {snapshot.get('gateway')}", title_justify="left", expand=False)
    for name in ("device", "role", "values", "age", "auth", "state"):
        table.add_column(name)
    for name in ("polls", "errors"):
        table.add_column(name, justify="right")
    for node in _dicts(snapshot.get("nodes")):
        state = str(node.get("state"))
        problem = str(node.get("problem") or "")
        table.add_row(
            Text(str(node.get("name"))),
            Text(str(node.get("role"))),
            Text(_values(node.get("values"))),
            age(node.get("age_ms")),
            Text(str(node.get("auth")), style="green" if node.get("auth") == "ok" else ""),
            Text(f"{state}: {problem}" if problem else state),
            str(node.get("polls")),
            str(node.get("errors")),
        )
    return table


def _values(values: object) -> str:
    shown = []
    every = _dicts(values)
    for value in every[:MAX_VALUES]:
        number = value.get("value")
        text = "-" if number is None else f"{number:g}" if isinstance(number, float) else number
        shown.append(f"{value.get('name')} {text} {value.get('unit') or ''}".rstrip())
    if len(every) > MAX_VALUES:
        shown.append(f"and {len(every) - MAX_VALUES} more")
    return ", ".join(shown)


def age(milliseconds: object) -> str:
    """An age for people: ``-`` for never."""
    if not isinstance(milliseconds, (int, float)):
        return "-"
    seconds = milliseconds / 1000
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def _lines(snapshot: dict[str, object]) -> list[Text]:
    lines = []
    outbox, uplink = snapshot.get("outbox"), snapshot.get("uplink")
    if isinstance(outbox, dict):
        lines.append(
            Text(
                f"outbox: {outbox.get('depth')} records wait, recorded to {outbox.get('last')},"
                f" receipted to {outbox.get('receipted_to')} of stream {outbox.get('stream')}"
            )
        )
        if outbox.get("full"):
            lines.append(Text(f"no space, new records wait: {outbox['full']}", style="red"))
    if snapshot.get("waiting_for"):
        lines.append(Text(f"outbox not open: {snapshot['waiting_for']}", style="red"))
    if isinstance(uplink, dict):
        state = "connected" if uplink.get("connected") else f"down: {uplink.get('problem')}"
        style = "" if uplink.get("connected") else "yellow"
        lines.append(Text(f"uplink: {uplink.get('broker')} {state}", style=style))
        if uplink.get("receipt") == "puback":
            text = 'receipt = "puback": delivered means that the broker has it, not a database'
            lines.append(Text(text, style="yellow"))
    counters = snapshot.get("counters")
    if isinstance(counters, dict):
        shown = [f"{name} {_count(value)}" for name, value in counters.items() if value]
        lines.append(Text("counters: " + (", ".join(shown) or "all zero")))
    return lines


def _count(value: object) -> str:
    if isinstance(value, dict):
        return "(" + ", ".join(f"{cause} {count}" for cause, count in value.items()) + ")"
    return str(value)


def _dicts(value: object) -> list[dict[str, object]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
