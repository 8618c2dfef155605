"""What the collector does with a batch: verify, commit, sign the receipt. No network here.

A batch is accepted only if its signature, its chain and its place in the stream are right; its
receipt is made after the commit. A batch that comes again has no second effect and gets the
current receipt again. One that comes too early gets it too, so the gateway finds out where to go
on, and so does one that contradicts what is here. If the gateway cannot go on from there (its disk,
or this database, went back), it begins a new stream and names what is missing. A gateway that goes
by PUBACK gets no receipt: its batches show what it has forgotten, and this end names that, see
:mod:`.missing`. Every other batch is refused, counted and kept in a bounded
quarantine; so is one on which our own code fails, whatever the exception is. Only a failure of the
database or its medium is raised.

A record that is wrong although the gateway signed it (it cannot be read, its node's tag does not
verify, its device or its frame is not the gateway's to bring, see :mod:`.admission`, or the
database cannot hold it) never becomes data: it is kept in the table ``refused`` with
the reason, and the other records of the batch are committed.
"""

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gateway_agent.rare_log import RareLog
from protocols.identity import uid_of
from protocols.uplink import (
    EVENTS,
    GAP,
    GENESIS,
    SAMPLE,
    Batch,
    BatchHeader,
    Decoded,
    EarlierStream,
    FormatError,
    Receipt,
    check_proof,
    decode_record,
    fold,
    open_batch,
    sign_receipt,
)
from protocols.wire.errors import BAD_TAG, UNKNOWN, PeerError
from protocols.wire.hmac import HmacSha256
from protocols.wire.sample import Header, read_header

from .admission import Admission
from .database import Database
from .dating import CONTRADICTED
from .missing import MissingRecords
from .new_record import NewRecord, is_of_medium, shown
from .node_files import NodeFiles
from .quarantine import Quarantine

log = logging.getLogger(__name__)

# Verdicts; each is also the name of the counter in the database.
ACCEPTED: Final = "batches_accepted"
DUPLICATE: Final = "duplicates"
EARLY: Final = "batches_early"
FORK: Final = "forks"
BAD_SIGNATURE: Final = "bad_signatures"
UNKNOWN_KEY: Final = "unknown_keys"
MALFORMED: Final = "malformed"
WRONG_TOPIC: Final = "wrong_topics"
FAILED: Final = "batches_failed"  # our own code failed on it
VERDICTS: Final = (
    ACCEPTED, DUPLICATE, EARLY, FORK, BAD_SIGNATURE, UNKNOWN_KEY, MALFORMED, WRONG_TOPIC,
    FAILED,
)  # fmt: skip

# Counters that are not verdicts.
READINGS: Final = "readings_verified"
RECORDS: Final = "records_verified"
GAPS: Final = "gaps"
TAG_FAILURES: Final = "node_tag_failures"
REFUSED: Final = "records_refused"
FOREIGN: Final = "records_foreign"  # refused: of a device of another gateway
FRAMES_REPEATED: Final = "frames_repeated"  # refused: a node's frame that is stored already
REPEATED: Final = "records_repeated"  # came before in another stream of the gateway: no effect
# What the batches alone give; the other counters are about messages that were not kept.
DERIVED: Final = frozenset(
    (ACCEPTED, READINGS, RECORDS, GAPS, TAG_FAILURES, REFUSED, REPEATED, CONTRADICTED)
)

_OF_OUTBOX: Final = ("db_truncated", "outbox_damaged")  # gaps that a new stream of before has
EARLY_ALARM: Final = 10  # batches in a row that do not follow: the gateway is stuck
MAX_ALARMS: Final = 20  # kept for `status`; the log has all of them
MAX_LINES: Final = 20  # in the log about what was refused, each minute
BAD_PROOF: Final = "bad"  # ``auth`` of a record that is refused because of its node's tag


class BatchOutcome(NamedTuple):
    """What became of one message. ``receipt``, if any, goes to ``gateway`` about ``stream``."""

    verdict: str
    detail: str
    gateway: str = ""
    stream: int = 0
    receipt: bytes | None = None
    to: int = 0  # last record of ``stream`` that is committed, of a batch that was accepted


class BatchReceiver:
    """Everything between a message and its receipt. Used from one thread.

    ``gateways``: id -> kid -> public key. ``nodes``: (unique id, key id) -> key; the records of a
    node without a key here count as the gateway signed them (auth ``gateway``). ``allowed``: device
    id -> the gateways that may bring it, see :mod:`.admission`. ``files``: the folder of files that
    nodes handed over; None: ``files`` beside the quarantine.
    """

    def __init__(
        self,
        database: Database,
        key: Ed25519PrivateKey,
        gateways: Mapping[str, Mapping[bytes, Ed25519PublicKey]],
        nodes: Mapping[tuple[bytes, int], HmacSha256],
        quarantine: Path,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        allowed: Mapping[str, Collection[str]] | None = None,
        files: Path | None = None,
    ) -> None:
        self._database = database
        self._key = key
        self._gateways = gateways
        self._nodes = nodes
        self._node_uids = {uid for uid, _ in nodes}
        self._quarantine = Quarantine(quarantine)
        self._files = NodeFiles(files or quarantine.parent / "files")
        self._admission = Admission(database, allowed or {}, gateways)
        self._log = RareLog(log, MAX_LINES)
        self._reported: list[str] = []
        self._waiting: dict[str, tuple[int, str]] = {}  # by gateway: how often, and what
        self._now_ms = now_ms

    def receive(self, data: bytes, gateway: str | None = None) -> BatchOutcome:
        """Process one message that came on the topic of ``gateway`` (None: any).

        An exception means that the database or its medium failed, see ``is_of_medium``:
        nothing was stored, no receipt exists, the message must be sent again.
        """
        try:
            return self._process(data, gateway)
        except Exception as error:
            if is_of_medium(error):
                raise
            log.exception("a batch on the topic of %s failed", gateway)
            return self._refuse(data, FAILED, shown(error))

    def _process(self, data: bytes, gateway: str | None) -> BatchOutcome:
        try:
            batch = open_batch(data, self._key_of)
        except FormatError as error:
            return self._refuse(data, _verdict(error), str(error))
        header = batch.header
        if gateway is not None and header.gateway != gateway:
            detail = f"batch of {header.gateway} on the topic of {gateway}"
            return self._refuse(data, WRONG_TOPIC, detail)
        return self._place(data, batch)

    @property
    def waiting(self) -> list[str]:
        """Return whose newest batch does not follow what is here, and where it would."""
        return [text for _, text in list(self._waiting.values())]

    @property
    def alarms(self) -> list[str]:
        """Return what an operator must learn of: losses, and gateways that wait for too long."""
        stuck = [text for count, text in list(self._waiting.values()) if count >= EARLY_ALARM]
        return self._reported + list(self._admission.foreign.values()) + stuck

    def receipts(self) -> list[BatchOutcome]:
        """Return the current receipt of every stream, for gateways that have just connected."""
        return [
            BatchOutcome(DUPLICATE, "", gateway, stream, self._receipt(gateway, stream, to, head))
            for gateway, stream, to, head in self._database.positions()
        ]

    def _key_of(self, gateway: str, kid: bytes) -> Ed25519PublicKey | None:
        return self._gateways.get(gateway, {}).get(kid)

    # --- its place in the stream ----------------------------------------------------------------

    def _place(self, data: bytes, batch: Batch) -> BatchOutcome:
        header = batch.header
        stream_id, to, head = self._database.position(header.gateway, header.stream) or (
            None,
            0,
            GENESIS,
        )
        if header.first > to + 1:
            if batch.released < header.first - 1:
                self._wait(
                    header,
                    f"sends record {header.first} of stream {header.stream}, here it ends at {to}:"
                    " the records between are on their way, or this database went back",
                )
                return self._again(EARLY, header, to, head)
            gone = (header.gateway, header.stream, to + 1, header.first - 1, header.prev)
            self._miss(MissingRecords(*gone), "it goes by PUBACK and has them no more")
            to, head = header.first - 1, header.prev
        if stream_id is not None and self._forks(stream_id, batch, to, head):
            detail = (
                f"{header.gateway} signed two histories of stream {header.stream}, records"
                f" {header.first} to {header.last}: cloned or restored disk?"
            )
            self._wait(
                header,
                f"contradicts what is here of stream {header.stream} up to record {to}; with a"
                " receipt it goes on in a new stream",
            )
            receipt = self._receipt(header.gateway, header.stream, to, head)
            outcome = self._refuse(data, FORK, detail)
            return outcome._replace(gateway=header.gateway, stream=header.stream, receipt=receipt)
        self._waiting.pop(header.gateway, None)
        if header.last <= to:
            return self._again(DUPLICATE, header, to, head)
        return self._commit(data, batch, to)

    def _wait(self, header: BatchHeader, why: str) -> None:
        before, _ = self._waiting.get(header.gateway, (0, ""))
        text = f"{header.gateway}: {why}"
        self._waiting[header.gateway] = before + 1, text
        if before == 0:
            log.warning("%s", text)

    def _miss(self, missing: MissingRecords, why: str) -> None:
        """Name records as missing that will not come any more."""
        self._database.miss(missing, {} if missing.is_named else {GAPS: 1})
        if not missing.is_named:
            self._alarm(f"records are lost: {missing}: {why}")

    def _miss_earlier(self, gateway: str, earlier: EarlierStream) -> None:
        """Name what is not here of a stream that its gateway has left."""
        position = self._database.position(gateway, earlier.stream)
        begin = 1 if position is None else position.contiguous_to + 1
        named = max(begin, earlier.named_from)
        for first, last, is_named in (
            (begin, min(named - 1, earlier.to), False), (named, earlier.to, True),
        ):  # fmt: skip
            if first <= last:
                missing = MissingRecords(gateway, earlier.stream, first, last, GENESIS, is_named)
                self._miss(missing, "a collector had them, and this database went back")

    def _check_first(self, header: BatchHeader, new: Sequence[NewRecord]) -> None:
        """Report a gateway that begins anew without a word about what it had before."""
        other = self._database.newest_other(header.gateway, header.stream)
        gaps = (item.decoded.gap for item in new if item.decoded is not None)
        if other is None or any(gap is not None and gap.cause in _OF_OUTBOX for gap in gaps):
            return
        self._alarm(
            f"{header.gateway}: begins stream {header.stream} and names none before it, here is"
            f" stream {other[0]} up to record {other[1]}: was its state_dir deleted, or has another"
            " gateway its id? What waited there for a receipt is not known"
        )

    def _alarm(self, text: str) -> None:
        log.error("%s", text)
        self._reported = [*self._reported, text][-MAX_ALARMS:]

    def _forks(self, stream_id: int, batch: Batch, to: int, head: bytes) -> bool:
        """Return whether the batch contradicts what is committed, as far as the two overlap."""
        header = batch.header
        known = self._database.heads(stream_id, header.first - 1, min(header.last, to))
        known[to] = head
        for seq, expected in known.items():
            if header.first - 1 <= seq <= header.last:
                ours = fold(header.prev, batch.records[: seq - header.first + 1])
                if ours != expected:
                    return True
        return False

    def _again(self, verdict: str, header: BatchHeader, to: int, head: bytes) -> BatchOutcome:
        self._database.count(verdict)
        detail = f"records {header.first} to {header.last} of stream {header.stream}, here {to}"
        receipt = self._receipt(header.gateway, header.stream, to, head)
        return BatchOutcome(verdict, detail, header.gateway, header.stream, receipt)

    # --- its records ----------------------------------------------------------------------------

    def _commit(self, data: bytes, batch: Batch, to: int) -> BatchOutcome:
        header = batch.header
        for earlier in batch.earlier:
            if earlier.stream != header.stream:
                self._miss_earlier(header.gateway, earlier)
        indices = range(to + 1 - header.first, len(batch.records))
        repeated = self._database.repeated(header, batch.records).intersection(indices)
        checked = [
            self.check_record(header, header.first + index, batch.records[index])
            for index in indices
            if index not in repeated
        ]
        new = self._admission.check(header.gateway, checked)
        policy = {
            FOREIGN: self._admission.refused_foreign,
            FRAMES_REPEATED: self._admission.refused_frames,
        }
        for item in new:
            if item.decoded is not None and item.decoded.part is not None:
                self._files.keep(item.decoded.part)
        try:
            self._database.commit(data, header, new, _counts(new, len(repeated)) | policy)
        except Exception as error:
            if is_of_medium(error):
                raise
            # One record is enough for that; the others must not wait for it.
            reasons = self._database.unstorable(header, new)
            if not reasons:
                raise
            new = [item.refuse(reasons[item.seq]) if item.seq in reasons else item for item in new]
            self._database.commit(data, header, new, _counts(new, len(repeated)) | policy)
        if self._database.contradicted:
            self._contradict(header)
        if header.first == 1 and to == 0 and not batch.earlier:
            self._check_first(header, new)
        for item in new:
            if item.decoded is None:
                where = *_name(header), item.seq
                self._log.warning(
                    "{}: stream {}: record {} refused: {}".format(*where, item.reason)
                )
            elif item.decoded.gap is not None and item.decoded.gap.cause == "db_truncated":
                self._alarm(f"{header.gateway}: records are lost: {item.decoded.gap.detail}")
        receipt = self._receipt(header.gateway, header.stream, header.last, header.head)
        detail = f"records {to + 1} to {header.last} of stream {header.stream}"
        return BatchOutcome(ACCEPTED, detail, header.gateway, header.stream, receipt, header.last)

    def _contradict(self, header: BatchHeader) -> None:
        """Report times that cannot all be true, once for each boot of a gateway."""
        boot = header.anchor.boot_id.hex()
        text = (
            f"{header.gateway}: times of its boot {boot[:8]} contradict each other by more than"
            " their bounds; none was changed: was its clock, or this one, set wrong?"
        )
        if text not in self._reported:
            self._alarm(text)

    def check_record(self, batch: BatchHeader, seq: int, data: bytes) -> NewRecord:
        """Decode and authenticate record ``seq`` of ``batch``, or refuse it with the reason."""
        record = None
        try:
            record = decode_record(data)
            if record.kind not in (SAMPLE, EVENTS):
                return NewRecord(seq, data, record, "none", None, None, "")
            auth, frame = self._authenticate(record)
            return NewRecord(seq, data, record, auth, frame.boot_epoch, frame.seq, "", frame.key_id)
        except Exception as error:
            if is_of_medium(error):
                raise
            reason = shown(error)
            if record is None:
                return NewRecord(seq, data, None, "", None, None, reason)
            reason = f"{record.device_id}: {reason}"
            auth = BAD_PROOF if isinstance(error, PeerError) else ""
            return NewRecord(seq, data, None, auth, None, None, reason)

    def _authenticate(self, record: Decoded) -> tuple[str, Header]:
        """Return who proved the values, and the header of the record's frame. PeerError.

        ``node``: the node's own tag was verified here. ``gateway``: only the batch's signature was.
        """
        if uid_of(record.device_id) in self._node_uids:
            return "node", check_proof(record, lambda uid, key_id: self._nodes.get((uid, key_id)))
        assert record.frame is not None  # decode_record ensures it for these kinds
        return "gateway", read_header(record.frame)

    # --- receipts and refusals ------------------------------------------------------------------

    def _receipt(self, gateway: str, stream: int, to: int, head: bytes) -> bytes:
        return sign_receipt(Receipt(gateway, stream, to, head, self._now_ms()), self._key)

    def _refuse(self, data: bytes, verdict: str, detail: str) -> BatchOutcome:
        self._log.warning(f"batch refused ({verdict}): {detail}")
        self._database.count(verdict)
        self._quarantine.keep(data, verdict, detail)
        return BatchOutcome(verdict, detail)


def _counts(new: Sequence[NewRecord], repeated: int) -> dict[str, int]:
    decoded = [item.decoded for item in new if item.decoded is not None]
    return {
        ACCEPTED: 1,
        READINGS: sum(record.readings for record in decoded),
        RECORDS: len(decoded),
        GAPS: sum(record.kind == GAP for record in decoded),
        TAG_FAILURES: sum(item.decoded is None and item.auth == BAD_PROOF for item in new),
        REFUSED: len(new) - len(decoded),
        REPEATED: repeated,
    }


def _name(header: BatchHeader) -> tuple[str, int]:
    return header.gateway, header.stream


def _verdict(error: FormatError) -> str:
    if error.code == BAD_TAG:
        return BAD_SIGNATURE
    return UNKNOWN_KEY if (error.code, error.field) == (UNKNOWN, "kid") else MALFORMED
