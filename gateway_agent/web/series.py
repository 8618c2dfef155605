"""Makes a chart's data of the history: columns of values, and the times without any."""

import time
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Final

import msgspec
from msgspec import Raw, structs

from .history_file import HistoryPiece, HistoryRow
from .shapes import DeviceHistory, GapBand, PointSeries

MOST_ROWS: Final = 20_000  # 48 hours at ten seconds are 17,280


def history_of(
    device: str, pieces: list[HistoryPiece], units: dict[str, str], from_ms: int, silent_ms: int
) -> DeviceHistory:
    """Return the rows of ``pieces`` since ``from_ms`` as columns.

    A time of ``silent_ms`` without a row is a gap that nobody recorded.
    """
    names = list(dict.fromkeys(name for piece in pieces for name in piece.points))
    times: list[int] = []
    values: dict[str, list[float | None]] = {name: [] for name in names}
    quality: dict[str, list[str]] = {name: [] for name in names}
    rows = sorted(_rows(pieces, from_ms), key=lambda item: item[1].t_ms)[-MOST_ROWS:]
    before_ms = rows[0][1].t_ms if rows else 0
    for points, row in rows:
        if row.t_ms - before_ms >= silent_ms:  # a chart must not draw a line across
            times.append(before_ms + 1)
            for name in names:
                values[name].append(None)
                quality[name].append("")
        before_ms = row.t_ms
        times.append(row.t_ms)
        found = dict(zip(points, row.values, strict=False))
        grades = dict(zip(points, row.quality, strict=False))
        for name in names:
            values[name].append(found.get(name))
            quality[name].append(grades.get(name, ""))
    return DeviceHistory(
        device=device,
        t_ms=times,
        points=[
            PointSeries(
                name=name, unit=units.get(name, ""), values=values[name], quality=quality[name]
            )
            for name in names
        ],
        gaps=_merged(_gaps([row for _, row in rows], silent_ms)),
    )


def in_steps(history: DeviceHistory) -> bytes:
    """Return the JSON of a history, in a thread of its own: no step holds the loop for long."""
    points = []
    for point in history.points:
        points.append(Raw(msgspec.json.encode(point)))
        time.sleep(0)  # the interpreter's lock goes to the loop
    whole = structs.replace(history, points=[])
    return msgspec.json.encode({**structs.asdict(whole), "points": points})


def _rows(
    pieces: Iterable[HistoryPiece], from_ms: int
) -> Iterator[tuple[tuple[str, ...], HistoryRow]]:
    for piece in pieces:
        for row in piece.rows:
            if row.t_ms >= from_ms:
                yield piece.points, row


def _gaps(rows: list[HistoryRow], silent_ms: int) -> Iterator[GapBand]:
    """Yield the time between two rows of which one is no value, or which are far apart."""
    for before, after in pairwise(rows):
        if before.cause or after.cause:
            cause = before.cause or after.cause
            yield GapBand(before.t_ms, after.t_ms, cause)
        elif after.t_ms - before.t_ms >= silent_ms:
            yield GapBand(before.t_ms, after.t_ms, "no-data")


def _merged(gaps: Iterable[GapBand]) -> list[GapBand]:
    merged: list[GapBand] = []
    for gap in gaps:
        if merged and merged[-1].to_ms == gap.from_ms and merged[-1].cause == gap.cause:
            gap = GapBand(merged.pop().from_ms, gap.to_ms, gap.cause)
        merged.append(gap)
    return merged
