"""What the demo shows: table and progress line have the figures of the same moment."""

from __future__ import annotations

from collections import Counter

from rich.console import Console

from gateway_agent.counters import Counters
from gateway_agent.status import DeviceStatus, OutboxStatus, PointValue, Status
from hil.demo.screen import View, draw, progress

NODE = DeviceStatus(
    id="tf-1",
    name="air-1",
    bus="rs485",
    unit=1,
    kind="node",
    role="air",
    auth="ok",
    state="ok",
    values=[PointValue("pm2_5", "ug/m3", 122.0), PointValue("co2", "ppm", None)],
    age_ms=1250,
    polls=42,
    errors=3,
    skipped=0,
    problem="",
)
STATUS = Status(
    gateway="demo",
    running_ms=8000,
    nodes=[NODE],
    counters=Counters(
        readings_recorded=500, readings_delivered=450, gaps=Counter(crc=1, bus_timeout=1)
    ),
    outbox=OutboxStatus(
        stream=1, last=81, receipted_to=77, depth=4, file_bytes=1, max_bytes=2, full=""
    ),
)
VIEW = View(STATUS, 8.0, 30.0, "2015-01-29T08:00", "noise", ["air-1: x"])


def shown(view: View) -> str:
    console = Console(width=110, record=True, file=None, force_terminal=False)
    with console.capture() as captured:
        console.print(draw(view))
    return captured.get()


def test_the_table_shows_nodes_outbox_and_events() -> None:
    text = shown(VIEW)
    for part in ("air-1", "pm2_5 122 µg/m³", "1.2 s", "42", "receipted to 77", "500", "2 gaps"):
        assert part in text
    assert "co2 -" in text
    assert "ppm" not in text
    assert "air-1: x" in text


def test_the_progress_line_shows_the_same() -> None:
    assert progress(VIEW) == (
        "   8 s  42 polls, 3 errors, 500 readings recorded, 450 delivered, 4 records waiting, "
        "2 gaps  (noise)"
    )


def test_a_gateway_that_has_no_outbox_yet() -> None:
    starting = Status(gateway="demo", running_ms=1, nodes=[], counters=Counters())
    assert "receipted to 0" in shown(View(starting, 0.0, 30.0, "2015-01-29T00:00"))
