"""What helps to aim a camera and to set the zero of a level, without an image leaving the node.

A picture of the same size and quality has more bytes the sharper it is, because sharp edges take
more of them: brightness, contrast and bytes are points of every sample, so nothing else is needed.
"""

import datetime as dt
import statistics
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from boards.flash.errors import SITE_UNSTEADY, FlashingError
from boards.node_line import NodeIdentity, NodeLine, NodeLineError
from firmware.node.identity import NodeKey
from protocols.wire.site import NO_SETTING, RECORD

from .calibration import text

_LOOK_S: Final = 0.1
_SILENT_S: Final = 30.0
READINGS: Final = 5
WAVES_MM: Final = 30  # between the nearest and the farthest of the readings: calm water


@dataclass(frozen=True, slots=True)
class PictureFigures:
    """What the camera sees, in figures."""

    luma: int  # percent
    contrast: int  # percent
    sharpness: int  # bytes of the picture
    best: int  # the sharpest so far


def views(line: NodeLine, identity: NodeIdentity) -> Iterator[PictureFigures]:
    """Yield what each new picture shows, until the caller ends it. NodeLineError."""
    names = [point.name for point in identity.map.points]
    if "luma" not in names:
        raise NodeLineError(f"expected a camera node, got one of role {identity.map.role}")
    best = 0
    for raw, quality in _samples(line, identity):
        if quality[names.index("luma")]:
            continue
        sharpness = raw[names.index("image_bytes")]
        best = max(best, sharpness)
        yield PictureFigures(
            raw[names.index("luma")], raw[names.index("contrast")], sharpness, best
        )


def zero_level(
    line: NodeLine,
    identity: NodeIdentity,
    level_mm: int,
    gauge: str,
    hand: str,
    key: NodeKey | None,
    today: dt.date,
) -> int:
    """Record the zero of a level in the node and return it, in mm from the sensor.

    ``level_mm`` is what the staff gauge shows now: level = zero - distance. FlashingError: waves.
    """
    names = [point.name for point in identity.map.points]
    if "distance" not in names:
        raise NodeLineError(f"expected a node with a distance, got role {identity.map.role}")
    index = names.index("distance")
    readings: list[int] = []
    for raw, quality in _samples(line, identity):
        readings = [*readings, raw[index]] if not quality[index] else []
        if len(readings) == READINGS:
            break
    if max(readings) - min(readings) > WAVES_MM:
        raise FlashingError(SITE_UNSTEADY, f"distance: {readings} mm, expected {WAVES_MM} mm apart")
    distance = round(statistics.median(readings))
    zero = distance + level_mm
    if not (0 <= level_mm <= 0xFFFF and zero <= 0xFFFF):
        raise NodeLineError(f"expected a level of 0 to {0xFFFF - distance} mm, got {level_mm}")
    words = (NO_SETTING, (today - dt.date(1970, 1, 1)).days, distance, level_mm, zero, 0, 0)
    content = struct.pack(">7H", *words) + text(gauge, "gauge") + bytes(16) + text(hand, "hand")
    line.write(RECORD + index, struct.unpack(">31H", content), key, identity.uid)
    return zero


def _samples(
    line: NodeLine, identity: NodeIdentity
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Yield raw values and qualities of each sample that comes after the one shown now."""
    seq = line.sample(identity.map)[1].header.seq
    heard = time.monotonic()
    while time.monotonic() - heard < _SILENT_S + line.settings()[2] / 10:
        _, sample = line.sample(identity.map)
        if sample.header.seq != seq:
            seq, heard = sample.header.seq, time.monotonic()
            yield sample.raw, sample.quality
        time.sleep(_LOOK_S)
    raise NodeLineError(f"{line.port}: expected a new sample, got none: does the node sample?")
