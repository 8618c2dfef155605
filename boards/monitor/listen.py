"""A bus that is watched: only heard, without one byte of our own, or while one node is polled."""

import time
from collections.abc import Iterator
from typing import Final

from boards.flash.errors import CABLE, FlashingError
from boards.flash.serial_port import open_line
from boards.node_line import NodeLine, NodeSilence
from protocols.modbus_client.listener import BusListener, HeardFrame

from .watch import NodeReading, WatchedNode, reading_of

_LOOK_S: Final = 0.01


def heard(port: str, baud: int, until_s: float | None) -> Iterator[HeardFrame | None]:
    """Yield frames, and None at least every so often, so that a caller can stop. BoardError.

    ``until_s`` is when it ends by itself, after so many seconds; None: never.
    """
    listener = BusListener()
    begun = time.monotonic()
    with open_line(port, baud, _LOOK_S) as line:
        try:
            while until_s is None or time.monotonic() - begun < until_s:
                data = line.read(max(1, line.in_waiting))
                now_ms = round((time.monotonic() - begun) * 1000)
                yield from listener.feed(data, now_ms)
                yield None
        except OSError as error:
            raise FlashingError(CABLE, f"{port}: {error}") from error


def polled(
    port: str, unit: int, baud: int, every_s: float, until_s: float | None
) -> Iterator[tuple[WatchedNode, NodeReading | None, list[HeardFrame]]]:
    """Yield, after each poll, the node, its sample if it is a new one, and the frames that passed.

    A node that falls silent is waited for; one that never answers is a BoardError.
    """
    listener = BusListener()
    frames: list[HeardFrame] = []
    begun = time.monotonic()

    def tap(_sent: bool, data: bytes) -> None:
        frames.extend(listener.feed(data, round((time.monotonic() - begun) * 1000)))

    with NodeLine(port, unit, baud, tap=tap) as line:
        identity = line.identity()
        node = WatchedNode(identity, port, unit)
        polls = 0
        while True:
            reading = None
            try:
                shown = reading_of(line.sample(identity.map)[1])
                reading = shown if node.take(shown) else None
            except NodeSilence:
                node.silent += 1
            yield node, reading, frames[:]
            frames.clear()
            polls += 1
            left = begun + polls * every_s - time.monotonic()
            if until_s is not None and time.monotonic() + max(0.0, left) - begun >= until_s:
                return
            time.sleep(max(0.0, left))
