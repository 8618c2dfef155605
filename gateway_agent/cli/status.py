"""``tianfu-gateway status``: print what the running agent, or collector, reports about itself."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer
from rich.console import RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gateway_agent.cli.output import Report, table_console
from gateway_agent.cli.status_lines import bus_lines, configuration_lines
from gateway_agent.collector.config import load as load_collector
from gateway_agent.collector.status import CollectorStatus, read_collector_status
from gateway_agent.config import load
from gateway_agent.status import (
    DeviceStatus,
    ExporterStatus,
    PointValue,
    RolloutStatus,
    Status,
    to_json,
)
from gateway_agent.status_socket import StatusError, read_status
from gateway_agent.tables import read_toml
from gateway_agent.uplink.gap_book import by_kind
from protocols.exit_status import FAULT, GOOD

S = TypeVar("S", Status, CollectorStatus)

WATCH_S: Final = 1.0
NO_RECEIPT_MS: Final = 30_000  # what was sent and has no receipt for so long is shown
MAX_VALUES: Final = 8  # of one device in the table; --json has them all
MAX_LINKS: Final = 16  # lines below the table; --json has them all
_FIRST: Final = ("failing", "quarantined", "new")  # states that the table begins with


def status(
    config: Annotated[
        Path,
        typer.Option("--config", "-c", help="Configuration of agent or collector."),
    ],
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Renew it every second.")] = False,
) -> None:
    """Show devices, outbox, uplink and counters of the running agent; streams of the collector.

    Example: tianfu-gateway status --config gateway.toml --watch

    Exit status 1: nothing answers, or there is an alarm, which stands until agent or collector is
    started again.
    """
    if "collector" in read_toml(config):
        database = load_collector(config).collector.database
        _show(lambda: read_collector_status(database), render_collector, json_output, watch)
    else:
        directory = load(config).gateway.state_dir
        _show(lambda: read_status(directory), render, json_output, watch)


def _show(
    read: Callable[[], S], render: Callable[[S], Report], json_output: bool, watch: bool
) -> None:
    if json_output:
        while True:
            found = read()
            typer.echo(to_json(found))
            if not watch:
                raise typer.Exit(FAULT if found.alarms else GOOD)
            time.sleep(WATCH_S)
    if not watch:
        found = read()
        table_console().print(render(found))
        raise typer.Exit(FAULT if found.alarms else GOOD)
    shown: RenderableType = replace(render(read()), fits=True)
    with Live(shown, console=table_console(), auto_refresh=False) as live:
        try:
            while True:
                time.sleep(WATCH_S)
                try:
                    shown = replace(render(read()), fits=True)
                except StatusError as error:
                    shown = Text(str(error), style="red")
                live.update(shown, refresh=True)
        except KeyboardInterrupt:
            return


def render(status: Status) -> Report:
    """Return the status as a table of devices, those that need a look first, and lines below it."""
    devices = sorted(status.nodes, key=_place)
    return Report(
        lambda rows: _devices(status.gateway, devices[:rows]),
        [device.state for device in devices],
        _lines(status),
    )


def _place(device: DeviceStatus) -> int:
    return _FIRST.index(device.state) if device.state in _FIRST else len(_FIRST)


def render_collector(status: CollectorStatus) -> Report:
    """Return the collector's status as a table of streams and lines below it."""
    state = "connected" if status.connected else f"down: {status.problem}"
    lines = [Text(f"broker: {status.broker} {state}", style="" if status.connected else "yellow")]
    lines += [Text(f"waiting: {text}", style="yellow") for text in status.waiting]
    lines += [Text(f"ALARM: {alarm}", style="red") for alarm in status.alarms]
    messages = ", ".join(f"{name} {count}" for name, count in status.messages.items())
    lines.append(Text(f"messages: {messages or 'none'}"))
    streams = ["streams"] * len(status.streams)
    return Report(lambda rows: _streams(status, rows), streams, lines)


def _streams(status: CollectorStatus, rows: int) -> Table:
    table = Table(title=f"collector {status.database}", title_justify="left", expand=False)
    table.add_column("gateway")
    for name in ("stream", "stored to"):
        table.add_column(name, justify="right")
    for stream in status.streams[:rows]:
        table.add_row(Text(stream.gateway), str(stream.stream), str(stream.contiguous_to))
    return table


def _devices(gateway: str, devices: list[DeviceStatus]) -> Table:
    table = Table(title=f"gateway {gateway}", title_justify="left", expand=False)
    for name in ("device", "role", "values", "age", "auth", "state"):
        table.add_column(name, ratio={"values": 1, "state": 2}.get(name))
    for name in ("polls", "errors"):
        table.add_column(name, justify="right")
    for device in devices:
        table.add_row(
            Text(f"{device.name} {device.title}".rstrip()),
            Text(device.role),
            Text(_values(device.values)),
            age(device.age_ms),
            Text(device.auth, style="green" if device.auth == "ok" else ""),
            Text(f"{device.state}: {device.problem}" if device.problem else device.state),
            str(device.polls),
            str(device.errors),
        )
    return table


def _value(item: PointValue) -> str:
    if item.quality or (item.value is None and item.text):
        return item.quality or item.text
    return f"{'-' if item.value is None else f'{item.value:g}'} {item.unit}"


def _values(values: list[PointValue]) -> str:
    shown = [f"{item.name} {_value(item)}".rstrip() for item in values[:MAX_VALUES]]
    if len(values) > MAX_VALUES:
        shown.append(f"and {len(values) - MAX_VALUES} more")
    return ", ".join(shown)


def age(milliseconds: int | None) -> str:
    """Return an age as people write it; ``-`` for never."""
    if milliseconds is None:
        return "-"
    seconds = milliseconds / 1000
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def _update_lines(update: RolloutStatus) -> list[Text]:
    lines = [Text(f"update of nodes to version {update.version}: {update.ended or 'under way'}")]
    if update.hindrance:
        lines.append(Text(f"  waits: {update.hindrance}", style="yellow"))
    for node in update.nodes:
        blocks = f", {node.blocks - node.missing} of {node.blocks} blocks" if node.blocks else ""
        problem = f": {node.problem}" if node.problem else ""
        style = "red" if problem else ""
        lines.append(Text(f"  {node.name} {node.phase}{blocks}{problem}", style=style))
    return lines


def _lines(status: Status) -> list[Text]:
    lines = []
    outbox, uplink = status.outbox, status.uplink
    if outbox is not None:
        lines.append(
            Text(
                f"outbox: {outbox.depth} records wait, recorded to {outbox.last},"
                f" receipted to {outbox.receipted_to} of stream {outbox.stream}"
            )
        )
        if outbox.full:
            lines.append(Text(f"no space, new records wait: {outbox.full}", style="red"))
    lines += [Text(f"ALARM: {alarm}", style="red") for alarm in status.alarms]
    for alarm in status.alarm_summary:
        style = "red" if alarm.state == "unacknowledged" else "yellow"
        lines.append(Text(f"alarm {alarm.name} ({alarm.about}): {alarm.state}", style=style))
    for receiver in status.notify:
        if receiver.problem or receiver.waiting or receiver.lost:
            text = f"notify {receiver.name} ({receiver.where}): {receiver.waiting} notices wait"
            text += f", {receiver.lost} lost" if receiver.lost else ""
            text += f"; {receiver.problem}" if receiver.problem else ""
            lines.append(Text(text, style="red" if receiver.lost else "yellow"))
    lines += configuration_lines(status.configuration)
    lines += [] if status.update is None else _update_lines(status.update)
    if status.waiting_for:
        lines.append(Text(f"outbox not open: {status.waiting_for}", style="red"))
    if uplink is not None:
        state = "connected" if uplink.connected else f"down: {uplink.problem}"
        style = "" if uplink.connected else "yellow"
        lines.append(Text(f"uplink: {uplink.broker} {state}", style=style))
        if uplink.receipt_problem:
            lines.append(
                Text(
                    f"the newest receipt was rejected: {uplink.receipt_problem};"
                    " is uplink.collector_key the key of this collector?",
                    style="red",
                )
            )
        if uplink.unheard:
            lines.append(
                Text(
                    "nobody is subscribed to our batches at the broker: does a collector run, and"
                    " may it read them?",
                    style="red",
                )
            )
        if uplink.waiting_ms >= NO_RECEIPT_MS:
            lines.append(
                Text(
                    f"no receipt for {age(uplink.waiting_ms)}: does a collector run that knows"
                    f" {status.gateway} and its key?",
                    style="red",
                )
            )
        if uplink.receipt == "puback":
            text = 'receipt = "puback": delivered means that the broker has it, not a database'
            lines.append(Text(text, style="yellow"))
    for exporter in status.uplinks:
        lines += _exporter_lines(exporter)
    linked = [device for device in status.nodes if device.link is not None]
    lines += bus_lines(status.buses)
    lines += [Text(_link(device)) for device in linked[:MAX_LINKS]]
    if len(linked) > MAX_LINKS:
        lines.append(Text(f"and {len(linked) - MAX_LINKS} more links"))
    shown = [
        f"{name} {_count(value)}" for name, value in status.counters.as_dict().items() if value
    ]
    books = status.reconciliation
    if books is not None:
        text = (
            f"unaccounted: {books.unaccounted} (sequence {books.sequence}, schedule"
            f" {books.schedule}, receipts {books.receipts}, archive {books.archive})"
        )
        lines.append(Text(text, style="red" if books.unaccounted else ""))
    lines.append(Text("counters: " + (", ".join(shown) or "all zero")))
    return lines


def _exporter_lines(exporter: ExporterStatus) -> list[Text]:
    state = "connected" if exporter.connected else "down"
    problem = f": {exporter.problem}" if exporter.problem else ""
    text = (
        f"uplink {exporter.name}: {exporter.where} {state}{problem}; sent to"
        f" {exporter.delivered_to}, {exporter.behind} records wait, {exporter.messages} messages,"
        f" {exporter.bytes} bytes"
    )
    if exporter.rejected:
        text += f", {exporter.rejected} wrong messages came"
    lines = [Text(text, style="yellow" if problem else "")]
    if exporter.lost:
        newest = exporter.losses[-1]
        lines.append(
            Text(
                f"uplink {exporter.name}: {exporter.lost} records will never be sent, the newest"
                f" are {newest.first} to {newest.last} of stream {newest.stream}: {newest.cause}",
                style="yellow",
            )
        )
    for gap in by_kind(exporter.gaps):
        first, last = (
            datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            for ms in (gap.first_ms, gap.last_ms)
        )
        text = (
            f"uplink {exporter.name}: {gap.count} of {gap.kind} will never be sent, from {first} to"
            f" {last}: {gap.cause}"
        )
        lines.append(Text(text, style="yellow"))
    return lines


def _link(device: DeviceStatus) -> str:
    """Return the session of a node on a link, and what its connection counted."""
    link = device.link
    assert link is not None
    trip = "" if link.round_trip_ms is None else f", round trip {link.round_trip_ms} ms"
    state = f"session {link.sessions}{trip}" if link.session else "no session"
    counts = {
        "resent": link.resent,
        "noise bytes": link.noise_bytes,
        "forged": link.forged,
        "repeated": link.repeats,
        "malformed": link.malformed,
        "refused": link.refused,
        "too many hellos": link.flooded,
    }
    others = "".join(f", {name} {value}" for name, value in counts.items() if value)
    return f"link {device.name}: {state}, {link.frames} frames{others}"


def _count(value: int | dict[str, int]) -> str:
    if isinstance(value, int):
        return str(value)
    return "(" + ", ".join(f"{cause} {count}" for cause, count in value.items()) + ")"
