"""Takes a row of each device every ten seconds, and gives back the last 48 hours of one.

Rows wait in memory until there is an hour of them, or the agent stops: then a thread writes them.
A kill costs the last hour of a picture, and no reading.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, NoReturn

from gateway_agent.cancellation import raise_if_cancelled, whatever_comes
from gateway_agent.status import DeviceStatus

from .history_file import KEEP_MS, HistoryFile, HistoryPiece, HistoryRow
from .view import AgentView

FILE_NAME: Final = "history.db"
STEP_S: Final = 10.0
PIECE_ROWS: Final = 360


class Recorder:
    """Collects rows; :meth:`take` and :meth:`series` are called in the loop."""

    def __init__(self, file: HistoryFile) -> None:
        self._file = file
        self._open: dict[str, HistoryPiece] = {}
        self._full: dict[str, HistoryPiece] = {}
        self._seen: dict[str, int] = {}  # when the newest good answer came, by device

    def take(self, devices: list[DeviceStatus], now_ms: int) -> None:
        """Add a row of each device that has a new answer, or gives none."""
        for device in devices:
            points = tuple(point.name for point in device.values)
            if device.age_ms is None and not device.problem:
                continue
            came_ms = 0 if device.age_ms is None else now_ms - device.age_ms
            seen_ms = self._seen.get(device.id, 0)
            if device.problem and came_ms <= seen_ms + 50:
                row = HistoryRow(now_ms, (), (), device.cause or "bus_timeout")
            elif abs(came_ms - seen_ms) > 50:  # the two clocks may differ by a little
                self._seen[device.id] = came_ms
                bad = any(point.quality for point in device.values)
                quality = tuple(point.quality for point in device.values) if bad else ()
                row = HistoryRow(came_ms, tuple(point.value for point in device.values), quality)
            else:
                continue
            self._add(device.id, points, row)

    def _add(self, device: str, points: tuple[str, ...], row: HistoryRow) -> None:
        piece = self._open.get(device)
        if piece is not None and points and piece.points and piece.points != points:
            self._close(device)
            piece = None
        if piece is None or (points and not piece.points):
            piece = HistoryPiece(points, [] if piece is None else piece.rows)
            self._open[device] = piece
        rows = piece.rows
        if row.cause and len(rows) > 1 and rows[-1].cause == rows[-2].cause == row.cause:
            rows[-1] = row  # a gap needs its two ends only
        else:
            rows.append(row)
        if len(rows) >= PIECE_ROWS:
            self._close(device)

    def _close(self, device: str) -> None:
        piece = self._open.pop(device)
        waiting = self._full.get(device)
        if waiting is not None and waiting.points == piece.points:
            waiting.rows.extend(piece.rows)
        else:
            self._full[device] = piece

    @property
    def is_full(self) -> bool:
        """Return whether something is to be written."""
        return bool(self._full)

    def flush(self, everything: bool = False) -> None:
        """Write full pieces, or all there is. Call it in a thread of its own."""
        full, self._full = self._full, {}
        self._file.write(full)
        if everything:
            opened, self._open = self._open, {}
            self._file.write(opened)

    async def series(self, device: str, from_ms: int, to_ms: int) -> list[HistoryPiece]:
        """Return the pieces of a device with rows in a time, the oldest first."""
        kept = await asyncio.to_thread(self._file.read, device, from_ms, to_ms)
        waiting = [held.get(device) for held in (self._full, self._open)]
        return kept + [piece for piece in waiting if piece is not None]


@asynccontextmanager
async def recorded(view: AgentView) -> AsyncIterator[Recorder]:
    """Record while the block runs."""
    web = view.config.web
    assert web is not None
    path = view.config.gateway.state_dir / FILE_NAME
    recorder = Recorder(HistoryFile(path, web.history_bytes))
    writing: set[asyncio.Future[None]] = set()

    async def keep() -> NoReturn:
        step_s = min(STEP_S, 1.0)
        while True:
            raise_if_cancelled()
            await asyncio.sleep(step_s)
            step_s = STEP_S
            recorder.take((await view.status()).nodes, time.time_ns() // 1_000_000)
            if recorder.is_full and not writing:
                future = asyncio.get_running_loop().run_in_executor(None, recorder.flush)
                writing.add(future)
                future.add_done_callback(writing.discard)

    keeping = asyncio.create_task(keep())
    try:
        yield recorder
    finally:
        keeping.cancel()
        await whatever_comes(asyncio.wait({keeping}))
        if writing:
            await whatever_comes(asyncio.wait(writing))
        recorder.flush(everything=True)


def oldest_ms() -> int:
    """Return from when on there is history."""
    return time.time_ns() // 1_000_000 - KEEP_MS
