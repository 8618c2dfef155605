"""Turns records of the outbox into readings under the codes of HJ 212."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Final

from gateway_agent.status import GapStatus
from gateway_agent.uplink.gap_book import UNIT, GapBook
from protocols.export_record import DeviceInfo, ExportPoint, ExportRecord
from protocols.wire.registers import STATUS_CALIBRATION

from .codes import CODES, WIDEST, PointCode, code_of, in_code, points_with_code, shared_codes
from .period import FAULTY, MISSING, NORMAL, CodeReading
from .profile import Hj212Profile

log = logging.getLogger(__name__)

CALIBRATING: Final = "C"
# What a quality is among the flags of HJ 212-2017 (tables 5 to 9); the choice is ours.
FLAGS: Final = {
    "": NORMAL,
    "out-of-range": "T",
    "warm-up": "M",  # in service, but not measuring yet
    "timeout": MISSING,
    "no-sample": MISSING,
    "no-value": MISSING,
    "checksum": FAULTY,
    "fault": FAULTY,
}
_JOINS_MS: Final = 3_600_000  # values that are refused with less between them are one gap
_NOT_FITTED: Final = "not-fitted"


def flag_of_point(point: ExportPoint, status: int) -> str | None:
    """Return the flag of a reading; None for a part that the node does not have."""
    if point.quality == _NOT_FITTED:
        return None
    if point.quality == "no-sample" and status & STATUS_CALIBRATION:
        return CALIBRATING
    return FLAGS.get(point.quality, FAULTY)


class Hj212Intake:
    """Knows which point has which code at this platform; ValueError if two share one."""

    def __init__(
        self,
        profile: Hj212Profile,
        devices: Mapping[str, DeviceInfo],
        nodes: Iterable[str],
        points: Mapping[str, str],
        gaps: GapBook,
    ) -> None:
        """``gaps``: names the values whose unit is not the code's."""
        self.codes: dict[str, int] = {}  # code -> ms between two readings; those that came
        self._gaps = gaps
        self._profile = profile
        self._kelvin = Decimal(str(profile.kelvin))
        self._nodes = set(nodes)
        self._points = dict(points)
        self._every: dict[str, int] = {}  # by code, of the devices of the configuration
        self._wanted: dict[tuple[str, str, str], PointCode | None] = {}  # of points that came
        self._said: set[tuple[str, str]] = set()
        unknown = [f"{place} = {code}" for place, code in points.items() if code not in CODES]
        unknown += sorted(self._nodes - {device.name for device in devices.values()})
        if unknown:
            raise ValueError(f"unknown in the uplink's nodes or points: {', '.join(unknown)}")
        roles = {device.name: device.role for device in devices.values()}
        for code, first, second in shared_codes(roles, self._nodes, points):
            raise ValueError(
                f"{first} and {second} both give {code}: `nodes` has to name one device for it"
            )
        for device in devices.values():
            if self._is_ours(device.name):
                for point, of in points_with_code(device.name, device.role, points):
                    self._every[of.code] = device.period_of(point)

    def take_up(self, code: str, every_ms: int) -> None:
        """Go on with a code that came before; ``every_ms`` holds where no device has it now."""
        self.codes[code] = self._every.get(code, every_ms)

    def _is_ours(self, name: str) -> bool:
        return not self._nodes or name in self._nodes

    def readings(self, stream: int, record: ExportRecord) -> Iterator[CodeReading]:
        """Yield what a record says under codes of HJ 212."""
        if not record.is_data or not self._is_ours(record.name):
            return
        for point in record.points:
            place = record.name, record.role, point.name
            if place not in self._wanted:
                self._wanted[place] = code_of(self._points, *place)
            wanted = self._wanted[place]
            if wanted is None:
                continue
            flag = flag_of_point(point, record.record.status)
            if flag is None:
                continue
            value = None
            if point.value is not None:
                try:
                    value = in_code(
                        Decimal(str(point.value)),
                        point.unit or wanted.unit,
                        self._profile.code(wanted.code),
                        self._kelvin,
                    )
                except ValueError as error:
                    self._refuse(record, point.name, wanted.code, error)
                    continue
                if not value.is_finite() or abs(value) > WIDEST:
                    self._say(
                        record.name, point.name, wanted.code, f"{value:.3g} is no value of it"
                    )
                    value, flag = None, FLAGS["out-of-range"]
            self.codes.setdefault(wanted.code, self._every.get(wanted.code, 0))
            yield CodeReading(wanted.code, record.wall_ms, value, flag, stream, record.seq)

    def _refuse(self, record: ExportRecord, point: str, code: str, error: ValueError) -> None:
        device, at_ms = record.name, record.wall_ms
        gap = GapStatus(kind=code, first_ms=at_ms, last_ms=at_ms, count=1, cause=UNIT)
        self._gaps.add(gap, _JOINS_MS)
        self._say(device, point, code, str(error))

    def _say(self, device: str, point: str, code: str, why: str) -> None:
        if (device, point) not in self._said:
            self._said.add((device, point))
            log.warning("hj212: %s/%s is not sent as %s: %s", device, point, code, why)
