"""Write readings, thinned values and gaps of a collector into a file that appears when it is whole.

CSV and SenML-JSON are written a line at a time, Parquet in groups of rows: memory does not grow
with the span. A file that is not finished has another name, and is removed.
"""

import csv
import io
import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final, Literal, Protocol

from gateway_agent.directories import sync_directory

from .query import MissingSpan, read_missing
from .readings import MeasuredValue, ReadingsReader, StoredValue, ThinnedValue

Form = Literal["csv", "parquet", "senml"]

COLUMNS: Final = (
    "time", "device", "point", "value", "unit", "uncertainty_ms", "auth", "stream", "seq", "gap",
    "width_s", "readings", "mean", "least", "most",
)  # fmt: skip
_STEP: Final = 4096  # readings between two reports of progress


class ExportWriter(Protocol):
    """Writes one form into an open file."""

    def reading(self, reading: MeasuredValue) -> None:
        """Write a reading."""

    def thinned(self, value: ThinnedValue) -> None:
        """Write what is left of readings, so that nobody can take it for one."""

    def gap(self, gap: MissingSpan) -> None:
        """Write a gap, if the form has a word for it."""

    def end(self) -> None:
        """Write what ends the file."""


@dataclass
class ExportedReadings:
    """What went into a file, and what did not: ``undated`` names records without a time.

    ``thinned``: minutes and hours of a point that were written; the readings are no more.
    """

    devices: int = 0
    readings: int = 0
    thinned: int = 0
    gaps: int = 0
    undated: list[str] = field(default_factory=list)
    undated_records: int = 0


def export(
    connection: sqlite3.Connection,
    devices: Sequence[str],
    point: str,
    span: tuple[int, int],
    target: Path,
    form: Form,
    include_undated: bool = False,
    progress: Callable[[float], None] = lambda _share: None,
) -> ExportedReadings:
    """Write the readings of ``devices`` in ``span`` (its end not included) to ``target``.

    OSError: the medium; sqlite3.Error: the database. ``target`` is as it was before then.
    """
    partial = target.with_name(f"{target.name}.partial")
    reader = ReadingsReader(connection)
    done = ExportedReadings()
    try:
        with ExitStack() as stack:
            file = stack.enter_context(partial.open("wb"))
            os.fchmod(file.fileno(), 0o600)
            # One moment for all of it: a collector may write meanwhile.
            connection.execute("BEGIN")
            stack.callback(connection.rollback)
            writer = WRITERS[form](file)
            for number, device in enumerate(devices):
                _device(reader, connection, device, point, span, include_undated, writer, done,
                        lambda share, n=number: progress((n + share) / len(devices)))  # type: ignore[misc] # a default binds it  # fmt: skip
            writer.end()
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
        sync_directory(target.parent)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    return done


def _device(
    reader: ReadingsReader,
    connection: sqlite3.Connection,
    device: str,
    point: str,
    span: tuple[int, int],
    include_undated: bool,
    writer: ExportWriter,
    done: ExportedReadings,
    progress: Callable[[float], None],
) -> None:
    done.devices += 1
    begin, end = _seen(reader.span(device), span)
    for value in _all(reader, device, point, span, include_undated):
        if isinstance(value, ThinnedValue):
            writer.thinned(value)
            done.thinned += 1
        else:
            writer.reading(value)
            done.readings += 1
        if (done.readings + done.thinned) % _STEP == 0 and value.time_ms is not None:
            progress((value.time_ms - begin) / max(1, end - begin))
    for gap in read_missing(connection, device, *span):
        writer.gap(gap)
        done.gaps += 1
    for left_out in reader.without_time(device):
        done.undated_records += left_out.records
        done.undated.append(f"{device}: {left_out}")
    progress(1.0)


def _all(
    reader: ReadingsReader, device: str, point: str, span: tuple[int, int], include_undated: bool
) -> Iterator[StoredValue]:
    yield from reader.stored(device, point, *span)
    if include_undated:
        yield from reader.undated(device, point)


def _seen(found: tuple[int, int] | None, span: tuple[int, int]) -> tuple[int, int]:
    if found is None:
        return span
    return max(found[0], span[0]), min(found[1], span[1])


def shown_time(time_ms: int | None) -> str:
    """Return a time as ISO 8601 in UTC; "" for one that is not known."""
    if time_ms is None:
        return ""
    text = datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


class _Csv:
    def __init__(self, file: IO[bytes]) -> None:
        self._text = io.TextIOWrapper(file, "utf-8", newline="", write_through=False)
        self._out = csv.writer(self._text, lineterminator="\r\n")
        self._out.writerow(COLUMNS)

    def reading(self, reading: MeasuredValue) -> None:
        self._out.writerow((shown_time(reading.time_ms), *reading[1:], *[""] * 6))

    def thinned(self, value: ThinnedValue) -> None:
        self._out.writerow((
            shown_time(value.time_ms), value.device, value.point, "", value.unit, *[""] * 5,
            value.width_s, value.readings, value.mean, value.least, value.most,
        ))  # fmt: skip

    def gap(self, gap: MissingSpan) -> None:
        self._out.writerow((shown_time(gap.time_ms), gap.device, *[""] * 7, gap.cause, *[""] * 5))

    def end(self) -> None:
        self._text.flush()
        self._text.detach()


class _Senml:
    """SenML-JSON (RFC 8428), which has no word for a gap; an undated reading has no time there.

    A thinned minute has four names of its own: ``...:mean:60s`` and so on, at its begin.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._before = b"[\n"

    def reading(self, reading: MeasuredValue) -> None:
        self._write(
            f"{reading.device}:{reading.point}", reading.unit, reading.value, reading.time_ms
        )

    def thinned(self, value: ThinnedValue) -> None:
        name, width = f"{value.device}:{value.point}", f"{value.width_s}s"
        for what, number in (("mean", value.mean), ("least", value.least), ("most", value.most)):
            self._write(f"{name}:{what}:{width}", value.unit, number, value.time_ms)
        self._write(f"{name}:readings:{width}", "count", value.readings, value.time_ms)

    def _write(self, name: str, unit: str, value: float, time_ms: int | None) -> None:
        entry: dict[str, object] = {"n": name}
        if unit:
            entry["u"] = unit
        entry["v"] = value
        if time_ms is not None:
            entry["t"] = time_ms / 1000
        self._file.write(self._before + json.dumps(entry, ensure_ascii=False).encode())
        self._before = b",\n"

    def gap(self, gap: MissingSpan) -> None:
        pass

    def end(self) -> None:
        self._file.write(b"\n]\n" if self._before == b",\n" else b"[]\n")


def _parquet(file: IO[bytes]) -> ExportWriter:
    from .export_parquet import ParquetFile  # not everybody has pyarrow

    return ParquetFile(file)


WRITERS: Final[dict[Form, Callable[[IO[bytes]], ExportWriter]]] = {
    "csv": _Csv,
    "parquet": _parquet,
    "senml": _Senml,
}
