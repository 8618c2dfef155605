"""How a UART reads the level of a line, bit by bit, when endpoints collide or wires are swapped.

Time is in *ticks*, 16 to a bit, as a UART's own oversampling has it. A signal is the sorted list
of its low intervals ``(from, to)``; everywhere else the line is high (idle). Only disturbed bytes
take this way: an undisturbed byte arrives as it was sent.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, TypeAlias

TICKS_PER_BIT: Final = 16
#: Start bit, eight data bits, stop bit.
BITS_PER_BYTE: Final = 10
TICKS_PER_BYTE: Final = TICKS_PER_BIT * BITS_PER_BYTE
_MIDDLE: Final = TICKS_PER_BIT // 2

Signal: TypeAlias = "list[tuple[int, int]]"


class Received(NamedTuple):
    """One byte as a UART takes it: ``tick`` of its start bit, ``framed`` if it had a stop bit."""

    tick: int
    byte: int
    framed: bool


def signal(byte: int, start: int) -> Signal:
    """Return the low intervals of one 8N1 byte whose start bit begins at ``start``."""
    low: Signal = []
    bits = byte << 1 | 0x200
    for index in range(BITS_PER_BYTE):
        if not bits >> index & 1:
            low.append((start + index * TICKS_PER_BIT, start + (index + 1) * TICKS_PER_BIT))
    return merge(low)


def merge(intervals: Iterable[tuple[int, int]]) -> Signal:
    """Return the wired-AND of signals: low where any of them is low."""
    merged: Signal = []
    for begin, end in sorted(intervals):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        elif end > begin:
            merged.append((begin, end))
    return merged


def invert(low: Signal, begin: int, end: int) -> Signal:
    """Return the signal from ``begin`` to ``end`` with A and B swapped."""
    inverted: Signal = []
    at = begin
    for start, stop in low:
        if stop <= begin or start >= end:
            continue
        if start > at:
            inverted.append((at, start))
        at = max(at, stop)
    if at < end:
        inverted.append((at, end))
    return inverted


def clear(low: Signal, begin: int, end: int) -> Signal:
    """Return the signal as a receiver gets it that is switched off from ``begin`` to ``end``."""
    kept: Signal = []
    for start, stop in low:
        if start < begin:
            kept.append((start, min(stop, begin)))
        if stop > end:
            kept.append((max(start, end), stop))
    return [(start, stop) for start, stop in kept if stop > start]


def receive(low: Signal, begin: int) -> list[Received]:
    """Return the bytes that a UART takes from a merged signal, listening from ``begin`` on.

    A start bit that is over before its middle is ignored. A byte without a stop bit is taken and
    marked; the next start bit is looked for when the line has been high again (a break is one 00).
    """
    starts = [interval[0] for interval in low]
    taken: list[Received] = []
    at = begin
    while True:
        low_until = _low_until(low, starts, at)
        if low_until:
            at = low_until
        index = bisect_right(starts, at - 1)
        if index == len(starts):
            return taken
        edge = starts[index]
        if not _low_until(low, starts, edge + _MIDDLE):
            at = edge + _MIDDLE
            continue
        byte = 0
        for bit in range(8):
            if not _low_until(low, starts, edge + (bit + 1) * TICKS_PER_BIT + _MIDDLE):
                byte |= 1 << bit
        stop = edge + 9 * TICKS_PER_BIT + _MIDDLE
        taken.append(Received(edge, byte, not _low_until(low, starts, stop)))
        at = stop


def _low_until(low: Signal, starts: Sequence[int], tick: int) -> int:
    """Return where the low interval around ``tick`` ends; 0 if the line is high there."""
    index = bisect_right(starts, tick) - 1
    return low[index][1] if index >= 0 and tick < low[index][1] else 0
