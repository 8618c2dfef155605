"""Find what people name: a device, a moment, and the gaps of a device in a span of time."""

import re
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class MissingSpan(NamedTuple):
    """What is missing: the time of the record that names it, how many polls, and why."""

    time_ms: int | None
    device: str
    cause: str
    slots: int | None
    detail: str


def read_missing(
    connection: sqlite3.Connection, device: str, from_ms: int, to_ms: int
) -> Iterator[MissingSpan]:
    """Yield the gaps that were recorded in a span."""
    yield from map(
        MissingSpan._make,
        connection.execute(
            "SELECT records.time_ms, gaps.device, cause, slots, detail FROM gaps"
            " JOIN records USING (stream_id, seq) WHERE gaps.device = ?1"
            " AND records.time_ms >= ?2 AND records.time_ms < ?3 ORDER BY records.time_ms",
            (device, from_ms, to_ms),
        ),
    )


def device_of(connection: sqlite3.Connection, text: str) -> str:
    """Return the id of the one device that ``text`` names. ValueError: none, or several."""
    known = known_devices(connection)
    found = [name for name in known if name == text or name.endswith(f".{text}")]
    if len(found) != 1:
        expected = ", ".join(found or known[:20]) or "none has a reading yet"
        raise ValueError(f"one device was expected ({expected}), got {text!r}")
    return found[0]


def known_devices(connection: sqlite3.Connection) -> list[str]:
    """Return the ids of the devices with readings, sorted."""
    rows = connection.execute("SELECT DISTINCT device FROM points ORDER BY device").fetchall()
    return [str(device) for (device,) in rows]


def moment(text: str, now: datetime) -> datetime:
    """Return the time that a person writes.

    ``now``, ``today`` and ``yesterday`` (their midnights where this machine is), ``90m``, ``2h`` or
    ``3d`` ago, or ISO 8601 (local time without an offset). ValueError: none of these.
    """
    midnight = now.astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    words = {"now": now, "today": midnight, "yesterday": midnight - timedelta(days=1)}
    if text in words:
        return words[text].astimezone(UTC)
    ago = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if ago is not None:
        return now - timedelta(seconds=int(ago[1]) * _UNITS_S[ago[2]])
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        raise ValueError(
            f"a time as 2026-11-28T08:00, 2h (ago), today or yesterday was expected, got {text!r}"
        ) from None
