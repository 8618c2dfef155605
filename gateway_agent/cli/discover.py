"""``tianfu-gateway discover``: find the devices on a port."""

import asyncio
import json
from pathlib import Path
from typing import Annotated, NoReturn

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from gateway_agent.cli.output import table_console
from gateway_agent.config import Bus, LinkBus, RtuOverTcpBus, SerialBus, TcpBus
from gateway_agent.counters import Counters
from gateway_agent.field.bus_errors import BusDownError
from gateway_agent.field.discovery import SILENT, Found, config_block, scan
from gateway_agent.field.link.ask import LinkFound, ask, link_block
from gateway_agent.table_types import expected_of, fields_of, shown
from protocols.exit_status import FAULT, GOOD


def bus_of(
    port: str, baudrate: int, parity: str, stopbits: int, timeout_ms: int, over_tcp: bool
) -> Bus:
    """Return the bus to scan: a serial port's path, or ``host:port`` of a TCP device.

    typer.BadParameter names the argument that cannot be used.
    """
    fields: dict[str, object] = {
        "name": "bus-1",
        "baudrate": baudrate,
        "parity": parity,
        "stopbits": stopbits,
        "timeout_ms": timeout_ms,
        "turnaround_ms": 0,
        "device": (),
    }
    kind: type[SerialBus | TcpBus | RtuOverTcpBus] = SerialBus
    fields["port"] = port
    host, colon, number = port.rpartition(":")
    if colon and number.isdecimal() and not port.startswith("/"):
        kind = RtuOverTcpBus if over_tcp else TcpBus
        fields |= {"host": host, "port": int(number)}
    elif not port.startswith("/") and not Path(port).exists():
        raise typer.BadParameter(
            "expected the path of a serial port, for instance /dev/ttyUSB0, or host:port, for"
            f" instance 10.0.0.7:502; got {shown(port)}"
        )
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        key = str(error).rpartition("$.")[2].rstrip("`")
        expected = expected_of(fields_of(kind)[key].annotation)
        raise typer.BadParameter(f"{key}: expected {expected}, got {shown(fields[key])}") from error


def parse_bauds(text: str) -> list[int]:
    """Return ``9600,19200`` as numbers; typer.BadParameter for anything else."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(
            f"expected line speeds separated by commas, got {text!r}; write for instance 9600,19200"
        ) from error


async def _scan_all(
    buses: list[Bus],
    first: int,
    last: int,
    nodes_only: bool,
    counters: Counters,
    progress: Progress,
) -> list[Found]:
    found: list[Found] = []
    task = progress.add_task("scanning", total=len(buses) * (last - first + 1))
    for bus in buses:
        async for item in scan(bus, range(first, last + 1), counters, nodes_only):
            speed = "" if isinstance(bus, TcpBus) else f" at {bus.baudrate} baud"
            progress.update(
                task, advance=1, description=f"address {item.unit}{speed}, {len(found)} found"
            )
            if item.kind != SILENT:
                found.append(item)
    return found


def discover(
    port: Annotated[str, typer.Argument(help="Serial port, or host:port.")],
    bauds: Annotated[
        str,
        typer.Option(help="Line speeds to try, separated by commas; 9600, with --link 115200."),
    ] = "",
    parity: Annotated[str, typer.Option(help="N, E or O.")] = "N",
    stopbits: Annotated[int, typer.Option(help="1 or 2.")] = 1,
    first: Annotated[int, typer.Option("--from", min=0, max=255, help="First address.")] = 1,
    last: Annotated[int, typer.Option("--to", min=0, max=255, help="Last address.")] = 247,
    timeout_ms: Annotated[int, typer.Option(help="How long to wait for an answer.")] = 200,
    rtu_over_tcp: Annotated[
        bool, typer.Option(help="host:port is a serial server, not a Modbus TCP device.")
    ] = False,
    link: Annotated[
        bool, typer.Option("--link", help="Look for a node on the serial link, not for Modbus.")
    ] = False,
    nodes_only: Annotated[
        bool, typer.Option(help="Skip the questions that find third-party devices.")
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Ask the device at every address for its identity; print a configuration of those that answer.

    Example: tianfu-gateway discover /dev/ttyUSB0 --bauds 9600,19200 --from 1 --to 32

    A silent address costs seven time-outs, one with --nodes-only. Addresses 0 and 248 to 255, which
    some devices answer whatever their own is, are asked only if named.

    With --link the port is asked for a node that pushes over the serial link; that takes 2.5 s.

    The agent must not be running on the port. Exit status 0: a device answered, 1: none did, or
    the port cannot be used.
    """
    if first > last:
        raise typer.BadParameter(f"--from {first} is above --to {last}")
    speeds = parse_bauds(bauds or ("115200" if link else "9600"))
    if link:
        _discover_link(port, speeds, timeout_ms, json_output)
    buses = [bus_of(port, speed, parity, stopbits, timeout_ms, rtu_over_tcp) for speed in speeds]
    if isinstance(buses[0], TcpBus):
        del buses[1:]  # a TCP device has no line speed
    counters = Counters()
    with Progress(console=Console(stderr=True), transient=True) as progress:
        try:
            found = asyncio.run(_scan_all(buses, first, last, nodes_only, counters, progress))
        except BusDownError as error:
            typer.echo(error.detail, err=True)
            raise typer.Exit(FAULT) from error
    blocks = [
        config_block(bus, [item for item in found if item.baudrate == bus.baudrate])
        for bus in buses
        if any(item.baudrate == bus.baudrate for item in found)
    ]
    if json_output:
        result = {
            "found": [
                {
                    "unit": item.unit,
                    "baudrate": item.baudrate,
                    "kind": item.kind,
                    "role": item.role,
                    "uid": item.uid,
                    "map": item.map,
                    "identification": item.named(),
                    "detail": item.detail,
                }
                for item in found
            ],
            "late_replies": counters.late_replies,
            "config": blocks,
        }
        typer.echo(json.dumps(result))
    else:
        _show(found, blocks, counters)
    raise typer.Exit(GOOD if found else FAULT)


def _discover_link(port: str, speeds: list[int], timeout_ms: int, json_output: bool) -> NoReturn:
    found: list[LinkFound] = []
    blocks: list[str] = []
    for speed in speeds:
        way = bus_of(port, speed, "N", 1, timeout_ms, over_tcp=True)
        assert not isinstance(way, TcpBus)
        try:
            item = asyncio.run(ask(way, Counters()))
        except BusDownError as error:
            typer.echo(error.detail, err=True)
            raise typer.Exit(FAULT) from error
        if item is not None:
            found.append(item)
            if item.hello is not None:
                host = way.host if isinstance(way, RtuOverTcpBus) else None
                link = LinkBus(name="link-1", port=way.port, host=host, device=())
                blocks.append(link_block(link, item))
    nodes = [item for item in found if item.hello is not None]
    if json_output:
        result = {
            "found": [
                {
                    "baudrate": item.baudrate,
                    "kind": "node" if item.hello is not None else "noise",
                    "role": item.role,
                    "uid": item.uid,
                    "key_id": item.key_id,
                    "noise_bytes": item.noise_bytes,
                    "detail": item.detail,
                }
                for item in found
            ],
            "config": blocks,
        }
        typer.echo(json.dumps(result))
        raise typer.Exit(GOOD if nodes else FAULT)
    for item in found:
        who = f"{item.role} {item.uid}: " if item.hello is not None else ""
        typer.echo(f"{port} at {item.baudrate} baud: {who}{item.detail}")
    if not found:
        typer.echo("nothing speaks on the link; check wiring, power and speed", err=True)
    for block in blocks:
        typer.echo("\n" + block)
    raise typer.Exit(GOOD if nodes else FAULT)


def _show(found: list[Found], blocks: list[str], counters: Counters) -> None:
    table = Table(title=f"{len(found)} found", title_justify="left")
    for name in ("address", "baud", "what", "role", "unique id", "detail"):
        table.add_column(name)
    for item in found:
        about = ", ".join(item.named().values())
        table.add_row(
            str(item.unit),
            str(item.baudrate),
            item.kind,
            item.role,
            item.uid,
            f"{item.detail}{': ' if about else ''}{about}",
        )
    if found:
        table_console().print(table)
    else:
        typer.echo(
            "no device answered; check wiring, power, speed and parity, or look with --link",
            err=True,
        )
    if counters.late_replies:
        typer.echo(
            f"{counters.late_replies} answers came late: try again with a longer --timeout-ms",
            err=True,
        )
    for block in blocks:
        typer.echo("\n" + block)
