"""The monitor's screen: readable at 80 columns, without colour, whatever the values are."""

import io

from rich.console import Console

from boards.monitor.chart import plain, screen, spark
from boards.monitor.watch import NodeReading, PointReading, WatchedNode
from boards.node_line import NodeIdentity
from protocols.modbus_client.listener import BusListener
from protocols.wire.registers import map_of_role

NODE = NodeIdentity(bytes(range(1, 13)), map_of_role("air"), "TF-AIR", "")


def reading(seq: int, co2: float | None, epoch: int = 1) -> NodeReading:
    quality = "ok" if co2 is not None else "out-of-range"
    points = {point.name: PointReading(65535.0, "ok") for point in NODE.map.points}
    return NodeReading(epoch, seq, (), points | {"co2": PointReading(co2, quality)})


def drawn(node: WatchedNode) -> str:
    out = io.StringIO()
    frames = BusListener().feed(bytes(range(256)) * 3, 5)
    Console(file=out, width=80).print(screen(node, frames))
    return out.getvalue()


def test_a_curve_has_its_lowest_and_highest_value_and_holes() -> None:
    assert spark([400, 450, 800]) == "▁▂█"
    assert spark([5, 5]) == "▄▄"
    assert spark([1, None, 2]) == "▁·█"
    assert spark([None]) == "·"
    assert len(spark(range(100), 30)) == 30


def test_the_screen_keeps_to_80_columns_and_shows_every_point() -> None:
    node = WatchedNode(NODE, "/dev/serial/by-id/usb-FTDI", 247)
    for seq in range(1, 60):
        assert node.take(reading(seq, 400.0 + seq if seq % 7 else None))
    node.silent = 3
    text = drawn(node)
    assert max(len(line) for line in text.splitlines()) <= 80
    for point in NODE.map.points:
        assert point.name in text
    assert "65535" in text
    assert "459 ppm" in text
    assert "NO ANSWER to the last 3 polls" in text
    assert "…" not in text, "nothing is cut off"


def test_what_was_not_seen_is_counted() -> None:
    node = WatchedNode(NODE, "p", 1)
    assert node.take(reading(4, 1.0))
    assert not node.take(reading(4, 1.0)), "the same sample again"
    assert node.take(reading(7, 1.0))
    assert node.missed == 2
    assert node.take(reading(1, 1.0, epoch=2))
    assert (node.restarts, node.missed, node.samples) == (1, 2, 3)
    assert not node.take(reading(0, None, epoch=2)), "no sample since boot"


def test_a_line_names_the_quality_where_there_is_no_value() -> None:
    node = WatchedNode(NODE, "p", 1)
    assert "co2 out-of-range" in plain(node, reading(1, None))
    assert "co2 417 ppm" in plain(node, reading(1, 417.0))
