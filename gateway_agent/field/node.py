"""Our own nodes: whose frame is it, is it new, and what is missing before it.

A frame enters only with the tag of the node's own key and unique id, in a boot epoch and with a
sequence number that come after the last ones taken under this key (RFC 1982 arithmetic: both wrap
at 32 bits). Everything else is counted, and what it cost is named by the gap before the next good
frame.
"""

from gateway_agent.counters import Counters
from gateway_agent.keys import SharedKey
from gateway_agent.store.mark import Mark
from protocols.uplink.record import Record, Stamp, event_record, gap_record, sample_record
from protocols.wire.errors import PeerError
from protocols.wire.hmac import HmacSha256
from protocols.wire.registers import EVENT_SLOTS, NO_SAMPLE, NOT_FITTED, RegisterMap
from protocols.wire.sample import Header, Sample, decode, decode_events, read_header, verify

from .boot_clock import BootClock
from .outage import Outage, gap
from .wrapping import LAST, WRAP, ahead


class NodeTracker:
    """The intake of one node, without I/O: frames in, records out."""

    def __init__(
        self,
        device_id: str,
        uid: bytes,
        key: SharedKey,
        map: RegisterMap,
        mark: Mark | None,
        counters: Counters,
    ) -> None:
        self.device_id = device_id
        self.mark = mark
        self.auth = "unknown"  # then "ok", "bad" or "replayed"
        self.last: Sample | None = None
        self.last_ms = 0
        self.problem = ""
        self.outage = Outage()
        self.events_due = False
        self._uid = uid
        self._key_id = key.key_id
        self._mac = HmacSha256(key.key)
        self._map = map
        self._counters = counters
        self._boot_clock = BootClock()
        self._fresh = True  # nothing taken from this node since the process started

    # --- failures -----------------------------------------------------------------------------

    def failed(self, cause: str, detail: str, now_ms: int, slots: int = 1) -> None:
        """``slots`` polls brought no frame that can be taken."""
        self.problem = detail
        self.outage.note(cause, detail, now_ms, slots)

    def notice(self, stamp: Stamp) -> list[Record]:
        """The gap that reports an outage while it lasts, if it is time for one."""
        if not self.outage.notice_due(stamp.resp_ms):
            return []
        epoch = self.mark.boot_epoch if self.mark else None
        after = f"after sample {self.mark.sample_seq}" if self.mark else "never read"
        cause = self.outage.cause
        text = f"lasting, {after}: {self.outage.describe()}"
        self.outage.noticed(stamp.resp_ms)
        return [self._gap(cause, epoch, None, None, text, stamp)]

    # --- frames -------------------------------------------------------------------------------

    def sample(self, frame: bytes, stamp: Stamp) -> list[Record]:
        """Judge one sample frame; the records it leads to, gaps before the sample."""
        header = self._authentic(frame, stamp.resp_ms)
        if header is None:
            return []
        try:
            sample = decode(frame)
        except PeerError as error:
            self._reject("bad_frame", f"frame with a good tag rejected: {error}", stamp.resp_ms)
            return []
        if sample.map is not self._map:
            self._reject(
                "bad_frame",
                f"role: expected {self._map.role}, the node is {sample.map.role}",
                stamp.resp_ms,
            )
            return []
        records: list[Record] = []
        mark = self.mark
        if mark is not None and self._same_key(mark):
            boots = ahead(header.boot_epoch, mark.boot_epoch)
            steps = ahead(header.seq, mark.sample_seq)
            if boots < 0 or (boots == 0 and steps < 0):
                self._replayed("sample", header, f"{mark.boot_epoch}/{mark.sample_seq}", stamp)
                return []
            if boots == 0 and steps == 0:
                # Nothing can be missing now, whatever failed before.
                self._counters.repeats += 1
                self._good(sample, stamp)
                self.events_due = header.event_seq != mark.event_seq & 0xFFFF
                return []
        if header.seq == 0 and _empty(sample):
            self._good(sample, stamp)
            return []
        if mark is None:
            # The node's first samples, before anyone was there to read them.
            if header.seq != 1:
                text = "measured before this gateway first read the node"
                records += self._gaps("gateway_down", header, 1, text, stamp)
            self.mark = Mark(header.boot_epoch, header.seq, 0, header.key_id)
        elif not self._same_key(mark):
            text = (
                f"key {header.key_id} came into force, a new life of the node; under key"
                f" {mark.key_id} nothing is known after sample {mark.boot_epoch}/{mark.sample_seq}"
            )
            records += self._reset(mark, text, header, stamp)
            self.mark = Mark(header.boot_epoch, header.seq, 0, header.key_id)
        elif boots:
            text = (
                f"restarted; samples of boot {mark.boot_epoch} after {mark.sample_seq} are unknown"
            )
            if boots > 1:
                text += f"; {boots - 1} boots between were never read"
            records += self._reset(mark, text, header, stamp)
            self.mark = Mark(header.boot_epoch, header.seq, 0, header.key_id)
        else:
            if steps > 1:
                cause, text = self._why()
                first = (mark.sample_seq + 1) % WRAP
                records += self._gaps(cause, header, first, text, stamp)
            self.mark = mark._replace(sample_seq=header.seq, key_id=header.key_id)
        records.append(sample_record(self.device_id, sample, frame, stamp))
        self._good(sample, stamp)
        self._fresh = False
        self.events_due = header.event_seq != self.mark.event_seq & 0xFFFF
        return records

    def events(self, frame: bytes, stamp: Stamp) -> list[Record]:
        """Judge one event frame; the record of the events not yet taken."""
        header = self._authentic(frame, stamp.resp_ms)
        mark = self.mark
        if header is None or mark is None:
            return []
        try:
            header, events = decode_events(frame)
        except PeerError as error:
            self._reject("bad_frame", f"event frame rejected: {error}", stamp.resp_ms)
            return []
        boots = ahead(header.boot_epoch, mark.boot_epoch)
        if boots > 0 or not self._same_key(mark):
            return []  # restarted since its sample was read: the next sample says so first
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
        # An event frame says the time as well, and may be younger than every sample seen.
        self._boot_clock.seen(header, stamp.resp_ms)
        node_ms = self._boot_clock.at(stamp.resp_ms)
        records.append(
            event_record(
                self.device_id, header, events, frame, stamp, after=mark.event_seq, node_ms=node_ms
            )
        )
        self.mark = mark._replace(event_seq=header.seq)
        return records

    # --- inside -------------------------------------------------------------------------------

    def _same_key(self, mark: Mark) -> bool:
        """Whether ``mark`` says anything about frames of the key in force."""
        return mark.key_id in (0, self._key_id)

    def _authentic(self, frame: bytes, now_ms: int) -> Header | None:
        """The header of a frame of this node and nobody else's."""
        try:
            header = read_header(frame)
        except PeerError as error:
            self._reject("bad_frame", str(error), now_ms)
            return None
        if header.key_id != self._key_id:
            # Whoever checks again later looks the key up by this number, so it has to be right.
            text = f"the node signs with key {header.key_id}, the key file holds {self._key_id}"
            self._forged("key_unknown", text, now_ms)
            return None
        try:
            verify(frame, self._mac, self._uid)
        except PeerError:
            text = f"tag does not fit key {header.key_id} and uid {self._uid.hex()}"
            self._forged("bad_tag", text, now_ms)
            return None
        return header

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
        self.auth = "ok"
        self.problem = ""
        self.last = sample
        self.last_ms = stamp.resp_ms
        self.outage.over()
        self._boot_clock.seen(sample.header, stamp.resp_ms)

    def _why(self) -> tuple[str, str]:
        """Cause and words for samples of the running boot that were not read."""
        if self._fresh:
            return "gateway_down", "the gateway was not running"
        if self.outage:
            return self.outage.cause, self.outage.describe()
        return "node_overrun", "the node measured more often than it was polled"

    def _reset(self, mark: Mark, text: str, header: Header, stamp: Stamp) -> list[Record]:
        """Gaps at a restart: the end of the old boot, which is unknown, and the new one's start."""
        if self.outage:
            text += f"; {self.outage.describe()}"
        records = [self._gap("node_reset", mark.boot_epoch, None, None, text, stamp)]
        if header.seq != 1:
            cause, why = self._why() if self._fresh or self.outage else ("node_reset", "restarted")
            records += self._gaps(cause, header, 1, f"first samples of this boot; {why}", stamp)
        return records

    def _gaps(
        self, cause: str, header: Header, first: int, detail: str, stamp: Stamp
    ) -> list[Record]:
        """``first`` up to the sample before this one: two gaps where the sequence wraps."""
        last = (header.seq - 1) % WRAP
        spans = [(first, last)] if first <= last else [(first, LAST), (0, last)]
        epoch = header.boot_epoch
        return [self._gap(cause, epoch, begin, end, detail, stamp) for begin, end in spans]

    def _gap(
        self,
        cause: str,
        epoch: int | None,
        first: int | None,
        last: int | None,
        detail: str,
        stamp: Stamp,
    ) -> Record:
        self._counters.gaps[cause] += 1
        return gap_record(self.device_id, gap(cause, epoch, first, last, detail), stamp)


def _empty(sample: Sample) -> bool:
    """The frame a node shows from boot to its first sample."""
    return all(quality in (NO_SAMPLE, NOT_FITTED) for quality in sample.quality)
