"""A Sparkplug B 3.0 edge node: births, data by alias, death, and the rebirth that a host asks for.

Clauses are those of the Sparkplug Specification 3.0.0. Each of our devices is a device of the edge
node. Points are metrics of type Double; a point without a reading is null. A record that waited
while the broker was away carries the historical flag (6.4.7), so that hosts do not take it for the
present. A gap is the String metric ``gap``. The one command that is taken is a rebirth.
"""

import re
from typing import Final

from protocols.export_message import PlainCore, PlatformMessage
from protocols.export_record import DeviceInfo, ExportRecord, Portion

from .protobuf import BOOLEAN, DOUBLE, INT64, STRING, Metric, payload, read_metrics

__all__ = ["GAP", "REBIRTH", "Metric", "SparkplugCore", "payload", "read_metrics"]

REBIRTH: Final = "Node Control/Rebirth"
GAP: Final = "gap"
LIVE_MS: Final = 10_000  # a record is of the present for so long, or for three periods
REBIRTH_PAUSE_MS: Final = 5_000  # a host that asks more often is answered once
MAX_COMMAND_BYTES: Final = 4096
_OTHER: Final = re.compile(r"[#+/\x00]")


class _Device:
    """A device of which hosts have been told what metrics it has."""

    def __init__(self) -> None:
        self.aliases: dict[str, int] = {}
        self.values: dict[str, float | str | None] = {}  # the newest of the present
        self.is_born = False


class SparkplugCore(PlainCore):
    """The edge node ``edge`` of ``group``; ``bd_seq`` is where its count of sessions begins."""

    qos = 0  # of births and data: 6.4.19 and what follows it

    def __init__(
        self, group: str, edge: str, devices: dict[str, DeviceInfo], bd_seq: int = 0
    ) -> None:
        self._group = group
        self._edge = edge
        self._infos = devices
        self._bd_seq = bd_seq % 256
        self._seq = 0
        self._next_alias = 1
        self._devices: dict[str, _Device] = {}
        self._rebirth = False
        self._reborn_ms: int | None = None

    def filters(self) -> list[str]:
        """Return the topics of commands (6.4.22 and 6.4.23)."""
        return [self._topic("NCMD"), self._topic("DCMD", "+")]

    def will(self) -> PlatformMessage:
        """Return the death of the edge node, with the number of the next session (5.4)."""
        self._bd_seq = (self._bd_seq + 1) % 256
        return PlatformMessage(self._topic("NDEATH"), payload(None, None, [self._session()]))

    def _session(self) -> Metric:
        return Metric("bdSeq", None, INT64, self._bd_seq)

    def _topic(self, kind: str, device: str = "") -> str:
        topic = f"spBv1.0/{self._group}/{kind}/{self._edge}"
        return f"{topic}/{device}" if device else topic

    def _next_seq(self) -> int:
        self._seq = (self._seq + 1) % 256
        return self._seq

    def opened(self, now_ms: int | None) -> list[PlatformMessage]:
        """Return the birth of the edge node; devices are born with their first record."""
        self._rebirth = False
        for device in self._devices.values():
            device.is_born = False
        return [self._node_birth(now_ms)]

    def closing(self) -> list[PlatformMessage]:
        """Return the death of the edge node: a clean end makes the broker drop the will."""
        return [PlatformMessage(self._topic("NDEATH"), payload(None, None, [self._session()]))]

    def _node_birth(self, now_ms: int | None) -> PlatformMessage:
        self._seq = 0
        metrics = [
            self._session()._replace(timestamp_ms=now_ms),
            Metric(REBIRTH, None, BOOLEAN, False, now_ms),
        ]
        return PlatformMessage(self._topic("NBIRTH"), payload(now_ms, 0, metrics))

    def _device_birth(self, name: str, device: _Device, now_ms: int | None) -> PlatformMessage:
        device.is_born = True
        metrics = [
            Metric(point, alias, STRING if point == GAP else DOUBLE, device.values[point], now_ms)
            for point, alias in device.aliases.items()
        ]
        return PlatformMessage(
            self._topic("DBIRTH", name), payload(now_ms, self._next_seq(), metrics)
        )

    # --- records -------------------------------------------------------------------------------

    def messages(self, portion: Portion, now_ms: int | None) -> list[PlatformMessage]:
        """Return the data of each record, after the birth of its device where that is due."""
        found = []
        for record in portion.records:
            if not record.is_data and record.gap is None:
                continue
            name = _OTHER.sub("_", record.name)
            device = self._devices.setdefault(name, _Device())
            values = self._values(record)
            if not device.is_born or not values.keys() <= device.aliases.keys():
                for point in (GAP, *values):
                    if point not in device.aliases:
                        device.aliases[point] = self._next_alias
                        device.values[point] = None
                        self._next_alias += 1
                found.append(self._device_birth(name, device, now_ms))
            is_old = self._is_old(record, now_ms)
            if not is_old:
                device.values.update(values)
            metrics = [
                Metric(
                    "", device.aliases[point], STRING if point == GAP else DOUBLE,
                    value, record.wall_ms, is_old,
                )
                for point, value in values.items()
            ]  # fmt: skip
            data = payload(now_ms or record.wall_ms, self._next_seq(), metrics)
            found.append(PlatformMessage(self._topic("DDATA", name), data, (record.seq,)))
        return found

    def _values(self, record: ExportRecord) -> dict[str, float | str | None]:
        if record.gap is not None:
            return {GAP: record.gap.cause}
        return {one.name: None if one.value is None else float(one.value) for one in record.points}

    def _is_old(self, record: ExportRecord, now_ms: int | None) -> bool:
        if now_ms is None:
            return False
        known = self._infos.get(record.device)
        period_ms = known.period_ms if known is not None else 0
        return now_ms - record.wall_ms > max(LIVE_MS, 3 * period_ms)

    # --- commands ------------------------------------------------------------------------------

    def received(self, topic: str, payload: bytes) -> list[PlatformMessage]:
        """Take a rebirth. ValueError: any other command, or what is none."""
        if topic != self._topic("NCMD") or len(payload) > MAX_COMMAND_BYTES:
            raise ValueError(
                f"expected a command to the edge node, got {len(payload)} bytes on {topic[:80]!r}"
            )
        metrics = read_metrics(payload)
        for metric in metrics:
            if metric.name != REBIRTH or metric.value is not True:
                raise ValueError(f"expected {REBIRTH} = true, got {metric.name[:60]!r}")
        if not metrics:
            raise ValueError(f"expected {REBIRTH} = true, got no metric")
        self._rebirth = True
        return []

    def due(self, now_ms: int | None) -> list[PlatformMessage]:
        """Return the births that a host has asked for, at most every few seconds."""
        before = self._reborn_ms
        if not self._rebirth or (
            now_ms is not None and before is not None and 0 <= now_ms - before < REBIRTH_PAUSE_MS
        ):
            return []
        self._rebirth, self._reborn_ms = False, now_ms
        messages = [self._node_birth(now_ms)]
        for name, device in self._devices.items():
            if device.is_born:
                messages.append(self._device_birth(name, device, now_ms))
        return messages
