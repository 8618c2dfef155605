"""Verifying batches offline: what is wrong, and exactly where.

Unlike :func:`.batch.open_batch`, which stops at the first fault, an inspection goes on as far as
the bytes allow: a batch with a wrong signature is still taken apart, because its other faults show
whether a bit was flipped or another key signed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from protocols.text_of_others import printable
from protocols.wire.errors import BAD_ORDER, TRUNCATED, LocalError, PeerError
from protocols.wire.sample import read_header as frame_header

from .account import SampleAccount
from .batch import (
    check_chain,
    check_maps,
    check_signature,
    parse_batch,
    read_header,
    unpack,
)
from .batch_header import COMPRESSION_NONE, BatchHeader
from .cbor import encode_int
from .cose import KeyLookup, Sign1
from .proof import NodeKeyLookup, check_proof
from .record_read import decode_record
from .record_types import EVENTS, GAP, SAMPLE, Decoded, Gap
from .sequence import end_of, resume
from .stream_order import StreamOrder

ERROR: Final = "error"
NOTE: Final = "note"

_MAX_FINDINGS: Final = 100  # per batch: a wrong batch must not bury the next one


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that an inspection found.

    ``severity``: ERROR, or NOTE for what limits the check (no key given) but is not wrong.
    ``offset``: byte in the input, or in the decompressed pack when ``in_pack``; -1 unknown.
    ``batch`` counts from 1; ``record`` from 1 within its batch, with its sequence number ``seq``.
    ``code``, ``message`` (it names the field), ``expected`` and ``got`` as in PeerError.
    """

    severity: str
    code: int
    message: str
    offset: int = -1
    in_pack: bool = False
    batch: int = 0
    record: int = 0
    seq: int = 0
    expected: object = None
    got: object = None

    @property
    def is_error(self) -> bool:
        """Return whether the file is wrong there; a note is no error."""
        return self.severity == ERROR

    def __str__(self) -> str:
        place = []
        if self.batch:
            place.append(f"batch {self.batch}")
        if self.record:
            place.append(f"record {self.record} (seq {self.seq})")
        if self.offset >= 0:
            place.append(f"byte {self.offset}" + (" of the decompressed pack" * self.in_pack))
        text = f"{', '.join(place)}: {self.message}" if place else self.message
        if self.expected is not None or self.got is not None:
            text += f": expected {self.expected}, got {self.got}"
        return printable(text)


class Inspection:
    """One run over a file of batches (a CBOR sequence, RFC 8742; one batch is the plain case).

    ``keys``: the gateways' public keys; None leaves signatures unchecked, with a note.
    ``node_keys``: the nodes' keys; None leaves their tags unchecked, silently.

    The counters hold after the findings are exhausted: ``batches`` seen, ``records`` and
    ``readings`` read, ``gaps`` among the records, ``signatures`` and ``tags`` verified, ``errors``.
    """

    def __init__(self, keys: KeyLookup | None = None, node_keys: NodeKeyLookup | None = None):
        self._keys = keys
        self._node_keys = node_keys
        self._account = SampleAccount()
        self._order = StreamOrder()
        self.batches = 0
        self.records = 0
        self.readings = 0
        self.gaps = 0
        self.signatures = 0
        self.tags = 0
        self.errors = 0

    def run(self, data: bytes | bytearray | memoryview) -> Iterator[Finding]:
        """Inspect ``data``; findings come as they are found, in the order of the bytes."""
        for finding in self._findings(bytes(data)):
            self.errors += finding.is_error
            yield finding

    def _findings(self, data: bytes) -> Iterator[Finding]:
        at = 0
        if not data:
            yield Finding(ERROR, TRUNCATED, "input", 0, expected="a batch", got="nothing")
        while at < len(data):
            self.batches += 1
            try:
                end = end_of(data, at)
            except PeerError as error:
                yield self._finding(error, at)
                following = resume(data, at + 1)
                if following < 0:
                    yield self._note("nothing from here on can be read as a batch", at)
                    break
                yield self._note(f"{following - at} bytes skipped, a batch begins again", following)
                at = following
                continue
            found = 0
            for finding in self._batch(data[at:end], at):
                found += 1
                if found <= _MAX_FINDINGS:
                    yield finding
            if found > _MAX_FINDINGS:
                yield self._note(f"{found - _MAX_FINDINGS} findings more in this batch", at)
            at = end
        for entry in self._account.missing():
            yield Finding(
                ERROR,
                BAD_ORDER,
                f"{entry.device_id}, boot {entry.boot_epoch}: samples {entry.first} to"
                f" {entry.last} are missing and no gap record names them",
            )

    def _batch(self, data: bytes, base: int) -> Iterator[Finding]:
        try:
            message = parse_batch(data)
            header = read_header(message)
        except PeerError as error:
            yield self._finding(error, base)
            return
        yield from self._signature(message, header, base)
        for remark in self._order.enter(header):
            if remark.is_error:
                yield self._broken(remark.message, base, remark.expected, remark.got)
            else:
                yield self._note(remark.message, base)
        plain = header.compression == COMPRESSION_NONE
        try:
            maps, records = unpack(message, header)
        except PeerError as error:
            # Offsets before the payload can only be those of what came out of it.
            inside = not plain and error.offset < message.payload_at
            yield _in_pack(self._finding(error, 0 if inside else base), inside)
            return
        try:
            check_chain(header, records)
        except PeerError as error:
            yield self._finding(error, base)
        at = base + message.payload_at if plain else 0
        at += len(message.payload) - sum(header.lengths) if plain else _array_head(maps)
        counted = 0
        for index, record in enumerate(records):
            seq = header.first + index
            try:
                decoded = decode_record(record)
            except PeerError as error:
                finding = self._finding(error, at if error.offset >= 0 else 0, index + 1, seq)
                yield _in_pack(finding, not plain)
                counted = -1
            else:
                self._count(decoded)
                counted += decoded.maps if counted >= 0 else 0
                for finding in self._record(decoded, index + 1, seq, at):
                    yield _in_pack(finding, not plain)
            at += len(record)
        if counted >= 0:
            try:
                check_maps(maps, counted)
            except PeerError as error:
                yield self._finding(error, base)

    def _signature(self, message: Sign1, header: BatchHeader, base: int) -> Iterator[Finding]:
        if self._keys is None:
            yield self._note("signature not checked: no key given", base + message.signature_at)
            return
        try:
            check_signature(message, header, self._keys)
        except PeerError as error:
            yield self._finding(error, base)
        else:
            self.signatures += 1

    def _record(self, record: Decoded, number: int, seq: int, at: int) -> Iterator[Finding]:
        again = self._order.is_repeated(seq)
        if record.gap is not None:
            self._account.gap(record.device_id, record.gap)
            return
        if record.kind not in (SAMPLE, EVENTS) or record.frame is None:
            return
        try:
            if self._node_keys is not None:
                header = check_proof(record, self._node_keys)
                self.tags += 1
            else:
                header = frame_header(record.frame)
        except (PeerError, LocalError) as error:
            yield self._finding(error, at, number, seq, whole=True)
            return
        if record.kind == SAMPLE and self._order.is_late and not again:
            # Its place in the order is lost, but the sample itself is not missing.
            there = Gap("", header.boot_epoch, header.seq, header.seq, "")
            self._account.gap(record.device_id, there)
        elif record.kind == SAMPLE and not again:
            problem = self._account.sample(
                record.device_id, header.boot_epoch, header.seq, header.key_id
            )
            if problem:
                yield Finding(
                    ERROR,
                    BAD_ORDER,
                    f"{record.device_id}: {problem}",
                    at,
                    batch=self.batches,
                    record=number,
                    seq=seq,
                )
            for entry in self._account.overflow():
                yield self._note(f"unexplained: {entry}", at)

    def _count(self, record: Decoded) -> None:
        self.records += 1
        self.readings += record.readings
        self.gaps += record.kind == GAP

    def _finding(
        self,
        error: PeerError | LocalError,
        base: int,
        record: int = 0,
        seq: int = 0,
        whole: bool = False,
    ) -> Finding:
        # Offsets of a frame's own fields mean nothing in the input: the record's begin does.
        offset = base if whole else base + error.offset if error.offset >= 0 else -1
        return Finding(
            ERROR,
            error.code,
            error.message,
            offset,
            False,
            self.batches,
            record,
            seq,
            error.expected,
            error.got,
        )

    def _broken(self, message: str, base: int, expected: object, got: object) -> Finding:
        return Finding(
            ERROR, BAD_ORDER, message, base, batch=self.batches, expected=expected, got=got
        )

    def _note(self, message: str, offset: int) -> Finding:
        return Finding(NOTE, 0, message, offset, batch=self.batches)


def _array_head(count: int) -> int:
    return len(encode_int(count))


def _in_pack(finding: Finding, compressed: bool) -> Finding:
    return replace(finding, in_pack=True) if compressed else finding
