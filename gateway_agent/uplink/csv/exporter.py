"""Write CSV files by day: the day under way as ``DAY.csv.part``, a day that is over as ``DAY.csv``.

A file gets its name when its manifest ``DAY.csv.json`` and the gateway's signature of it,
``DAY.csv.json.sig``, are there. From then on nothing is written into it: what comes later for that
day goes into ``DAY.2.csv``, and so on. A record counts as delivered when its rows are on the
medium. Each record is in one file once, whenever the process ends.
"""

import asyncio
import logging
import os
from pathlib import Path
from typing import Final, NoReturn

from gateway_agent.cancellation import raise_if_cancelled, whatever_comes
from gateway_agent.directories import make_directory, sync_directory
from gateway_agent.uplink.feed import ExportContext, Feed
from protocols.export_record import Portion, SentMessage
from protocols.uplink import csv

from .config import CsvUplink

log = logging.getLogger(__name__)

CLOSE_AFTER_MS: Final = 600_000  # a day stays open for so long after midnight: slow devices
_LOOK_S: Final = 30.0


class _OpenDay:
    """The file of a day under way."""

    def __init__(self, folder: Path, day: str, stream: int, delivered_to: int) -> None:
        """Drop what is not delivered. OSError if the file cannot be read or made."""
        self.day = day
        number = 1
        while _name(folder, day, number).exists():
            number += 1
        self.path = _name(folder, day, number)
        self.part = self.path.with_name(self.path.name + ".part")
        data = self.part.read_bytes() if self.part.exists() else b""
        try:
            self.size = csv.delivered_bytes(data, stream, delivered_to)
        except ValueError as error:
            self.size = 0
            aside = _set_aside(self.part)
            log.error(
                "%s is damaged: %s; its rows are in %s, which gets no manifest, and what comes"
                " now goes into a new file",
                self.part,
                error,
                aside.name,
            )
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self.part, flags, 0o640)
        try:
            os.ftruncate(descriptor, self.size)
        finally:
            os.close(descriptor)
        if not self.size:
            self.append(csv.HEAD)
            sync_directory(folder)

    def append(self, data: bytes) -> None:
        """Write at the end; it is on the medium when this returns."""
        with self.part.open("r+b") as file:
            file.seek(self.size)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        self.size += len(data)


def _set_aside(part: Path) -> Path:
    """Give a damaged file another name, and return it."""
    number = 1
    while (aside := part.with_name(f"{part.name}.damaged-{number}")).exists():
        number += 1
    part.replace(aside)
    return aside


def _name(folder: Path, day: str, number: int) -> Path:
    return folder / (f"{day}.csv" if number == 1 else f"{day}.{number}.csv")


class CsvExporter:
    """Writes one folder."""

    def __init__(self, config: CsvUplink, context: ExportContext) -> None:
        self._folder = config.folder
        self._context = context
        self._days: dict[str, _OpenDay] = {}

    async def run(self, feed: Feed) -> NoReturn:
        """Write until cancelled. OSError: the folder or a file cannot be written."""
        self._days.clear()
        await whatever_comes(asyncio.to_thread(self._prepare, feed.stream, feed.delivered_to))
        feed.status.connected = True
        while True:
            raise_if_cancelled()
            portion = await feed.next(_LOOK_S)
            if portion is not None:
                traces = await whatever_comes(asyncio.to_thread(self._write, portion))
                await feed.spend(sum(size for _, size in traces), len(portion.records))
                await feed.delivered(portion, portion.last, [trace for trace, _ in traces])
            wall_ms = self._context.clock.wall().wall_ms
            if wall_ms is not None and (portion is None or portion.is_newest):
                await whatever_comes(
                    asyncio.to_thread(self._close_before, csv.day_of(wall_ms - CLOSE_AFTER_MS))
                )

    def _prepare(self, stream: int, delivered_to: int) -> None:
        make_directory(self._folder)
        for part in sorted(self._folder.glob("*.csv.part")):
            day = part.name.partition(".")[0]
            self._days[day] = _OpenDay(self._folder, day, stream, delivered_to)

    def _write(self, portion: Portion) -> list[tuple[SentMessage, int]]:
        """Write the rows; return what was written to each file, and how many bytes."""
        found: dict[str, tuple[list[int], list[bytes]]] = {}
        for record in portion.records:
            rows = csv.rows_of(portion.stream, record)
            day = csv.day_of(record.wall_ms)
            if not rows:
                continue
            if day not in self._days:
                self._days[day] = _OpenDay(self._folder, day, portion.stream, portion.last)
            seqs, pieces = found.setdefault(day, ([], []))
            seqs.append(record.seq)
            pieces.append(rows)
        written = []
        for day, (seqs, pieces) in found.items():
            file, data = self._days[day], b"".join(pieces)
            begin = file.size
            file.append(data)
            place = f"{file.path.name}:{begin}"
            written.append((SentMessage(place, tuple(seqs), "fsync", file.path.name), len(data)))
        return written

    def _close_before(self, day: str) -> None:
        """Sign the files of the days before ``day`` and give them their names."""
        for open_day in [file for file in self._days.values() if file.day < day]:
            data = open_day.part.read_bytes()
            rows = data.count(b"\r\n") - 1
            streams = sorted({f"{stream}:{seq}" for stream, seq in _ends(data)})
            path = open_day.path
            text = csv.manifest(self._context.gateway, path.name, data, rows, streams)
            _put(path.with_name(f"{path.name}.json"), text)
            if self._context.key is not None:
                _put(path.with_name(f"{path.name}.json.sig"), self._context.key.sign(text))
            open_day.part.replace(path)
            sync_directory(self._folder)
            del self._days[open_day.day]


def _ends(data: bytes) -> list[tuple[int, str]]:
    """Return the first and last record of each stream in a file."""
    found: dict[int, list[int]] = {}
    for line in data.split(b"\r\n")[1:-1]:
        stream, seq = (int(cell) for cell in line.rsplit(b",", 2)[1:])
        found.setdefault(stream, []).append(seq)
    return [(stream, f"{min(seqs)}-{max(seqs)}") for stream, seqs in found.items()]


def _put(path: Path, data: bytes) -> None:
    """Write a whole file in one step."""
    part = path.with_name(f"{path.name}.part")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
