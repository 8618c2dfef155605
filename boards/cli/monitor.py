"""``tianfu-node monitor``: one node or a whole bus, live."""

import json
from collections import deque
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.live import Live

from boards.errors import BoardError
from boards.monitor.chart import frame_text, plain, screen
from boards.monitor.listen import heard, polled
from boards.monitor.watch import NodeReading, WatchedNode
from boards.node_port import is_gateway, speed_at
from protocols.exit_status import FAULT, UNUSABLE
from protocols.modbus_client.listener import HeardFrame

from .line import PORT_HELP, Baud

_FRAMES: Final = 8  # of the bus, below the chart

Polls = Iterator[tuple[WatchedNode, NodeReading | None, list[HeardFrame]]]


def monitor(
    port: Annotated[str, typer.Option(help=PORT_HELP)],
    unit: Annotated[
        int | None, typer.Argument(min=1, max=247, help="Modbus address of the node.")
    ] = None,
    bus: Annotated[
        bool, typer.Option("--bus", help="Show the frames of the bus; without UNIT only listen.")
    ] = False,
    baud: Baud = 0,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds from poll to poll.")] = 1.0,
    count: Annotated[
        int | None, typer.Option(min=1, help="End after so many samples (frames of a bus).")
    ] = None,
    duration: Annotated[
        float | None, typer.Option(min=0, help="End after so many seconds.")
    ] = None,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object for each sample or frame.")
    ] = False,
) -> None:
    """Show a node's values live, with their course, and what passes on its bus.

    Example: tianfu-node monitor 7 --port /dev/ttyUSB0 --bus

    Ctrl-C ends it. Beside a gateway, listen with a second adapter: `monitor --bus --port PORT`
    sends nothing. Exit status 0: something was seen, 1: nothing, or the port cannot be used.
    """
    if unit is None and not bus:
        typer.echo("expected the address of a node, or --bus to listen only", err=True)
        raise typer.Exit(UNUSABLE)
    try:
        if unit is None and is_gateway(port):
            raise BoardError(f"{port}: a gateway lets no one listen: name the address of a node")
        baud = speed_at(port, baud)
        if unit is None:
            seen = _listen(port, baud, count, duration, json_output)
        else:
            seen = _poll(polled(port, unit, baud, every, duration), bus, count, json_output)
    except BoardError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(FAULT) from error
    if not seen:
        typer.echo(f"{port}: nothing was seen; check speed, A and B, and power", err=True)
        raise typer.Exit(FAULT)


def _listen(
    port: str, baud: int, count: int | None, duration: float | None, json_output: bool
) -> int:
    seen = 0
    with suppress(KeyboardInterrupt):
        for frame in heard(port, baud, duration):
            if frame is not None:
                typer.echo(json.dumps(frame.to_dict()) if json_output else frame_text(frame))
                seen += 1
                if seen == count:
                    break
    return seen


def _poll(polls: Polls, bus: bool, count: int | None, json_output: bool) -> int:
    """Show each poll: a chart on a terminal, lines elsewhere. Return how many samples came."""
    console = Console()
    chart = console.is_terminal and not json_output
    last: deque[HeardFrame] = deque(maxlen=_FRAMES)
    samples = 0
    screen_ = Live(console=console, auto_refresh=False) if chart else nullcontext()
    with suppress(KeyboardInterrupt), screen_ as live:
        for node, reading, frames in polls:
            last += frames
            samples = node.samples
            if live is not None:
                live.update(screen(node, last if bus else None), refresh=True)
            else:
                _print(node, reading, frames if bus else [], json_output)
            if samples == count:
                break
    return samples


def _print(
    node: WatchedNode, reading: NodeReading | None, frames: list[HeardFrame], json_output: bool
) -> None:
    for frame in frames:
        typer.echo(json.dumps(frame.to_dict()) if json_output else frame_text(frame))
    if reading is not None:
        typer.echo(json.dumps(reading.to_dict()) if json_output else plain(node, reading))
    elif node.silent:
        fields = {"no_answer": node.silent}
        typer.echo(json.dumps(fields) if json_output else f"NO ANSWER to {node.silent} polls")
