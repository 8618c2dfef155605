"""What the demo's camera shows on its serial link: how soon a motion came, and a picture of it."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Final

from gateway_agent.collector.database import open_readonly
from gateway_agent.errors import OperatorError
from gateway_agent.file_socket import FileQuestion, ask_file
from hil.site.files import SiteFiles

_LOOK_S: Final = 0.1
#: How long before its frame came an event happened, by the node's clock as the gateway has it.
_MOTION: Final = (
    "SELECT offset_ms FROM events JOIN records USING (stream_id, seq)"
    " WHERE device = ? AND name = 'motion' AND arg = 1 ORDER BY seq, number LIMIT 1"
)


def motion_text(figures: Mapping[str, object]) -> str:
    """Return the figures of :class:`MotionReport` as a sentence."""
    if figures["event_ms"] is None:
        return "no motion before the camera"
    begin = f"motion before the camera was at the gateway {figures['event_ms']} ms after it began"
    if figures["problem"]:
        return f"{begin}; no picture: {figures['problem']}"
    return (
        f"{begin}; its picture, {figures['picture_bytes']} bytes, came in {figures['picture_s']} s"
    )


class MotionReport:
    """Waits for the first motion at the collector, then asks the gateway for the picture.

    ``device_id(name)`` is the node's id in the records.
    """

    def __init__(self, files: SiteFiles, device_id: Callable[[str], str]) -> None:
        self._files = files
        self._device_id = device_id
        self._event_ms: int | None = None
        self._picture_bytes: int | None = None
        self._picture_s: float | None = None
        self._problem = ""

    def figures(self) -> dict[str, object]:
        """Return what was found, None for what did not come in this run."""
        return {
            "event_ms": self._event_ms,
            "picture_bytes": self._picture_bytes,
            "picture_s": self._picture_s,
            "problem": self._problem,
        }

    async def follow(self, name: str) -> str:
        """Wait for the motion, fetch the picture into ``picture.jpg``, and return a sentence."""
        # Nobody announces a row of another process' database.
        while (event_ms := self._first(name)) is None:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_S)
        self._event_ms = event_ms
        begun = time.monotonic()
        try:
            answer, data = await asyncio.to_thread(
                ask_file, self._files.state, FileQuestion(f"{name}-1"), lambda have, size: None
            )
        except OperatorError as error:
            self._problem = str(error)
        else:
            self._picture_s = round(time.monotonic() - begun, 2)
            self._picture_bytes = answer.size
            (self._files.folder / "picture.jpg").write_bytes(data)
        return motion_text(self.figures())

    def _first(self, name: str) -> int | None:
        try:
            with closing(open_readonly(self._files.database, timeout_s=0.05)) as database:
                row = database.execute(_MOTION, (self._device_id(name),)).fetchone()
        except sqlite3.Error:
            return None
        return None if row is None else -int(row[0])
