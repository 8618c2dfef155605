"""InfluxDB's line protocol, and what its answers to a write mean.

From InfluxDB's documentation of line protocol and of the write API (2.x; 1.8 and 3 have the same),
not from a standard. A record is one line: measurement, tags of the device, a field for each
point, ``seq`` of the signed record, and the time in nanoseconds. Numbers are always floats, so
that no field changes its type. A gap is a line of the measurement with ``_gap`` behind its name.

To the database a point is its series and its time: a second one with both replaces the first. So
the digits below a millisecond, which we do not measure, are the last six of ``seq``. Two gaps that
a start names in one moment stay two points, and a record that is written again is one.
"""

import json
import math
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from protocols.export_record import DeviceInfo, ExportRecord
from protocols.text_of_others import printable

# delivered; refused: these lines will never be taken; too-large: send less at once; later: wait.
Verdict: TypeAlias = Literal["delivered", "refused", "too-large", "later"]
MAX_ANSWER_BYTES: Final = 4096
PRECISION: Final = "ns"
_NS: Final = 1_000_000  # in a millisecond


def line_of(
    measurement: str, gateway: str, devices: Mapping[str, DeviceInfo], record: ExportRecord
) -> bytes:
    """Return the line of a record with its line feed; empty where there is nothing to write."""
    known = devices.get(record.device)
    tags = {
        "bus": known.bus if known is not None else "",
        "device": record.name,
        "gateway": gateway,
        "role": record.role,
    }
    fields: list[str] = []
    if record.gap is not None:
        measurement += "_gap"
        fields = [f"cause={_text(record.gap.cause)}", f"detail={_text(record.gap.detail)}"]
    elif record.is_data:
        fields = [
            f"{_key(one.name)}={float(one.value)!r}"
            for one in record.points
            if one.value is not None and math.isfinite(one.value)
        ]
    if not fields:
        return b""
    fields.append(f"seq={record.seq}i")
    name = measurement.replace(",", "\\,").replace(" ", "\\ ")
    shown = "".join(f",{tag}={_key(value)}" for tag, value in tags.items() if value)
    time_ns = record.wall_ms * _NS + record.seq % _NS
    return f"{name}{shown} {','.join(fields)} {time_ns}\n".encode()


def _key(text: str) -> str:
    for char in ",= ":
        text = text.replace(char, "\\" + char)
    return text


def _text(text: str) -> str:
    flat = text.replace("\n", " ").replace("\r", " ")
    return '"' + flat.replace("\\", "\\\\").replace('"', '\\"') + '"'


def verdict_of(status: int) -> Verdict:
    """Return what the status of an answer to a write means."""
    if status in (200, 204):
        return "delivered"
    if status in (400, 422):
        return "refused"
    return "too-large" if status == 413 else "later"


def reason_of(status: int, body: bytes) -> str:
    """Return why a write failed, in the server's words as far as it has any."""
    text = body[:MAX_ANSWER_BYTES].decode("utf-8", "replace")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    if isinstance(content, dict):
        text = str(content.get("message") or content.get("error") or text)
    return f"HTTP {status}: {printable(text)[:300]}"
