"""Post properties to the device that a gateway is in an MQTT cloud, and read what it answers.

Topics and shapes are from the clouds' pages and from implementations, not from a standard. A point
is the property ``DEVICE_POINT``; with Huawei a device is a service, and its points are properties
of that. A gap is a property too, with its cause as a text.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple, TypeAlias

from protocols.export_message import PlainCore, PlatformAnswers, PlatformMessage
from protocols.export_record import ExportRecord, Portion
from protocols.text_of_others import printable

MAX_ANSWER_BYTES: Final = 4096
_OTHER: Final = re.compile(r"[^A-Za-z0-9_]")
_Values: TypeAlias = Mapping[str, int | float | str]


class Cloud(NamedTuple):
    """One cloud's topics, filled in; ``answers`` is empty where a post is not answered."""

    kind: str  # aliyun, huawei, onenet, tencent
    post: str
    answers: str = ""


def property_name(device: str, point: str) -> str:
    """Return the identifier of a point: clouds take letters, digits and ``_``."""
    return _OTHER.sub("_", f"{device}_{point}")


class CloudCore(PlainCore):
    """Makes one post of each record."""

    def __init__(self, cloud: Cloud, is_confirmed: bool = True) -> None:
        """``is_confirmed``: the cloud's answer is the delivery, where it gives one."""
        self._cloud = cloud
        self._make = _MAKERS[cloud.kind]
        if cloud.answers and is_confirmed:
            self.answers = PlatformAnswers()

    def filters(self) -> list[str]:
        """Return the topic of the answers."""
        return [self._cloud.answers] if self._cloud.answers else []

    def opened(self, now_ms: int | None) -> list[PlatformMessage]:
        """Begin anew: answers to what was sent before are not to be expected."""
        if self.answers is not None:
            self.answers.clear()
        return []

    def messages(self, portion: Portion, now_ms: int | None) -> list[PlatformMessage]:
        """Return a post for each record that has a value or is a gap."""
        found = []
        for record in portion.records:
            values: dict[str, int | float | str] = {}
            if record.gap is not None:
                values["gap"] = record.gap.cause
            elif record.is_data:
                values = {one.name: one.value for one in record.points if one.value is not None}
            if values:
                payload = json.dumps(self._make(record, values), separators=(",", ":")).encode()
                found.append(PlatformMessage(self._cloud.post, payload, (record.seq,)))
                if self.answers is not None:
                    self.answers.waiting[_identifier(record)] = record.seq
        return found

    def received(self, topic: str, payload: bytes) -> list[PlatformMessage]:
        """Read an answer. ValueError: the cloud did not take a post, or this is no answer."""
        shown = printable(payload[:200].decode("utf-8", "replace"))
        if topic != self._cloud.answers or len(payload) > MAX_ANSWER_BYTES:
            size = len(payload)
            raise ValueError(f"expected an answer to a post, got {size} bytes on {topic[:80]!r}")
        try:
            answer = json.loads(payload)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"expected an answer in JSON, got {shown}") from error
        if not isinstance(answer, dict):
            raise ValueError(f"expected an answer to a post, got {shown}")
        if self._cloud.kind == "tencent" and answer.get("method") != "report_reply":
            raise ValueError(f"this gateway takes no commands from the cloud, got {shown}")
        is_taken = answer.get("code") in (0, 200)
        if self.answers is not None:
            self.answers.take(str(answer.get(_IDENTIFIER[self._cloud.kind])), is_taken=is_taken)
        if not is_taken:
            raise ValueError(f"the cloud did not take a post: {shown}")
        return []


def _identifier(record: ExportRecord) -> str:
    return str(record.seq & 0xFFFF_FFFF)  # Aliyun's range


def _timed(record: ExportRecord, values: _Values) -> dict[str, object]:
    return {
        property_name(record.name, name): {"value": value, "time": record.wall_ms}
        for name, value in values.items()
    }


def _aliyun(record: ExportRecord, values: _Values) -> dict[str, object]:
    return {
        "id": _identifier(record),
        "version": "1.0",
        "sys": {"ack": 1},
        "params": _timed(record, values),
        "method": "thing.event.property.post",
    }


def _onenet(record: ExportRecord, values: _Values) -> dict[str, object]:
    return {"id": _identifier(record), "version": "1.0", "params": _timed(record, values)}


def _tencent(record: ExportRecord, values: _Values) -> dict[str, object]:
    return {
        "method": "report",
        "clientToken": _identifier(record),
        "timestamp": record.wall_ms,
        "params": {property_name(record.name, name): value for name, value in values.items()},
    }


def _huawei(record: ExportRecord, values: _Values) -> dict[str, object]:
    time = datetime.fromtimestamp(record.wall_ms // 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
    service = {"service_id": record.name, "properties": values, "event_time": time}
    return {"services": [service]}


#: Where an answer repeats what it answers.
_IDENTIFIER: Final = {"aliyun": "id", "onenet": "id", "tencent": "clientToken"}
_MAKERS: Final = {"aliyun": _aliyun, "huawei": _huawei, "onenet": _onenet, "tencent": _tencent}
