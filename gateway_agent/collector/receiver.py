"""What the collector does with a batch: verify, commit, sign the receipt. No network here.

A batch is accepted only if its signature, its chain and its place in the stream are right; its
receipt is made after the commit. A batch that comes again has no second effect and gets the
current receipt again. One that comes too early gets it too, so the gateway finds out where to go
on. Every other batch is refused, counted and kept in a bounded quarantine.

A record that is wrong although the gateway signed it (it cannot be read, or its node's tag does
not verify) never becomes data: it is kept in the table ``refused`` with the reason, and the other
records of the batch are committed.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from protocols.identity import uid_of
from protocols.uplink import (
    EVENTS,
    GAP,
    GENESIS,
    MAX_BATCH_BYTES,
    SAMPLE,
    Batch,
    BatchHeader,
    Decoded,
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

from .database import Database, NewRecord

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
VERDICTS: Final = (
    ACCEPTED, DUPLICATE, EARLY, FORK, BAD_SIGNATURE, UNKNOWN_KEY, MALFORMED, WRONG_TOPIC,
)  # fmt: skip

# Counters that are not verdicts.
READINGS: Final = "readings_verified"
RECORDS: Final = "records_verified"
GAPS: Final = "gaps"
TAG_FAILURES: Final = "node_tag_failures"
REFUSED: Final = "records_refused"
REPEATED: Final = "records_repeated"  # came before in another stream of the gateway: no effect

QUARANTINE_FILES: Final = 100
QUARANTINE_BYTES: Final = MAX_BATCH_BYTES + 1  # of each: enough to show that it was too long
# A gateway that has sent an unknown stream without its beginning this often does not have the
# beginning any more: its records were receipted by a database that is lost.
OFFERS: Final = 3


class BatchOutcome(NamedTuple):
    """What became of one message. ``receipt``, if any, goes to ``gateway`` about ``stream``."""

    verdict: str
    detail: str
    gateway: str = ""
    stream: int = 0
    receipt: bytes | None = None


class BatchReceiver:
    """Everything between a message and its receipt. Used from one thread.

    ``gateways``: id -> kid -> public key. ``nodes``: (unique id, key id) -> key; the records of a
    node without a key here count as the gateway signed them (auth ``gateway``).
    """

    def __init__(
        self,
        database: Database,
        key: Ed25519PrivateKey,
        gateways: Mapping[str, Mapping[bytes, Ed25519PublicKey]],
        nodes: Mapping[tuple[bytes, int], HmacSha256],
        quarantine: Path,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._database = database
        self._key = key
        self._gateways = gateways
        self._nodes = nodes
        self._node_uids = {uid for uid, _ in nodes}
        self._quarantine = quarantine
        self._now_ms = now_ms
        self._offers: dict[tuple[str, int], tuple[int, int]] = {}

    def receive(self, data: bytes, gateway: str | None = None) -> BatchOutcome:
        """Process one message that came on the topic of ``gateway`` (None: any).

        sqlite3.Error: the database refused the commit; nothing was stored, no receipt exists, the
        message must be sent again.
        """
        try:
            batch = open_batch(data, self._key_of)
        except FormatError as error:
            return self._refuse(data, _verdict(error), str(error))
        header = batch.header
        if gateway is not None and header.gateway != gateway:
            detail = f"batch of {header.gateway} on the topic of {gateway}"
            return self._refuse(data, WRONG_TOPIC, detail)
        return self._place(data, batch)

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
        absent = 0
        if stream_id is None and header.first > 1:
            if not self._is_beginning_lost(header):
                return self._again(EARLY, header, to, head)
            log.error("%s: stream %d begins at record %d here", *_name(header), header.first)
            to, head = header.first - 1, header.prev
            absent = to
        if header.first > to + 1:
            return self._again(EARLY, header, to, head)
        if stream_id is not None and self._forks(stream_id, batch, to, head):
            detail = (
                f"{header.gateway} signed two histories of stream {header.stream}, records"
                f" {header.first} to {header.last}: cloned or restored disk?"
            )
            log.error("%s", detail)
            return self._refuse(data, FORK, detail)
        if header.last <= to:
            return self._again(DUPLICATE, header, to, head)
        return self._commit(batch, to, absent)

    def _is_beginning_lost(self, header: BatchHeader) -> bool:
        stream = (header.gateway, header.stream)
        first, count = self._offers.get(stream, (header.first, 0))
        if header.first > first:
            return False
        count = count + 1 if header.first == first else 1
        self._offers[stream] = (header.first, count)
        return count >= OFFERS

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

    def _commit(self, batch: Batch, to: int, absent: int) -> BatchOutcome:
        header = batch.header
        counts = dict.fromkeys(
            (ACCEPTED, READINGS, RECORDS, GAPS, TAG_FAILURES, REFUSED, REPEATED), 0
        )
        counts[ACCEPTED] = 1
        counts[GAPS] = 1 if absent else 0
        new = []
        repeated = self._database.repeated(header, batch.records)
        for seq in range(to + 1, header.last + 1):
            if seq - header.first in repeated:
                counts[REPEATED] += 1
                continue
            item = self._check_record(seq, batch.records[seq - header.first], counts)
            if item.decoded is None:
                counts[REFUSED] += 1
                log.error("%s: stream %d: record %d refused: %s", *_name(header), seq, item.reason)
            else:
                counts[RECORDS] += 1
                counts[READINGS] += len(item.decoded.values)
                counts[GAPS] += item.decoded.kind == GAP
            new.append(item)
        self._database.commit(header, new, counts, absent)
        self._offers.pop((header.gateway, header.stream), None)
        receipt = self._receipt(header.gateway, header.stream, header.last, header.head)
        detail = f"records {to + 1} to {header.last} of stream {header.stream}"
        return BatchOutcome(ACCEPTED, detail, header.gateway, header.stream, receipt)

    def _check_record(self, seq: int, data: bytes, counts: dict[str, int]) -> NewRecord:
        try:
            record = decode_record(data)
        except PeerError as error:
            return NewRecord(seq, data, None, "", None, None, str(error))
        if record.kind not in (SAMPLE, EVENTS):
            return NewRecord(seq, data, record, "none", None, None, "")
        try:
            auth, header = self._authenticate(record)
        except PeerError as error:
            counts[TAG_FAILURES] += 1
            return NewRecord(seq, data, None, "", None, None, f"{record.device_id}: {error}")
        return NewRecord(seq, data, record, auth, header.boot_epoch, header.seq, "")

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
        log.warning("batch refused (%s): %s", verdict, detail)
        self._database.count(verdict)
        self._keep(data, verdict)
        return BatchOutcome(verdict, detail)

    def _keep(self, data: bytes, verdict: str) -> None:
        """Keep a refused message for people to look at; the oldest ones are deleted."""
        try:
            self._quarantine.mkdir(mode=0o700, parents=True, exist_ok=True)
            files = sorted(self._quarantine.iterdir(), key=lambda file: file.stat().st_mtime_ns)
            for file in files[: max(0, len(files) - QUARANTINE_FILES + 1)]:
                file.unlink()
            name = hashlib.sha256(data).hexdigest()[:16]
            # MQTT 3.1.1 lets a message of 256 MB through: what is longer than a batch is cut.
            file = self._quarantine / f"{verdict}-{name}.cose"
            file.write_bytes(memoryview(data)[:QUARANTINE_BYTES])
        except OSError as error:  # the quarantine must never stop the collector
            log.warning("quarantine: %s", error)


def _name(header: BatchHeader) -> tuple[str, int]:
    return header.gateway, header.stream


def _verdict(error: FormatError) -> str:
    if error.code == BAD_TAG:
        return BAD_SIGNATURE
    return UNKNOWN_KEY if (error.code, error.field) == (UNKNOWN, "kid") else MALFORMED
