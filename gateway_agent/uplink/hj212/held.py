"""Which records the periods hold, also when they come again under other numbers.

A repair of the outbox copies its records, in order, into a new stream with new numbers. What the
periods hold beyond the place of their exporter then comes once more. It is known by what a record
keeps: its device, the boot of the gateway, and when the device had answered.
"""

import json
from collections.abc import Mapping
from typing import Final, NamedTuple

from protocols.export_record import ExportRecord

MAX_BOOTS: Final = 64  # the newest, in their order
_BOOTS: Final = "boots"
_KIND: Final = "held/"


class _Newest(NamedTuple):
    """The newest record of a device that was counted, and in which stream it was."""

    stream: int
    boot: str
    resp_ms: int


class HeldRecords:
    """The newest record of each device that the periods hold."""

    def __init__(self, state: Mapping[str, str]) -> None:
        """``state``: what :meth:`rows` returned, among others."""
        self._boots: list[str] = json.loads(state.get(_BOOTS, "[]"))
        self._newest: dict[str, _Newest] = {}
        for name, value in state.items():
            if name.startswith(_KIND):
                stream, boot, resp_ms = value.split("/")
                self._newest[name.removeprefix(_KIND)] = _Newest(int(stream), boot, int(resp_ms))

    def rows(self) -> dict[str, str]:
        """Return what to keep, by name, in the commit that keeps the periods."""
        found = {_KIND + device: "/".join(map(str, one)) for device, one in self._newest.items()}
        return found | {_BOOTS: json.dumps(self._boots)}

    def has(self, stream: int, record: ExportRecord) -> bool:
        """Whether the record of ``stream`` was counted when it was in another one."""
        newest, boot = self._newest.get(record.device), record.boot_id.hex()
        if newest is None or newest.stream == stream:
            return False
        if newest.boot == boot:
            return record.record.stamp.resp_ms <= newest.resp_ms
        known = self._boots
        return boot in known and newest.boot in known[known.index(boot) :]

    def count(self, stream: int, record: ExportRecord) -> None:
        """Take note of a record that the periods hold from now on."""
        newest, boot = self._newest.get(record.device), record.boot_id.hex()
        resp_ms = record.record.stamp.resp_ms
        if newest is not None and newest.boot == boot:
            resp_ms = max(resp_ms, newest.resp_ms)  # one that came late holds no place
        elif boot not in self._boots:
            self._boots = [*self._boots, boot][-MAX_BOOTS:]
        self._newest[record.device] = _Newest(stream, boot, resp_ms)
