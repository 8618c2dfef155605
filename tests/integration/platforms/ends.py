"""What arrived at the other end of each exporter, counted there, against what the collector holds.

The collector's database is itself compared with the log of the device, so each platform is measured
by what the device served. Nothing here asks the gateway, but for the losses that it names.
"""

import csv
import json
import re
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Final, NamedTuple

from hil.platform.hj212_platform import Hj212Platform
from hil.platform.sl651_centre import Sl651Centre
from protocols.uplink.hj212 import parse_data_time
from tests.promise.site import PromiseSite
from tests.unit.gateway_agent.exporters.line_protocol import Line

MINUTE_MS: Final = 1000  # a minute of the trial
# Records from before the clock was known are dated when they are read, by what is known then.
_DATED_MS: Final = 1000
_FAR_MS: Final = MINUTE_MS + _DATED_MS
_MINUTE: Final = re.compile(r"-Min=(.*?)\.0,a01001-Avg=(.*?),a01001-Max=(.*?)\.0,")
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


def dated(records: Sequence[Stored], folder: Path) -> list[Stored]:
    """Return the records with the times that the gateway gave them, as the files have them.

    The collector may have dated them better since.
    """
    times = {}
    for row in _rows(folder):
        moment = datetime.fromisoformat(row["time"])
        times[int(row["stream"]), int(row["seq"])] = round(moment.timestamp() * 1000)
    return [one._replace(time_ms=times.get((one.stream, one.seq), one.time_ms)) for one in records]


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
    """Each value came at least once."""
    found = [
        row["values"]["count"]
        for message in map(json.loads, payloads)
        for rows in message.values()
        for row in rows
        if "count" in row["values"]
    ]
    wanted = [one.value for one in records if one.value is not None]
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
    """Each period is there once, without a hole; each value counts in one, close to its time."""
    arrived = platform.periods("2051")
    texts = [f"hj212: {time} is there {n} times" for time, n in arrived.items() if n > 1]
    rows = {
        parse_data_time(item.cp[9:23]): item.cp
        for item in platform.table.values()
        if item.cn == "2051"
    }
    holes = set(range(min(rows), until_ms, MINUTE_MS)) - rows.keys()
    texts += [f"hj212: {start_ms} never arrived" for start_ms in sorted(holes)]
    own = {one.value: one for one in records if one.value is not None and one.device == device}
    counted: list[int] = []
    for start_ms, row in rows.items():
        found = _MINUTE.search(row)
        if found is None:
            continue
        values = [value for value in own if int(found[1]) <= value <= int(found[3])]
        mean = (Decimal(sum(values)) / max(1, len(values))).quantize(Decimal("0.1"))
        if not values or (str(mean), max(values)) != (found[2], int(found[3])):
            texts.append(f"hj212: expected the mean of {values} in {row}")
        far = [v for v in values if not -_DATED_MS <= own[v].time_ms - start_ms < _FAR_MS]
        texts += [f"hj212: {own[value]} counts in {row}" for value in far]
        counted += values
    early = [value for value, one in own.items() if one.time_ms < until_ms - _DATED_MS]
    return texts + _repeated("hj212 values", counted) + _lost("hj212 values", counted, early)


def _lost(what: str, found: Iterable[object], wanted: Iterable[object]) -> list[str]:
    missing = set(wanted) - set(found)
    return [f"{what}: never arrived: {list(missing)[:20]}"] if missing else []
