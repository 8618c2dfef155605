"""Checks the frames of our own nodes: who sent one, is it new, and what is missing before it.

A frame enters only with the tag of the node's own key and unique id, in a boot epoch and with a
sequence number that come after the last ones taken under this key (RFC 1982 arithmetic: both wrap
at 32 bits). Everything else is counted, and what it cost is named by the gap before the next good
frame.
"""

from gateway_agent.counters import Counters
from gateway_agent.keys import SharedKey
from gateway_agent.status import PointValue
from gateway_agent.store.mark import Mark, MissedSlots
from protocols.uplink import (
    ProfileTemplate,
    Record,
    Stamp,
    event_record,
    gap_record,
    sample_record,
)
from protocols.wire.errors import PeerError
from protocols.wire.hmac import HmacSha256
from protocols.wire.register_names import QUALITY_NAMES
from protocols.wire.registers import (
    EVENT_MAP_ID,
    EVENT_SLOTS,
    MAPS,
    NO_SAMPLE,
    NOT_FITTED,
    OK,
    RegisterMap,
)
from protocols.wire.sample import (
    Event,
    Header,
    Sample,
    decode,
    decode_events,
    read_header,
    verify,
)

from .boot_clock import BootClock
from .profile import scaled
from .slot_account import SlotAccount, gap
from .wrapping import LAST, WRAP, ahead


class NodeTracker:
    """Takes the frames of one node and returns records; no I/O."""

    def __init__(
        self,
        device_id: str,
        uid: bytes,
        key: SharedKey | None,
        map: RegisterMap,
        mark: Mark | None,
        counters: Counters,
        replaces: int | None = None,
    ) -> None:
        self.device_id = device_id
        self._replaces = replaces  # the key id of the board before this one
        self.mark = mark
        self.auth = "unknown"  # then "ok", "bad" or "replayed"; "none" of a node without a key
        self.last: Sample | None = None
        self.last_ms = 0
        self.problem = ""
        self.slots = SlotAccount()
        self.events_due = False
        self._new_events: tuple[Event, ...] = ()
        self.found = ""  # what the node answers when it is asked who it is
        self._uid = uid
        self._key_id = 0 if key is None else key.key_id
        self._mac = None if key is None else HmacSha256(key.key)
        # Records of a node without a key are those of any device that proves nothing.
        points = [(point.name, point.unit, point.exp10) for point in map.points]
        self._plain = ProfileTemplate(device_id, points) if key is None else None
        self._map = map
        self._counters = counters
        self._boot_clock = BootClock()
        self._numbers = 0  # of samples, that passed
        self._samples = 0  # of these, in records
        self._named = 0  # and in gaps
        self.overrun = "the node measured more often than it was polled"
        self._first_frame = True  # no sample taken from this node since the process started

    @property
    def unaccounted(self) -> int:
        """Return how many samples, by their numbers, are in no record and in no gap."""
        return self._numbers - self._samples - self._named

    # --- failures -----------------------------------------------------------------------------

    def failed(self, cause: str, detail: str, now_ms: int) -> None:
        """Note that the poll under way brought no frame that can be taken."""
        self.problem = detail
        self.slots.note(cause, detail, now_ms)

    def notice(self, stamp: Stamp) -> list[Record]:
        """Return the gaps that report an outage while it lasts, if it is time for them."""
        if not self.slots.notice_due(stamp.resp_ms):
            return []
        epoch = self.mark.boot_epoch if self.mark else None
        after = f"after sample {self.mark.sample_seq}" if self.mark else "never read"
        return [
            self._gap(missed.cause, epoch, None, None, f"lasting, {after}: {text}", stamp, missed)
            for missed, text in self.slots.take()
        ]

    # --- frames -------------------------------------------------------------------------------

    def sample(self, frame: bytes, stamp: Stamp) -> list[Record]:
        """Check one sample frame; return its record, after the gaps that it closes."""
        sample = self._opened(frame, stamp.resp_ms)
        if sample is None:
            return []
        header, mark = sample.header, self.mark
        order = 1 if mark is None or not self._same_key(mark) else _order(header, mark)
        if mark is not None and order < 0:
            self._replayed("sample", header, f"{mark.boot_epoch}/{mark.sample_seq}", stamp)
            return []
        if mark is not None and order == 0:
            # Nothing can be missing now, whatever failed before.
            self._counters.repeats += 1
            self._good(sample, stamp)
            self.events_due = header.event_seq != mark.event_seq & 0xFFFF
            return []
        if header.seq == 0 and _empty(sample):
            self._good(sample, stamp)
            return []
        record = self._record(sample, frame, stamp)
        records = self._gaps_before(header, stamp)
        is_same = mark is not None and self._same_boot(mark, header)
        self._numbers += (header.seq - (mark.sample_seq if mark and is_same else 0)) % WRAP
        self._samples += 1
        if records:
            self.slots.name_all()
        if mark is not None and is_same:
            self.mark = mark._replace(sample_seq=header.seq, key_id=header.key_id)
        else:
            self.mark = Mark(header.boot_epoch, header.seq, 0, header.key_id)
        records.append(record)
        self._good(sample, stamp)
        self._first_frame = False
        self.events_due = header.event_seq != self.mark.event_seq & 0xFFFF
        return records

    def events(self, frame: bytes, stamp: Stamp) -> list[Record]:
        """Check one event frame; return the record of the events not yet taken."""
        header = self._authentic(frame, stamp.resp_ms)
        mark = self.mark
        if header is None or mark is None:
            return []
        try:
            _, events = decode_events(frame, header)
        except PeerError as error:
            self._reject("bad_frame", f"event frame rejected: {error}", stamp.resp_ms)
            return []
        boots = ahead(header.boot_epoch, mark.boot_epoch)
        if boots > 0 or not self._same_key(mark):
            return []  # restarted since its sample was read: the next sample reports that first
        new = ahead(header.seq, mark.event_seq)
        if boots < 0 or new < 0:
            self._replayed("event", header, f"{mark.boot_epoch}/{mark.event_seq}", stamp)
            return []
        self.events_due = False
        if new == 0:
            return []
        records: list[Record] = []
        lost = new - min(header.seq, EVENT_SLOTS)
        if lost > 0:
            text = f"events {mark.event_seq + 1} to {mark.event_seq + lost} fell out of the queue"
            records.append(self._gap("node_overrun", header.boot_epoch, None, None, text, stamp))
        # An event frame carries the node's time too, and may be younger than every sample.
        self._boot_clock.seen(header, stamp.resp_ms)
        node_ms = self._boot_clock.at(stamp.resp_ms)
        if self._plain is None:  # events without a proof are for the log alone
            records.append(
                event_record(self.device_id, header, events, frame, stamp, mark.event_seq, node_ms)
            )
        self._new_events = tuple(event for event in events if event.number > mark.event_seq)
        self.mark = mark._replace(event_seq=header.seq)
        return records

    def had(self, frame: bytes) -> bool:
        """Return whether what a frame has was taken before, in the boot of the mark.

        On a link a node offers again what was not acknowledged, and that is no replay.
        """
        mark = self.mark
        try:
            header = read_header(frame)
        except PeerError:
            return False
        if mark is None or not self._same_boot(mark, header) or header.key_id != self._key_id:
            return False
        taken = mark.event_seq if header.map_id == EVENT_MAP_ID else mark.sample_seq
        return ahead(header.seq, taken) <= 0

    def measured(self, boot_epoch: int, offset_ms: int, now_ms: int) -> None:
        """Take how far the node's clock is ahead of ours, as an exchange of times has shown."""
        self._boot_clock.measured(self._key_id, boot_epoch, offset_ms, now_ms)

    def age(self, frame: bytes, now_ms: int) -> int:
        """Return how long ago the node made a frame, as far as its clock is known."""
        try:
            return self._boot_clock.age(read_header(frame), now_ms)
        except PeerError:
            return 0

    @property
    def events_behind(self) -> bool:
        """Return whether the newest sample reports events that were not taken."""
        if self.mark is None or self.last is None:
            return False
        return 0 < (self.last.header.event_seq - self.mark.event_seq) % 0x10000 < 0x8000

    def values(self) -> list[PointValue]:
        """Return the values of the newest good sample; empty before the first."""
        sample = self.last
        if sample is None:
            return []
        return [
            PointValue(point.name, point.unit, scaled(raw, point.exp10))
            if quality == OK
            else PointValue(point.name, point.unit, None, quality=QUALITY_NAMES[quality])
            for point, quality, raw in zip(
                sample.map.points, sample.quality, sample.raw, strict=True
            )
        ]

    def take_events(self) -> tuple[Event, ...]:
        """Return the events that were recorded since the last call."""
        events, self._new_events = self._new_events, ()
        return events

    # --- inside -------------------------------------------------------------------------------

    def _same_key(self, mark: Mark) -> bool:
        """Return whether the numbers in ``mark`` belong to the key in force."""
        return mark.key_id in (0, self._key_id)

    def _same_boot(self, mark: Mark, header: Header) -> bool:
        """Return whether the node was not restarted since ``mark``."""
        return self._same_key(mark) and header.boot_epoch == mark.boot_epoch

    def _opened(self, frame: bytes, now_ms: int) -> Sample | None:
        """Return the sample in a frame of this node; None if it cannot be taken (noted)."""
        header = self._authentic(frame, now_ms, is_sample=True)
        if header is None:
            return None
        try:
            sample = decode(frame, header)
        except PeerError as error:
            self._reject("bad_frame", f"frame with a good tag rejected: {error}", now_ms)
            return None
        return sample

    def _record(self, sample: Sample, frame: bytes, stamp: Stamp) -> Record:
        if self._plain is None:
            return sample_record(self.device_id, sample, frame, stamp)
        values = zip(sample.quality, sample.raw, strict=True)
        shown = [raw if quality == OK else QUALITY_NAMES[quality] for quality, raw in values]
        return self._plain.record(shown, stamp)

    def _gaps_before(self, header: Header, stamp: Stamp) -> list[Record]:
        """Return the gaps between the last sample taken and the one with this header."""
        mark = self.mark
        if mark is None:
            # The node's first samples, before this gateway read it.
            if header.seq == 1:
                return []
            text = "measured before this gateway first read the node"
            return self._gaps("gateway_down", header, 1, text, stamp)
        if not self._same_key(mark):
            text = (
                f"key {header.key_id} came into force, and numbers began again; under key"
                f" {mark.key_id} nothing is known after sample {mark.boot_epoch}/{mark.sample_seq}"
            )
            return self._reset(mark, text, header, stamp)
        boots = ahead(header.boot_epoch, mark.boot_epoch)
        if boots:
            text = (
                f"restarted; samples of boot {mark.boot_epoch} after {mark.sample_seq} are unknown"
            )
            if boots > 1:
                text += f"; {boots - 1} boots between were never read"
            return self._reset(mark, text, header, stamp)
        if ahead(header.seq, mark.sample_seq) == 1:
            return []
        cause, text = self._why()
        return self._gaps(cause, header, (mark.sample_seq + 1) % WRAP, text, stamp)

    def _authentic(self, frame: bytes, now_ms: int, is_sample: bool = False) -> Header | None:
        """Return the header of a frame that this node sent; None for any other frame (noted).

        The map of a sample is compared first: in one of another map key id and tag stand elsewhere.
        """
        try:
            header = read_header(frame)
        except PeerError as error:
            self._reject("bad_frame", str(error), now_ms)
            return None
        text = self.wrong_map(header.map_id, header.map_version) if is_sample else ""
        if text:
            self._reject("bad_frame", text, now_ms)
            return None
        if header.key_id != self._key_id:
            # A later verification finds the key by this number, so it must be right.
            text = f"the node signs with key {header.key_id}, the key file holds {self._key_id}"
            if header.key_id == 0:
                text = f"the node has no key, the key file holds key {self._key_id}: provision it"
            self._forged("key_unknown", text, now_ms)
            return None
        if self._mac is None:
            return header
        try:
            verify(frame, self._mac, self._uid)
        except PeerError:
            text = f"tag does not match key {header.key_id} and uid {self._uid.hex()}"
            self._forged("bad_tag", f"{text}; {self.found}" if self.found else text, now_ms)
            return None
        return header

    def wrong_map(self, map_id: int, version: int) -> str:
        """Return what is wrong with the map that a node shows; empty if it is the expected one."""
        if map_id != self._map.map_id:
            shown = f"shows map id 0x{map_id:04x}, none of ours"
            shown = next((f"is {map.role}" for map in MAPS if map.map_id == map_id), shown)
            return f"role: expected {self._map.role}, the node {shown}"
        if version != self._map.version:
            return (
                f"register map: expected version {self._map.version}, the node has version"
                f" {version}: its firmware and this gateway are of different releases"
            )
        return ""

    def identified(self, uid: bytes | None) -> None:
        """Note what a node whose tag is wrong answers to the question for its unique id."""
        if uid is None:
            self.found = "it does not answer the question for its unique id"
        elif uid == self._uid:
            self.found = "it has this unique id, so its key is another than that of the key file"
        else:
            self.found = f"it answers with unique id {uid.hex()}: is it another node?"
        self.problem = f"{self.problem}; {self.found}"

    def _forged(self, cause: str, detail: str, now_ms: int) -> None:
        self._counters.node_tag_failures += 1
        self.auth = "bad"
        self.failed(cause, detail, now_ms)

    def _reject(self, cause: str, detail: str, now_ms: int) -> None:
        self._counters.poll_errors[cause] += 1
        self.failed(cause, detail, now_ms)

    def _replayed(self, what: str, header: Header, taken: str, stamp: Stamp) -> None:
        self._counters.replayed += 1
        self.auth = "replayed"
        text = f"{what} {header.boot_epoch}/{header.seq} is older than {taken}, already taken"
        if self.mark is not None and ahead(header.boot_epoch, self.mark.boot_epoch) < 0:
            text += "; a node with a new store needs a key with a new id"
        self.failed("replayed", text, stamp.resp_ms)

    def _good(self, sample: Sample, stamp: Stamp) -> None:
        self.auth = "ok" if self._plain is None else "none"
        self.problem = ""
        self.found = ""
        self.last = sample
        self.last_ms = stamp.resp_ms
        self.slots.answer()
        self.slots.over()
        self._boot_clock.seen(sample.header, stamp.resp_ms)

    def _why(self) -> tuple[str, str]:
        """Return cause and description of the samples of the running boot that were not read."""
        if self._first_frame:
            return "gateway_down", "the gateway was not running"
        if self.slots:
            return self.slots.cause, self.slots.describe()
        return "node_overrun", self.overrun

    def _reset(self, mark: Mark, text: str, header: Header, stamp: Stamp) -> list[Record]:
        """Return the gaps at a restart: the unknown end of the old boot, the start of the new."""
        missed = None
        if self.slots:
            text += f"; {self.slots.describe()}"
            missed = self.slots.total()
        cause = "node_reset"
        if mark.key_id and mark.key_id == self._replaces and not self._same_key(mark):
            cause, text = "node_replaced", f"another board took its place; {text}"
        records = [self._gap(cause, mark.boot_epoch, None, None, text, stamp, missed)]
        if header.seq != 1:
            cause, why = (
                self._why() if self._first_frame or self.slots else ("node_reset", "restarted")
            )
            text = f"first samples of this boot; {why}"
            records += self._gaps(cause, header, 1, text, stamp, are_slots_named=True)
        return records

    def _gaps(
        self,
        cause: str,
        header: Header,
        first: int,
        detail: str,
        stamp: Stamp,
        are_slots_named: bool = False,
    ) -> list[Record]:
        """Return the gap from ``first`` to the sample before this one: two where numbers wrap."""
        last = (header.seq - 1) % WRAP
        spans = [(first, last)] if first <= last else [(first, LAST), (0, last)]
        missed = self.slots.total() if self.slots and not are_slots_named else None
        records = []
        for begin, end in spans:
            gap = self._gap(cause, header.boot_epoch, begin, end, detail, stamp, missed)
            records.append(gap)
            self._named += end - begin + 1
            missed = None
        return records

    def _gap(
        self,
        cause: str,
        epoch: int | None,
        first: int | None,
        last: int | None,
        detail: str,
        stamp: Stamp,
        missed: MissedSlots | None = None,
    ) -> Record:
        self._counters.gaps[cause] += 1
        return gap_record(self.device_id, gap(cause, epoch, first, last, detail, missed), stamp)


def _order(header: Header, mark: Mark) -> int:
    """Return where a sample stands to the last one taken: -1 before, 0 the same, 1 after."""
    steps = ahead(header.boot_epoch, mark.boot_epoch) or ahead(header.seq, mark.sample_seq)
    return (steps > 0) - (steps < 0)


def _empty(sample: Sample) -> bool:
    """Return whether this is the frame that a node serves from boot to its first sample."""
    return all(quality in (NO_SAMPLE, NOT_FITTED) for quality in sample.quality)
