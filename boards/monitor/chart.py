"""The screen of the monitor, readable at 80 columns, in colour or without, and as plain lines."""

from collections.abc import Iterable, Sequence
from typing import Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from protocols.modbus_client.listener import Heard, HeardFrame

from .watch import NodeReading, WatchedNode

WIDTH: Final = 80
SPARK: Final = 30  # columns of a curve
_BARS: Final = "▁▂▃▄▅▆▇█"
_HOLE: Final = "·"  # a sample without a valid value
_UNITS: Final = {"Cel": "°C", "ug/m3": "µg/m³", "/100": "%", "count": ""}
_COLOURS: Final = {Heard.DAMAGED: "red", Heard.EXCEPTION: "yellow"}


def spark(values: Sequence[float | None], width: int = SPARK) -> str:
    """Return the newest values as a curve; equal values lie in the middle."""
    shown = list(values)[-width:]
    valid = [value for value in shown if value is not None]
    if not valid:
        return _HOLE * len(shown)
    low, span = min(valid), max(valid) - min(valid)
    top = len(_BARS) - 1
    return "".join(
        _HOLE
        if value is None
        else _BARS[round((value - low) / span * top)]
        if span
        else _BARS[top // 2]
        for value in shown
    )


def screen(node: WatchedNode, frames: Iterable[HeardFrame] | None = None) -> RenderableType:
    """Return the node's values with their curves, and the frames of the bus below them."""
    parts: list[RenderableType] = [Text(_title(node), style="bold"), _values(node), _footer(node)]
    if frames is not None:
        parts.append(Text("bus", style="bold"))
        parts += [_frame_line(frame) for frame in frames]
    return Group(*parts)


def plain(node: WatchedNode, reading: NodeReading) -> str:
    """Return one sample as a line of a log."""
    words = [f"{reading.boot_epoch}/{reading.seq}"]
    for point in node.points:
        found = reading.points[point.name]
        value = found.quality if found.value is None else f"{found.value:g}{_unit(point.unit)}"
        words.append(f"{point.name} {value}")
    return "  ".join(words) + (f"  [{' '.join(reading.status)}]" if reading.status else "")


def frame_text(frame: HeardFrame) -> str:
    """Return a frame of the bus as a line."""
    return f"{frame.at_ms / 1000:9.3f} {frame.kind:<9} {frame.describe()}"


def _values(node: WatchedNode) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), width=WIDTH)
    table.add_column("point", no_wrap=True)
    table.add_column("now", justify="right", no_wrap=True)
    table.add_column("newest on the right", width=SPARK, no_wrap=True)
    table.add_column("from .. to", justify="right", no_wrap=True)
    for point in node.points:
        history = node.history.get(point.name, ())
        valid = [value for value in history if value is not None][-SPARK:]
        found = None if node.last is None else node.last.points[point.name]
        quality = "no-sample" if found is None else found.quality
        value = None if found is None else found.value
        table.add_row(
            point.name,
            Text(quality, style="red") if value is None else f"{value:g}{_unit(point.unit)}",
            Text(spark(tuple(history)), style="cyan"),
            f"{min(valid):g} .. {max(valid):g}" if valid else "",
        )
    return table


def _title(node: WatchedNode) -> str:
    return (
        f"{node.identity.map.role} node {node.identity.uid.hex()}, address {node.unit}, {node.port}"
    )


def _footer(node: WatchedNode) -> Text:
    words = [f"{node.samples} samples", f"{node.missed} not seen", f"{node.restarts} restarts"]
    if node.last is not None:
        words.append(f"status {' '.join(node.last.status) or 'good'}")
    text = Text(", ".join(words))
    if node.silent:
        text.append(f"\nNO ANSWER to the last {node.silent} polls", style="bold red")
    return text


def _frame_line(frame: HeardFrame) -> Text:
    text = frame_text(frame)
    if len(text) > WIDTH:
        text = text[: WIDTH - 4] + " ..."
    return Text(text, style=_COLOURS.get(frame.kind, ""))


def _unit(unit: str) -> str:
    """Return a unit as people write it, with the space before it."""
    shown = _UNITS.get(unit, unit)
    return f" {shown}" if shown else ""
