"""CSV files by day, with a manifest for each: their rows, their names and what a file begins with.

A row is one point of one record, in UTC; a gap is a row too, so that a hole in a file is never
silent. Columns: ``time``, ``device``, ``point``, ``unit``, ``value``, ``quality`` (empty for a
good value), ``uncertainty_ms`` of the time, ``stream`` and ``seq`` of the signed record.
"""

import csv
import hashlib
import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from protocols.export_record import ExportRecord

COLUMNS: Final = (
    "time", "device", "point", "unit", "value", "quality", "uncertainty_ms", "stream", "seq",
)  # fmt: skip
HEAD: Final = (",".join(COLUMNS) + "\r\n").encode()


def day_of(wall_ms: int) -> str:
    """Return the day, in UTC, whose file has a record."""
    return _utc(wall_ms).strftime("%Y-%m-%d")


def rows_of(stream: int, record: ExportRecord) -> bytes:
    """Return the rows of a record, as RFC 4180 has them; none for what is no reading and no gap."""
    time = _utc(record.wall_ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    tail = (record.unc_ms, stream, record.seq)
    text = io.StringIO()
    writer = csv.writer(text)
    if record.gap is not None:
        detail = f"gap: {record.gap.cause}"
        writer.writerow((time, record.name, "", "", "", detail, *tail))
    for name, unit, value, quality in record.points if record.is_data else ():
        shown = "" if value is None else value
        writer.writerow((time, record.name, name, unit, shown, quality, *tail))
    return text.getvalue().encode()


def delivered_bytes(data: bytes, stream: int, to: int) -> int:
    """Return how many bytes of a file are to stay: those before the first record after ``to``.

    A process may have ended while it wrote, before its place was stored: what follows is written
    again. Records of streams before ``stream`` stay. ValueError: the file is damaged, its head or
    the row that is named.
    """
    if not HEAD.startswith(data[: len(HEAD)]):
        raise ValueError("it does not begin with the names of the columns")
    if b"\0" in data:
        raise ValueError("it has zeros, as a file system leaves them after a power cut")
    at = len(HEAD)
    for number, line in enumerate(data[at : data.rfind(b"\r\n")].split(b"\r\n"), 2):
        if not line:
            break
        try:
            own, seq = (int(cell) for cell in line.rsplit(b",", 2)[1:])
        except ValueError:
            raise ValueError(f"row {number} does not end with the number of a record") from None
        if own == stream and seq > to:
            break
        at += len(line) + 2
    return at if len(data) >= at else 0


def manifest(gateway: str, name: str, data: bytes, rows: int, streams: Sequence[str]) -> bytes:
    """Return the manifest of a file, as the bytes that are signed.

    ``streams``: the records in it, as ``stream:first-last``.
    """
    content = {
        "bytes": len(data),
        "file": name,
        "gateway": gateway,
        "records": list(streams),
        "rows": rows,
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    return json.dumps(content, indent=1, sort_keys=True).encode() + b"\n"


def _utc(wall_ms: int) -> datetime:
    return datetime.fromtimestamp(wall_ms // 1000, UTC).replace(microsecond=wall_ms % 1000 * 1000)
