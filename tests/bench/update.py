"""What an update costs a bus, in virtual time: of one node, of eight, of three on a bad line."""

from collections.abc import Iterator
from typing import Final

from tests.virtual_update import VirtualBus, image

from .report import Figure

SIZE: Final = 102_400
PERIOD_MS: Final = 5000
NODES: Final = (1, 8)
ON_THE_BUS: Final = 8
FAULTS: Final = 0.01
ON_A_BAD_LINE: Final = 4000  # bytes, for three nodes


def figures(size: int) -> Iterator[Figure]:
    """Yield the figures of an update of one and of eight of eight nodes at 9,600 baud."""
    for count in NODES:
        bus = VirtualBus(tuple(range(1, ON_THE_BUS + 1)), period_ms=PERIOD_MS)
        try:
            work = bus.work(image(size), nodes=count)
            bus.run(work)
            if any(node.phase != "done" for node in work.nodes):
                raise RuntimeError([node.problem or node.phase for node in work.nodes])
            what = f"update of {size // 1024} KB at 9,600 baud, {count} of {ON_THE_BUS} nodes"
            note = f"virtual time; {ON_THE_BUS} nodes polled every {PERIOD_MS // 1000} s"
            yield Figure(f"{what}: bus time", "s", None, note, [work.spent_ms / 1000])
            yield Figure(f"{what}: from order to confirmed", "s", None, note, [bus.now / 1000])
            yield Figure(
                f"{what}: share of the bus", "", "<= 0.305", note, [work.spent_ms / bus.now]
            )
            yield Figure(f"{what}: polls that were late", "", "<= 0", note, [float(bus.late)])
            yield Figure(
                f"{what}: polls not made while nodes erased or started", "", None, note,
                [float(bus.away)],
            )  # fmt: skip
        finally:
            bus.close()
    bus = VirtualBus((1, 2, 3), period_ms=PERIOD_MS, faults=FAULTS)
    try:
        work = bus.work(image(ON_A_BAD_LINE))
        bus.run(work)
        if any(node.phase != "done" for node in work.nodes):
            raise RuntimeError([node.problem or node.phase for node in work.nodes])
        what = f"update of {ON_A_BAD_LINE} bytes, 3 nodes, {FAULTS:.0%} of bytes damaged"
        note = f"virtual time; 9,600 baud; nodes polled every {PERIOD_MS // 1000} s"
        yield Figure(f"{what}: from order to confirmed", "s", "<= 1200", note, [bus.now / 1000])
        yield Figure(f"{what}: polls that were late", "", "<= 0", note, [float(bus.late)])
    finally:
        bus.close()
