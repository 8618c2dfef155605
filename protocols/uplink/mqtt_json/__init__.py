"""Plain JSON or SenML-JSON, a message for each record, on a topic of the operator's choice.

SenML is that of RFC 8428: a base name ``device/``, a base time in seconds. What has no value is a
text (``vs``) under the point's name and ``/q``, as in our own records; a gap is the text ``gap``.
"""

import json
from typing import Final, Literal

from protocols.export_message import PlainCore, PlatformMessage
from protocols.export_record import DeviceInfo, ExportRecord, Portion

FIELDS: Final = ("gateway", "device", "role", "bus")  # of a topic's template


class JsonCore(PlainCore):
    """Fills ``topic`` ("site/{gateway}/{device}") and makes payloads of one ``form``."""

    def __init__(
        self,
        gateway: str,
        devices: dict[str, DeviceInfo],
        topic: str,
        form: Literal["json", "senml"],
        retain: bool = False,
    ) -> None:
        self._gateway = gateway
        self._devices = devices
        self._topic = topic
        self._make = plain if form == "json" else senml
        self._retain = retain

    def messages(self, portion: Portion, now_ms: int | None) -> list[PlatformMessage]:
        """Return a message for each record that has something to report."""
        found = []
        for record in portion.records:
            if not record.is_data and record.gap is None:
                continue
            payload = self._make(portion.stream, self._gateway, record)
            topic = self.topic_of(record)
            found.append(PlatformMessage(topic, payload, (record.seq,), self._retain))
        return found

    def topic_of(self, record: ExportRecord) -> str:
        """Return the topic of a record's message."""
        device = self._devices.get(record.device)
        bus = device.bus if device is not None else ""
        values = {
            "gateway": self._gateway,
            "device": record.name,
            "role": record.role.removesuffix(".toml").rpartition("/")[2] or "gateway",
            "bus": bus or "gateway",
        }
        topic = self._topic
        for name, value in values.items():
            topic = topic.replace("{" + name + "}", value)
        return topic


def plain(stream: int, gateway: str, record: ExportRecord) -> bytes:
    """Return a record as one JSON object with names of its own."""
    content: dict[str, object] = {
        "gateway": gateway,
        "device": record.name,
        "time_ms": record.wall_ms,
        "uncertainty_ms": record.unc_ms,
        "stream": stream,
        "seq": record.seq,
    }
    if record.gap is not None:
        content["gap"] = record.gap.cause
    else:
        good = [point for point in record.points if point.value is not None]
        content["values"] = {point.name: point.value for point in good}
        content["units"] = {point.name: point.unit for point in good if point.unit}
        content["quality"] = {
            point.name: point.quality for point in record.points if point.value is None
        }
    return json.dumps(content, separators=(",", ":")).encode()


def senml(stream: int, gateway: str, record: ExportRecord) -> bytes:
    """Return a record as a SenML pack in JSON."""
    items: list[dict[str, object]] = []
    if record.gap is not None:
        items.append({"n": "gap", "vs": record.gap.cause})
    for name, unit, value, quality in record.points if record.is_data else ():
        if value is None:
            items.append({"n": f"{name}/q", "vs": quality})
        else:
            items.append({"n": name, **({"u": unit} if unit else {}), "v": value})
    base = {"bn": f"{record.device}/", "bt": record.wall_ms / 1000}
    pack = [{**base, **items[0]}, *items[1:]] if items else []
    return json.dumps(pack, separators=(",", ":")).encode()
