"""What arrived at the other end of each exporter, counted there, against what the collector holds.

The collector's database is itself compared with the log of the device, so each platform is measured
by what the device served. Nothing here asks the gateway, but for the losses that it names.
"""

import csv
import json
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Final, NamedTuple

from hil.platform.hj212_platform import Hj212Platform
from hil.platform.sl651_centre import Sl651Centre
from protocols.uplink.hj212 import parse_data_time
from tests.promise.site import PromiseSite
from tests.unit.gateway_agent.exporters.line_protocol import Line

MINUTE_MS: Final = 1000  # a minute of the trial
_DOUBLE: Final = b"\x69"  # protobuf: field 13, eight bytes


class Stored(NamedTuple):
    """A record that the collector has: of a reading, or of a gap (``value`` is None)."""

    stream: int
    seq: int
    device: str
    time_ms: int
    value: int | None


def stored_records(site: PromiseSite) -> list[Stored]:
    """Return what the collector has, in the order of the streams."""
    rows = site.rows(
        "SELECT stream, seq, device, time_ms, value FROM records JOIN streams ON"
        " streams.id = stream_id JOIN readings USING (stream_id, seq)"
        " UNION ALL SELECT stream, seq, device, NULL, NULL FROM gaps JOIN streams ON"
        " streams.id = stream_id ORDER BY stream, seq"
    )
    return [Stored(*row) for row in rows]


def _differing(what: str, found: Iterable[object], wanted: Iterable[object]) -> list[str]:
    have, want = set(found), set(wanted)
    texts = [f"{what}: never arrived: {sorted(want - have)[:20]}"] if want - have else []  # type: ignore[type-var] # all of one kind
    if have - want:
        texts.append(f"{what}: arrived, and the collector has none: {list(have - want)[:20]}")
    return texts


def _repeated(what: str, found: Iterable[object]) -> list[str]:
    again = [key for key, count in Counter(found).items() if count > 1]
    return [f"{what}: is there more than once: {again[:20]}"] if again else []


def _rows(folder: Path) -> Iterator[dict[str, str]]:
    for path in folder.glob("*.csv*"):
        with path.open(newline="", encoding="ascii") as lines:
            yield from csv.DictReader(lines)


def csv_files(folder: Path, records: Sequence[Stored]) -> list[str]:
    """Each record is one row of one file, with its value."""
    found = []
    for row in _rows(folder):
        value = int(row["value"]) if row["value"] else None
        found.append((int(row["stream"]), int(row["seq"]), value))
    wanted = [(one.stream, one.seq, one.value) for one in records]
    return _differing("csv", found, wanted) + _repeated("csv", found)


def influx_points(lines: Sequence[Line], records: Sequence[Stored]) -> list[str]:
    """Each record is one point: writes of the same series and time are the same."""
    points: dict[tuple[object, ...], Line] = {}
    texts = []
    for line in lines:
        key = line.measurement, line.time, *sorted(line.tags.items())
        if points.setdefault(key, line).fields != line.fields:
            texts.append(f"influxdb: another record overwrote {key}")
    found = []
    for line in points.values():
        value = line.fields.get("count")
        found.append((line.fields["seq"], None if value is None else int(value)))
    wanted = [(one.seq, one.value) for one in records]
    return texts + _differing("influxdb", found, wanted) + _repeated("influxdb", found)


def json_messages(payloads: Sequence[bytes], records: Sequence[Stored]) -> list[str]:
    """Each record came at least once, with its time."""
    found = []
    for message in map(json.loads, payloads):
        value = message["values"]["count"] if "values" in message else None
        found.append((message["stream"], message["seq"], value))
    wanted = [(one.stream, one.seq, one.value) for one in records]
    return _differing("mqtt-json", found, wanted)


def thingsboard_values(payloads: Sequence[bytes], records: Sequence[Stored]) -> list[str]:
    """Each value came at least once, under the time that the collector has."""
    found = [
        (row["ts"], row["values"]["count"])
        for message in map(json.loads, payloads)
        for rows in message.values()
        for row in rows
        if "count" in row["values"]
    ]
    wanted = [(one.time_ms, one.value) for one in records if one.value is not None]
    return _differing("thingsboard", found, wanted)


def sparkplug_values(payloads: Sequence[bytes], records: Sequence[Stored]) -> list[str]:
    """Each value is in some message as a double."""
    joined = b"".join(payloads)
    missing = [
        one.seq
        for one in records
        if one.value is not None and _DOUBLE + struct.pack("<d", one.value) not in joined
    ]
    return [f"sparkplug: never arrived: {missing[:20]}"] if missing else []


def homeassistant_states(
    payloads: Sequence[bytes], records: Sequence[Stored], named: set[int]
) -> list[str]:
    """Each value came, or is among the records that are named as lost for it."""
    found = {json.loads(payload)["count"] for payload in payloads}
    missing = [one for one in records if one.value is not None and one.value not in found]
    lost = [one.seq for one in missing if one.seq not in named]
    return [f"homeassistant: never arrived, and not named: {lost[:20]}"] if lost else []


def sl651_reports(centre: Sl651Centre, records: Sequence[Stored], until_ms: int) -> list[str]:
    """Of each period that a device has a value in, the last is reported, under its number."""
    last: dict[tuple[str, int], int] = {}
    for one in records:
        if one.value is not None and one.time_ms < until_ms:
            last[one.device, one.time_ms // MINUTE_MS] = one.seq
    found = {(item.station[-1], item.serial) for item in centre.heard if item.function == 0x32}
    wanted = {(device[-1], seq % 0xFFFF + 1) for (device, _), seq in last.items()}
    missing = sorted(wanted - found)
    return [f"sl651: never arrived: {missing[:20]}"] if missing else []


def hj212_periods(
    platform: Hj212Platform, records: Sequence[Stored], until_ms: int, device: str
) -> list[str]:
    """Each period since the first is there once, with the values that the collector has for it."""
    arrived = platform.periods("2051")
    texts = [f"hj212: {time} is there {n} times" for time, n in arrived.items() if n > 1]
    rows = {
        parse_data_time(item.cp[9:23]): item.cp
        for item in platform.table.values()
        if item.cn == "2051"
    }
    values: dict[int, list[int]] = {}
    for one in records:
        if one.value is not None and one.device == device:
            values.setdefault(one.time_ms // MINUTE_MS * MINUTE_MS, []).append(one.value)
    for start_ms in range(min(values), until_ms, MINUTE_MS):
        row, inside = rows.get(start_ms), values.get(start_ms)
        if row is None:
            texts.append(f"hj212: {start_ms} never arrived; {len(inside or ())} values")
        elif inside is None:
            texts += [f"hj212: values out of nowhere: {row}"] if "-Avg=" in row else []
        else:
            mean = (Decimal(sum(inside)) / len(inside)).quantize(Decimal("0.1"))
            wanted = f"-Min={min(inside)}.0,", f"-Avg={mean},", f"-Max={max(inside)}.0,"
            texts += [f"hj212: expected {w} in {row}" for w in wanted if w not in row]
    return texts
