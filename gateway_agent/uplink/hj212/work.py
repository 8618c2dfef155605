"""What an HJ 212 exporter holds between two connections: the device, the periods, their file."""

import json
import logging
from dataclasses import fields, replace
from pathlib import Path
from typing import Final

from gateway_agent.status import GapStatus
from gateway_agent.uplink.feed import ExportContext
from gateway_agent.uplink.gap_book import AGE, DAMAGE, GapBook
from protocols.uplink.hj212 import Hj212Device, Hj212Settings, Hj212Upload, Moment, data_time

from .aggregates import Aggregates, lengths_of
from .config import Hj212Uplink
from .held import HeldRecords
from .intake import Hj212Intake
from .period import AggregatePeriod
from .period_store import PeriodStore, PeriodUpload, settings_of, settings_text
from .profile import load_hj212_profile
from .site import GatewaySite, RealTime

log = logging.getLogger(__name__)

_MEMORY_MS: Final = 4 * 3_600_000  # periods that are held for late readings; others are read
_FORGET_MS: Final = 5_000  # between two looks for those
MOST_HELD: Final = 128  # unsent periods that are held, about: a backlog may be of a week


class Hj212Work:
    """What outlives a connection: the device, the periods, the file they are in."""

    def __init__(self, config: Hj212Uplink, context: ExportContext, wall_ms: int) -> None:
        self.profile = load_hj212_profile(config.profile)
        key = _key(config.key_file) if config.key_file is not None else b""
        options = self.profile.options(config.mn, config.st, allow_control=config.allow_control)
        self._keep_ms = config.keep_hours * 3_600_000
        self.late_ms = config.late_s * 1000
        self.store = PeriodStore(context.state_dir / f"hj212-{config.label}.db")
        self.state = self.store.state()
        self.held = HeldRecords(self.state)
        gaps = self.gaps = GapBook(self.state.get("gaps", "[]"))
        if self.store.is_anew:
            gaps.add(GapStatus(kind="state", first_ms=0, last_ms=wall_ms, count=1, cause=DAMAGE))
        devices, nodes, points = context.devices, config.nodes, config.points
        self.intake = Hj212Intake(self.profile, devices, nodes, points, gaps)
        first = self.profile.settings(config.pw, key)
        settings = _settings(self.state, replace(first, min_interval_min=config.minutes).checked())
        self.aggregates = Aggregates(
            lengths_of(self.profile.sends, settings.min_interval_min),
            (),
            {},
            self.store.period,
        )
        self.aggregates.hour_reach = self.profile.index.hour_reach
        for name, value in self.state.items():
            kind, _, what = name.partition("/")
            if kind == "code":
                self.intake.take_up(what, int(value))
            elif kind == "closed":
                self.aggregates.closed_to[what] = int(value)
            elif kind == "lengths" and what in self.aggregates.lengths:
                self.aggregates.lengths[what] = [(since, ms) for since, ms in json.loads(value)]
        self.set_minutes(settings.min_interval_min, wall_ms)
        for period in self.store.pending():
            self.aggregates.hold(period)
        self.site = GatewaySite(
            self.profile,
            self.aggregates,
            self.store,
            [one for one in devices.values() if not nodes or one.name in nodes],
            points,
            lambda: context.clock.wall().wall_ms or wall_ms,
        )
        last_qn_ms = int(self.state.get("qn", "0"))
        self.device = Hj212Device(options, settings, self.site, wall_ms, last_qn_ms)
        self.uploads: dict[int, PeriodUpload | RealTime] = {}
        self._kept_state: set[tuple[str, str]] = set()  # what of the state is on the medium
        self._unkept: dict[int, PeriodUpload] = {}  # with numbers that are not on the medium
        self._next_key = 0
        self._forgot_ms = 0
        self.next_real_time_ms: dict[str, int] = {}  # by CN
        self.learn()
        for upload in self.store.sending():
            self._go_on(upload, Moment(context.clock.boot_ms(), wall_ms))

    def _go_on(self, upload: PeriodUpload, now: Moment) -> None:
        """Send again, under the same request numbers, what was not answered before the restart."""
        held = self.aggregates.periods.get((upload.period.cn, upload.period.start_ms))
        if held is not None and held.sent < upload.revision and self.device.can_upload:
            upload.period = held
            again = Hj212Upload(
                self.new_key(upload), held.cn, upload.body, upload.is_backfill, upload.qns
            )
            self.device.upload(again, now)

    def new_key(self, upload: PeriodUpload | RealTime) -> int:
        """Return the key under which the device knows an upload."""
        self._next_key += 1
        self.uploads[self._next_key] = upload
        return self._next_key

    def learn(self) -> None:
        """Let the aggregates send every code that has come."""
        for code, every_ms in self.intake.codes.items():
            if code not in self.aggregates.codes:
                self.aggregates.learn(self.profile.code(code), every_ms)
                self.state[f"code/{code}"] = str(every_ms)

    def set_minutes(self, minutes: int, now_ms: int) -> None:
        """Let minute data have another length."""
        lengths = self.aggregates.lengths.get("2051")
        if lengths is not None and lengths[-1][1] != minutes * 60_000:
            self.aggregates.change_length("2051", minutes * 60_000, now_ms)

    def mark(self) -> tuple[int, int]:
        """Return stream and number of the newest record that the periods hold."""
        return int(self.state.get("stream", "0")), int(self.state.get("seq", "0"))

    def commit(self, wall_ms: int) -> None:
        """Put everything that changed onto the medium; OSError if that fails: nothing is lost."""
        for cn, moment in self.aggregates.closed_to.items():
            self.state[f"closed/{cn}"] = str(moment)
        for cn, lengths in self.aggregates.lengths.items():
            self.state[f"lengths/{cn}"] = json.dumps(lengths)
        self.state["gaps"] = self.gaps.text()
        self.state |= self.held.rows()
        self.state["qn"] = str(self.device.last_qn_ms)
        for key, qns in self.device.take_numbers().items():
            upload = self.uploads.get(key)
            if isinstance(upload, PeriodUpload):
                upload.qns = qns
                self._unkept[key] = upload
        changed = self.aggregates.take_changed()
        try:
            for cn, from_ms in self.aggregates.undone.items():
                self.store.remove_empty(cn, from_ms)
            self.aggregates.undone.clear()
            state = dict(self.state.items() - self._kept_state)
            self.store.commit(changed, state, wall_ms, self._unkept.values())
        except OSError:
            self.aggregates.changed.update((period.cn, period.start_ms) for period in changed)
            raise
        self._unkept.clear()
        self._kept_state = set(self.state.items())
        if wall_ms - self._forgot_ms >= _FORGET_MS or wall_ms < self._forgot_ms:
            self._forgot_ms = wall_ms
            self.aggregates.forget(wall_ms - _MEMORY_MS)
        self.aggregates.put_away(MOST_HELD, self._flying())

    def _flying(self) -> set[tuple[str, int]]:
        """Return which periods are on their way."""
        return {
            (of.period.cn, of.period.start_ms)
            for of in self.uploads.values()
            if isinstance(of, PeriodUpload)
        }

    def give_up(self, wall_ms: int, passed: tuple[int, int]) -> list[AggregatePeriod]:
        """Stop trying for what is older than it is kept, once its records are named as lost.

        ``passed``: stream and newest record that the place in the outbox has passed. What is on
        its way stays on it: the platform may have it already.
        """
        stream, to = passed
        flying = self._flying()
        old = [
            one
            for one in self.aggregates.unsent_before(wall_ms - self._keep_ms)
            if (one.cn, one.start_ms) not in flying
            and all(last <= to for at, _, last in one.ranges if at == stream)
        ]
        for period in old:
            self.never_sent(period, AGE)
        if old:
            log.warning(
                "hj212 %s: %d periods from %s on never reached the platform and are too old now",
                *(self.device.options.mn, len(old), data_time(old[0].start_ms)),
            )
        return old

    def never_sent(self, period: AggregatePeriod, cause: str) -> None:
        """Name a period as a gap; it is tried no more unless it changes."""
        kind = period.cn if period.sent < 0 else f"{period.cn} change"
        first, last = period.start_ms, period.end_ms
        self.gaps.add(GapStatus(kind=kind, first_ms=first, last_ms=last, count=1, cause=cause))
        period.sent = period.revision
        self.aggregates.changed.add((period.cn, period.start_ms))

    def handled_to(self, stream: int) -> int:
        """Return the newest record that the platform needs no more of this stream."""
        mark_stream, to = self.mark()
        if mark_stream != stream:
            return 0
        first = self.aggregates.unsent_since(self.aggregates.shortest, stream)
        return to if first is None else min(to, first - 1)


def _settings(state: dict[str, str], configured: Hj212Settings) -> Hj212Settings:
    """Return what the platform has set, but for what the configuration has changed since."""
    before, state["configured"] = state.get("configured"), settings_text(configured)
    if "settings" not in state:
        return configured
    kept = settings_of(state["settings"])
    if before is not None:  # else the file is of a version that did not know
        then = settings_of(before)
        newer = {
            field.name: getattr(configured, field.name)
            for field in fields(configured)
            if getattr(configured, field.name) != getattr(then, field.name)
        }
        kept = replace(kept, **newer)
    state["settings"] = settings_text(kept)
    return kept


def _key(path: Path) -> bytes:
    try:
        return bytes.fromhex(path.read_text(encoding="ascii").strip())
    except ValueError as error:
        raise ValueError(f"{path}: expected 32 hexadecimal digits") from error
