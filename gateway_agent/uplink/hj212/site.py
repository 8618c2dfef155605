"""What a gateway lends to its HJ 212 device: kept periods, the newest values, ids of nodes."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from gateway_agent.commands.command import Command
from protocols.export_record import DeviceInfo
from protocols.identity import is_node_id, uid_of
from protocols.uplink.hj212 import Body, EmptySite, Item, data_time

from .aggregates import Aggregates
from .codes import CODES, points_with_code, written
from .index_items import IndexItems
from .period import MISSING, NORMAL, AggregatePeriod, CodeReading
from .period_store import PeriodStore
from .profile import Hj212Profile

# i12001, the state of an instrument by its newest flag: 0 runs, 1 maintenance, 2 fault, 3
# calibrates (HJ 212-2017 tables 5 to 9); one that is silent shows no state, but i12002.
_STATES: Final = {NORMAL: "0", "T": "0", "M": "1", "D": "2", "C": "3"}
MAX_VALUE: Final = 32  # characters of a parameter
_STALE_MS: Final = 120_000  # or three periods of the device, if that is longer


@dataclass(frozen=True, slots=True)
class RealTime:
    """A body of 2011 or 2021 and the records that stand behind it."""

    cn: str
    body: Body
    stream: int
    seqs: tuple[int, ...]


class GatewaySite(EmptySite):
    """The site under one MN. It sets no clock."""

    def __init__(
        self,
        profile: Hj212Profile,
        aggregates: Aggregates,
        store: PeriodStore,
        devices: Iterable[DeviceInfo],
        points: Mapping[str, str],
        now_ms: Callable[[], int],
    ) -> None:
        """``devices``: those under this MN; ``now_ms``: Unix time."""
        self._profile = profile
        self._aggregates = aggregates
        self._store = store
        self._owners = {
            of.code: device
            for device in devices
            for _, of in points_with_code(device.name, device.role, points)
        }
        self._now_ms = now_ms
        self._indices = IndexItems(profile, aggregates)
        self.newest: dict[str, CodeReading] = {}

    def history(self, cn: str, begin_ms: int, end_ms: int) -> Iterator[Body]:
        """Yield the kept periods; one that cannot be written was named when it was due."""
        for period in self._store.between(cn, begin_ms, end_ms):
            with contextlib.suppress(ValueError):
                yield self.period_body(self._aggregates.periods.get((cn, period.start_ms), period))

    def latest(self, cn: str) -> Body | None:
        """Return the newest values, or states of equipment."""
        found = self.real_time(cn)
        return None if found is None else found.body

    def information(self, cn: str, pol_id: str, info_id: str) -> list[Body]:
        """Return for 3019 the id of the node that measures a code, for 3020 its state."""
        if cn == "3020":
            return self._state_of_instrument(pol_id, info_id)
        if cn != "3019":
            return []
        device = self._owners.get(pol_id)
        if device is None or not is_node_id(device.id):
            return []
        serial = uid_of(device.id).hex().upper()
        return [((("PolId", pol_id),), ((f"{pol_id}-SN", serial),))]

    def _state_of_instrument(self, pol_id: str, info_id: str) -> list[Body]:
        """Return what 3020 names, or all there is, as annex C.42 has it."""
        reading = self.newest.get(pol_id)
        if reading is None:
            return []
        flag = MISSING if self._is_stale(reading, self._now_ms()) else reading.flag
        known = {"i12001": _STATES.get(flag), "i12002": "1" if flag == MISSING else "0"}
        found = [
            (f"{name}-Info", value)
            for name, value in known.items()
            if value is not None and info_id in ("", name)
        ]
        moment = ("DataTime", data_time(self._now_ms(), self._profile.data_time_digits))
        head: Body = ((moment,), (("PolId", pol_id),))
        return [head + tuple((item,) for item in found)] if found else []

    def set_parameter(self, pol_id: str, info_id: str, value: str) -> bool | None:
        """Return None where a node has it, which is commanded then; else False."""
        return False if self.command(pol_id, info_id, value) is None else None

    def command(self, pol_id: str, info_id: str, value: str) -> Command | None:
        """Return the command to the node that measures a code; None: there is no such node."""
        parameter = self._profile.parameters.get(info_id)
        device = self._owners.get(pol_id)
        if parameter is None or device is None:
            return None
        text = f"{value[:MAX_VALUE]} {parameter.unit}".strip()
        return Command(action="set", device=device.id, point=parameter.setting, value=text)

    def period_body(self, period: AggregatePeriod) -> Body:
        """Return the body of a period as this platform wants it; ValueError: it cannot be written.

        A file of an older version may hold values of any size.
        """
        profile = self._profile
        try:
            body = self._aggregates.body(
                period, profile.wire_name, profile.flags, profile.data_time_digits
            )
            return body + tuple(self._indices.of(period))
        except ArithmeticError as error:
            text = f"CN={period.cn} of {data_time(period.start_ms)} cannot be written: {error!r}"
            raise ValueError(text) from error

    def real_time(self, cn: str) -> RealTime | None:
        """Return the newest values of all codes (2011), or states (2021); None without any.

        A code that has been silent for too long has no value, and the flag of silence.
        """
        is_states = cn == "2021"
        readings = [
            self.newest[code]
            for code, row in CODES.items()
            if code in self.newest and row.is_equipment == is_states
        ]
        if not readings:
            return None
        now = self._now_ms()
        fresh = [one.unix_ms for one in readings if not self._is_stale(one, now)]
        newest = max(fresh, default=now)
        body: list[Item] = [(("DataTime", data_time(newest, self._profile.data_time_digits)),)]
        for reading in readings:
            name, digits = self._profile.wire_name(reading.code), self._digits(reading.code)
            item = []
            flag = MISSING if self._is_stale(reading, now) else reading.flag
            if reading.value is not None and flag != MISSING:
                part = "RS" if is_states else "Rtd"
                item.append((f"{name}-{part}", written(Decimal(reading.value), digits)))
            flags = self._profile.flags if not is_states else "abnormal"  # C.15 has no flag
            if flags == "always" or (flags == "abnormal" and flag != NORMAL) or not item:
                item.append((f"{name}-Flag", flag))
            body.append(tuple(item))
        stream = max(reading.stream for reading in readings)
        seqs = sorted({reading.seq for reading in readings if reading.stream == stream})
        return RealTime(cn, tuple(body), stream, tuple(seqs))

    def _is_stale(self, reading: CodeReading, now: int) -> bool:
        return now - reading.unix_ms > max(_STALE_MS, 3 * self._aggregates.every(reading.code))

    def _digits(self, code: str) -> int:
        return self._profile.code(code).digits
