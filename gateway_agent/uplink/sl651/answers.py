"""What a station answers its centre (M4), and what it does not.

The functions are those of annex B. A question that is not valid, or for something that a gateway
does not have (values set by hand, pumps, an IC card), gets no answer, as SL 651-2014 has it
(6.3.1.2 d). What would change something is refused the same way and is in the signed stream.
"""

import importlib.metadata
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from gateway_agent.rate import Rate
from gateway_agent.uplink.command_audit import CommandAudit
from gateway_agent.uplink.station_connection import LATER
from protocols.export_record import ExportRecord
from protocols.uplink import FormatError
from protocols.uplink.sl651 import (
    CHANGING_FUNCTIONS,
    MAX_SERIES,
    Observation,
    StationCount,
    StationFunction,
    StationParameter,
    StationReport,
    events_body,
    parameter,
    parameters_body,
    picture_body,
    read_identifiers,
    read_period_question,
    read_sampling,
    series_groups,
    state_body,
    version_body,
    write_report,
)
from protocols.uplink.station import Asked
from protocols.wire.errors import BAD_VALUE

from .config import Sl651Uplink, StationOfDevice
from .groups import StationGroups
from .history import ReportHistory

_SERIAL_AND_TIME: Final = 8
# Pictures and long series: so many at once, and then so many in each second.
_LONG: Final = (StationFunction.PICTURE, StationFunction.PERIOD)
_AT_ONCE: Final = 4
_PER_S: Final = 1
_HOURS: Final = (1, 2, 3, 4, 6, 8, 12, 24)  # between reports, table D.4
# Table 58: a closed door and a pump that stands still, where there is neither.
_STATE_BITS: Final = 1 << 7 | 1 << 10
_FLOW_METER: Final = 1 << 5
_LEVEL_METER: Final = 1 << 6
_LEVELS: Final = (0x0E, 0x39, 0x3A, 0x3B)
_FLOWS: Final = (0x27, 0x37)


class StationAnswers:
    """Answers for one station; ``counts`` are the events of table 82."""

    def __init__(
        self,
        config: Sl651Uplink,
        station: StationOfDevice,
        groups: StationGroups,
        history: ReportHistory,
        audit: CommandAudit,
        period_ms: int,
        newest: Callable[[], ExportRecord | None],
        want: Callable[[Asked, int], bool],
        boot_ms: Callable[[], int],
    ) -> None:
        """``period_ms``: between two samples of the device; ``newest`` returns its newest sample.

        ``want`` gets how many seconds the centre wants there; it returns whether that is tried.
        """
        self.picture: tuple[datetime, bytes] | None = None
        self.counts: Counter[int] = Counter()
        self._config = config
        self._station = station
        self._address = bytes.fromhex(station.address)
        self._groups = groups
        self._history = history
        self._audit = audit
        self._period_ms = period_ms
        self._newest = newest
        self._want = want
        self._boot_ms = boot_ms
        self._long = Rate(_AT_ONCE, _PER_S, boot_ms() / 1000)
        self._answers: dict[int, Callable[[Asked], bytes | None]] = {
            StationFunction.PICTURE: self._last_picture,
            StationFunction.REAL_TIME: self._real_time,
            StationFunction.PERIOD: self._period,
            StationFunction.ELEMENTS_NOW: self._elements,
            StationFunction.READ_BASIC: self._parameters,
            StationFunction.READ_RUNNING: self._parameters,
            StationFunction.VERSION: self._version,
            StationFunction.STATE: self._state,
            StationFunction.EVENTS: lambda asked: events_body(self._address, self.counts),
            StationFunction.CLOCK: lambda asked: parameters_body(self._address, ()),
        }

    def answer(self, asked: Asked) -> bytes | None:
        """Return the body behind serial and time; None: there is no answer, LATER: it comes later.

        FormatError: the question is none. OSError: what was reported cannot be read, or is asked
        for too often.
        """
        self.counts[StationCount.RECEIVED] += 1
        if asked.function in CHANGING_FUNCTIONS:
            return self._change(asked)
        if asked.function in _LONG:
            if not self._long.has_room(self._boot_ms() / 1000):
                raise OSError(f"more often than {_PER_S} a second")
            self._long.take()
        answer = self._answers.get(asked.function)
        return None if answer is None else answer(asked)

    def _change(self, asked: Asked) -> bytes | None:
        """Let the node sample as often as the centre wants; everything else is refused."""
        reason = "a station of a gateway has none of it"
        if asked.function == StationFunction.SET_RUNNING and self._config.allow_control:
            try:
                if self._want(asked, read_sampling(asked.body)):
                    return LATER
                reason = "others are being carried out"
            except FormatError as error:
                reason = str(error)
        text = f"function {asked.function:02X} of station {self._station.address.upper()}"
        self._audit.record("refused", f"{text}: {reason}")
        return None

    def _report(self, at: datetime, observation: Observation, series: tuple[bytes, ...]) -> bytes:
        station = self._station
        report = StationReport(0, at, self._address, station.station_class, (observation,), series)
        return write_report(report)[_SERIAL_AND_TIME:]

    def _now(self, identifiers: tuple[int, ...] | None) -> bytes | None:
        newest = self._newest()
        if newest is None:
            return None
        at = datetime.fromtimestamp(newest.wall_ms / 1000, UTC)
        groups = self._groups.groups(newest, identifiers)
        return self._report(at, Observation(at, groups), ())

    def _real_time(self, asked: Asked) -> bytes | None:
        return self._now(None)

    def _elements(self, asked: Asked) -> bytes | None:
        wanted = read_identifiers(asked.body)
        had = tuple(identifier for identifier in wanted if identifier in self._groups.identifiers)
        return self._now(had) if had else None

    def _period(self, asked: Asked) -> bytes | None:
        wanted = read_period_question(asked.body)
        if wanted.identifier not in self._groups.identifiers:
            return None
        begin_ms, end_ms = (int(moment.timestamp()) * 1000 for moment in (wanted.begin, wanted.end))
        step_ms = int(wanted.step.total_seconds()) * 1000
        moments = range(begin_ms, end_ms + 1, step_ms)
        if len(moments) > MAX_SERIES:
            raise FormatError(BAD_VALUE, "period", 8, f"{MAX_SERIES} steps at most", len(moments))
        found = self._history.between(
            self._station.address.upper(), wanted.identifier, begin_ms, end_ms, step_ms
        )
        if not found:
            return None
        values = [found.get(moment) for moment in moments]
        groups, series = series_groups(wanted.identifier, wanted.step, values)
        return self._report(wanted.begin, Observation(wanted.begin, groups), series)

    def _parameters(self, asked: Asked) -> bytes | None:
        config = self._config
        hours, minutes = divmod(config.report_min, 60)
        held: dict[int, bytes] = {
            StationParameter.CENTRES: bytes((config.centre, 0, 0, 0)),
            StationParameter.ADDRESS: self._address,
            StationParameter.WORD: bytes.fromhex(config.password),
            StationParameter.WAY_OF_WORK: bytes((2 if config.confirmed else 1,)),
        }
        if asked.function == StationFunction.READ_RUNNING:
            seconds = self._period_ms // 1000
            held = {}
            if not minutes and hours in _HOURS:
                held[StationParameter.REPORT_HOURS] = bytes.fromhex(f"{hours:02}")
            if 0 < seconds <= 9999:
                held[StationParameter.SAMPLING_S] = bytes.fromhex(f"{seconds:04}")
        groups = [
            parameter(identifier, held[identifier])
            for identifier in read_identifiers(asked.body)
            if identifier in held
        ]
        return parameters_body(self._address, groups) if groups else None

    def _version(self, asked: Asked) -> bytes:
        version = importlib.metadata.version("tianfu-edge")
        return version_body(self._address, f"tianfu-edge {version}")

    def _state(self, asked: Asked) -> bytes:
        bits, newest = _STATE_BITS, self._newest()
        if newest is not None:
            silent = [key for key, value in self._groups.values(newest).items() if value is None]
            bits |= _LEVEL_METER if any(key in _LEVELS for key in silent) else 0
            bits |= _FLOW_METER if any(key in _FLOWS for key in silent) else 0
        return state_body(self._address, bits)

    def _last_picture(self, asked: Asked) -> bytes | None:
        if self.picture is None:
            return None
        at, data = self.picture
        return picture_body(self._address, self._station.station_class, at, data)
