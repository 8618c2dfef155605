"""Prove every row of a collector's database from the batches it keeps, and name what differs.

A batch is proved by its gateway's signature and by the chain over all batches; its rows are derived
again, by the code that the commit used, and compared. A record of a node is proved by the node's
own tag as well, where the node's key is known. What no batch proves (the reasons of refused records
and the counters) has a seal of its own: :mod:`.audit_tables`.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from protocols.identity import uid_of
from protocols.uplink import (
    CLOCK_NAMES,
    EVENTS,
    GENESIS,
    SAMPLE,
    Batch,
    BatchHeader,
    FormatError,
    KeyLookup,
    NodeKeyLookup,
    check_proof,
    decode_record,
    fold,
    link,
    open_batch,
)
from protocols.wire.errors import UNKNOWN, PeerError
from protocols.wire.hmac import HmacSha256
from protocols.wire.sample import read_header as read_frame_header

from . import audit_tables
from .archive_read import ArchiveReader, reader_beside
from .audit_readings import StoredReadings, compare
from .audit_tables import MAX_TEXT, AuditFinding
from .audit_thinned import ThinnedAudit
from .audit_times import StoredTimes
from .errors import DamagedDatabase, damage_named
from .missing import MissingRecords
from .new_record import NewRecord
from .rows import Row, digest_of, is_in_other_stream, rows_of

TAIL_RECORDS: Final = 2000  # that a start proves, in whole batches: a second or two
# By table: what identifies a row for people, and how a whole row is read.
_READ: Final = {
    "records": "SELECT * FROM records",
    "packed_readings": "SELECT stream_id, seq, shape_id, numbers FROM packed_readings",
    "single_readings": (
        "SELECT stream_id, seq, device, name, unit, value FROM single_readings"
        " LEFT JOIN points ON points.id = point_id"
    ),
    "failures": "SELECT * FROM failures",
    "events": "SELECT * FROM events",
    "gaps": "SELECT * FROM gaps",
    "files": "SELECT * FROM files",
    "actions": "SELECT * FROM actions",
    "refused": "SELECT * FROM refused",
}
_MAX_NUMBER: Final = (1 << 63) - 1
_TIME: Final = 4
_AUTH: Final = 7
_DIGEST: Final = 13


class _Position(NamedTuple):
    to: int
    head: bytes


_Streams: TypeAlias = dict[int, tuple[str, int, _Position]]  # by id


class Audit:
    """One run over an open database; the figures hold when the findings are exhausted.

    ``keys``: the gateways' public keys, None to leave signatures unchecked. ``nodes``: the nodes'
    keys. ``kept``: batches with their bytes; those with a key that is not known here are not in
    ``signatures``. ``unproved``: records whose batch was not kept; ``missing``: those that a gap
    names as missing for good; ``untagged``: records of nodes whose key is not known here.
    ``archive``: the archive of this database; what it has counts, whatever the database has.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        keys: KeyLookup | None = None,
        nodes: NodeKeyLookup | None = None,
        progress: Callable[[int], None] = lambda _: None,
        archive: ArchiveReader | None = None,
    ) -> None:
        self._db = connection
        self._archive = archive
        self._ends = archive.ends() if archive is not None else {}
        self._thinned = ThinnedAudit(connection, archive) if archive is not None else None
        self._keys = keys
        self._nodes = nodes
        self._progress = progress
        self._readings = StoredReadings(connection)
        self._times = StoredTimes(connection)
        self.batches = self.kept = self.signatures = self.records = self.readings = self.gaps = 0
        self.refused = self.repeated = self.tags = self.untagged = self.unproved = self.missing = 0
        self.errors = self.statements = 0
        self._rows = dict.fromkeys(_READ, 0)
        self._chain = GENESIS
        self._is_start = False

    def run(self) -> Iterator[AuditFinding]:
        """Prove everything."""
        db = self._db
        yield from self._counted("database", lambda: audit_tables.structure(db))
        yield from self._counted("batches", lambda: self._from(1))
        archive = self._archive
        if archive is not None:  # after the batches, with which its files were read
            yield from self._counted("archive", lambda: archive.compare(db))
            yield from self._counted("thinned", self._thinned_rows)
        for table, count in {**self._rows, "anchors": self._times.anchors}.items():
            yield from self._counted(table, partial(audit_tables.strays, db, table, count))
        yield from self._counted("shapes", lambda: audit_tables.shapes(db))
        yield from self._counted("points", lambda: audit_tables.points(db))
        yield from self._counted("devices", lambda: audit_tables.devices(db))
        yield from self._counted("counters", lambda: audit_tables.counters(db))

    def _thinned_rows(self) -> Iterator[AuditFinding]:
        assert self._thinned is not None
        yield from self._thinned.compare()
        self._thinned.close()

    @property
    def thinned(self) -> int:
        """Return how many readings retention has removed; what is left of them was compared."""
        return 0 if self._thinned is None else self._thinned.readings

    def run_tail(self, records: int = TAIL_RECORDS) -> Iterator[AuditFinding]:
        """Prove the newest batches that have about ``records``, and where every stream stands.

        This is for a start: a database that is behind its archive may go on, and catches up.
        """
        self._is_start = True

        def tail() -> Iterator[AuditFinding]:
            left, begin = records, 1
            for number, size in self._db.execute(
                "SELECT number, last - first + 1 FROM batches ORDER BY number DESC"
            ):
                begin, left = number, left - size
                if left <= 0:
                    break
            yield from self._from(begin)

        yield from self._counted("batches", tail)

    def run_part(self, first: int, last: int) -> Iterator[AuditFinding]:
        """Prove the batches from number ``first`` to ``last`` and their rows."""
        yield from self._counted("batches", lambda: self._from(first, last))

    def _counted(
        self, table: str, check: Callable[[], Iterable[AuditFinding]]
    ) -> Iterator[AuditFinding]:
        """Count what is found; what SQLite cannot read is found too, and the rest is read."""
        try:
            for finding in check():
                self.errors += 1
                yield finding
        except (sqlite3.Error, TypeError, ValueError, OverflowError) as error:
            self.errors += 1
            yield AuditFinding(table, "", f"cannot be read: {error}")

    # --- batches --------------------------------------------------------------------------------

    def _from(self, first: int, until: int | None = None) -> Iterator[AuditFinding]:
        streams: _Streams = {}
        stored: dict[int, _Position] = {}
        for row in self._db.execute("SELECT id, gateway, stream, contiguous_to, head FROM streams"):
            identity, gateway, stream, to, head = row
            stored[identity] = _Position(to, head)
            streams[identity] = gateway, stream, self._position_before(identity, first)
        before = self._db.execute(
            "SELECT chain FROM batches WHERE number = ?", (first - 1,)
        ).fetchone()
        self._chain = before[0] if before else GENESIS
        expected = first
        numbers = self._db.execute(
            "SELECT number FROM batches WHERE number BETWEEN ? AND ? ORDER BY number",
            (first, until or _MAX_NUMBER),
        )
        for (number,) in numbers:
            if number != expected:
                message = f"batches {expected} to {number - 1} are missing"
                yield AuditFinding("batches", f"batch {number}", message)
                yield from self._lost(expected, number - 1, streams)
            expected = number + 1
            self.batches += 1
            yield from self._batch(number, streams)
            self._progress(number)
        if until is not None:
            if expected != until + 1:
                yield AuditFinding("batches", f"batch {expected}", "is missing")
            return
        if self._archive is not None and not self._is_start and self._archive.last >= expected:
            message = f"batches {expected} to {self._archive.last} are in the archive, and not here"
            yield AuditFinding("batches", f"batch {expected}", message)
            yield from self._lost(expected, self._archive.last, streams)
        for identity, (gateway, stream, position) in streams.items():
            if stored[identity] != position:
                message = f"expected to end at {_text(position)}, got {_text(stored[identity])}"
                yield AuditFinding("streams", f"stream {stream} of {gateway}", message)

    def _position_before(self, stream_id: int, first: int) -> _Position:
        row = self._db.execute(
            "SELECT last, head FROM batches WHERE stream_id = ? AND number < ?"
            " ORDER BY last DESC LIMIT 1",
            (stream_id, first),
        ).fetchone()
        return _Position(*row) if row else _Position(0, GENESIS)

    def _lost(self, first: int, last: int, streams: _Streams) -> Iterator[AuditFinding]:
        """Compare the rows of batches that the archive has and the database has not."""
        ids = {row[:2]: identity for identity, row in streams.items()}
        for number in range(first, last + 1):
            data = self._archive.batch(number) if self._archive is not None else None
            if data is None:
                continue
            self._chain = link(self._chain, data)
            try:
                batch = self._open(data)
            except FormatError:  # a statement of the collector, or of version 1
                continue
            header = batch.header
            stream_id = ids.get((header.gateway, header.stream), 0)
            if stream_id:
                position = streams[stream_id][2]
                end = _Position(header.last, header.head)
                streams[stream_id] = header.gateway, header.stream, end
                begin = max(position.to + 1, header.first)
                yield from self._contents(number, stream_id, batch, begin)

    def _batch(self, number: int, streams: _Streams) -> Iterator[AuditFinding]:
        (stream_id, first, last, head, *columns, here, data) = self._db.execute(
            "SELECT stream_id, first, last, head, boot_id, anchor_ms, anchor_unc_ms, anchor_clock,"
            " chain, data FROM batches WHERE number = ?",
            (number,),
        ).fetchone()
        where = f"batch {number}"
        if not isinstance(data, bytes):
            yield AuditFinding("batches", where, f"data: expected bytes, got {data!r}"[:MAX_TEXT])
            return
        is_thinned = not data and self._is_thinned(number)
        archived = None
        if self._archive is not None and (is_thinned or not self._is_start):
            archived = self._archive.batch(number)
        if archived is not None and archived != data and not is_thinned:
            yield AuditFinding("batches", where, "is not the one that was archived")
        data = data if archived is None else archived
        # Without its bytes, which the archive has lost then, a chain has nothing to be made of.
        chain = here if is_thinned and not data else link(self._chain, data)
        self._chain = here if isinstance(here, bytes) else GENESIS
        if chain != here:
            yield AuditFinding("batches", where, "the chain does not lead to it")
        if not self._is_start and self._ends.get(number, chain) != chain:
            yield AuditFinding("batches", where, "the archive's chain does not lead to it")
        if stream_id not in streams:
            yield AuditFinding("batches", where, f"expected a known stream, got id {stream_id}")
            return
        gateway, stream, position = streams[stream_id]
        where += f", records {first} to {last} of stream {stream} of {gateway}"
        if not data:
            self.unproved += self._unproved(stream_id, first, last)
            streams[stream_id] = gateway, stream, _Position(last, head)
            return
        missing = MissingRecords.unpack(data)
        if missing is not None:
            self.statements += 1
            columns = (number, stream_id, first, last, head, *columns, here, data)
            yield from self._missing(missing, columns, (gateway, stream, position))
            streams[stream_id] = gateway, stream, _Position(last, head)
            return
        self.kept += 1
        try:
            batch = self._open(data)
        except FormatError as error:
            yield AuditFinding("batches", where, str(error))
            streams[stream_id] = gateway, stream, _Position(last, head)
            return
        header = batch.header
        proven = (header.gateway, header.stream, header.first, header.last, header.head)
        if (gateway, stream, first, last, head) != proven:
            yield AuditFinding("batches", where, f"expected {proven[:4]} and its head")
        anchor = header.anchor
        offset = None if anchor.wall_ms is None else anchor.wall_ms - anchor.mono_ms
        expected = [anchor.boot_id, offset, anchor.unc_ms, CLOCK_NAMES[anchor.clock_state]]
        if columns != expected:
            message = f"anchor: expected {expected}, got {columns}"
            yield AuditFinding("batches", where, message[:MAX_TEXT])
        ours = fold(header.prev, batch.records[: max(0, position.to + 1 - header.first)])
        if not header.first <= position.to + 1 <= header.last or ours != position.head:
            yield AuditFinding("batches", where, f"does not go on from record {position.to}")
        streams[stream_id] = gateway, stream, _Position(header.last, header.head)
        yield from self._times.anchor(number, header)
        yield from self._contents(number, stream_id, batch, max(position.to + 1, header.first))

    def _open(self, data: bytes) -> Batch:
        if self._keys is not None:
            try:
                batch = open_batch(data, self._keys)
            except FormatError as error:
                if (error.code, error.field) != (UNKNOWN, "kid"):  # a key out of use: not a fault
                    raise
            else:
                self.signatures += 1
                return batch
        return open_batch(data, None)

    # --- the rows of a batch --------------------------------------------------------------------

    def _fetch(self, table: str, stream_id: int, first: int, last: int) -> list[Row]:
        sql = f"{_READ[table]} WHERE stream_id = ? AND seq BETWEEN ? AND ?"
        rows = audit_tables.fetch(self._db, sql, (stream_id, first, last))
        self._rows[table] += len(rows)
        return rows

    def _unproved(self, stream_id: int, first: int, last: int) -> int:
        """Take note of the rows of a batch that was not kept; return how many records it has."""
        first = 0 if first == 1 else first  # version 1 numbered a gap of its own with 0
        counts = {table: len(self._fetch(table, stream_id, first, last)) for table in _READ}
        return counts["records"]

    def _missing(
        self, missing: MissingRecords, found: Row, expected: tuple[str, int, _Position]
    ) -> Iterator[AuditFinding]:
        """Prove a statement that records are missing, and the gap that names them."""
        gateway, stream, position = expected
        number, stream_id = found[:2]
        assert isinstance(number, int)
        assert isinstance(stream_id, int)
        where = f"batch {number}, {missing}"
        if found != missing.batch_row(number, stream_id, found[-2]):
            yield AuditFinding("batches", where, f"got {found[1:9]}"[:MAX_TEXT])
        if (missing.gateway, missing.stream, missing.first) != (gateway, stream, position.to + 1):
            message = f"does not go on from record {position.to} of stream {stream} of {gateway}"
            yield AuditFinding("batches", where, message)
        self.missing += missing.last - missing.first + 1
        rows = {"records": missing.record_rows(stream_id), "gaps": missing.gap_rows(stream_id)}
        self.gaps += len(rows["gaps"])
        for table in _READ:
            stored = self._fetch(table, stream_id, missing.first, missing.last)
            yield from compare(table, f"stream {stream} of {gateway}", rows.get(table, []), stored)

    def _contents(
        self, number: int, stream_id: int, batch: Batch, first: int
    ) -> Iterator[AuditFinding]:
        header = batch.header
        found = {table: self._fetch(table, stream_id, first, header.last) for table in _READ}
        records = {row[1]: row for row in found["records"]}
        refused = {row[1]: row for row in found["refused"]}
        stream = f"stream {header.stream} of {header.gateway}"
        new = []
        for seq, data in enumerate(batch.records[first - header.first :], first):
            row = records.get(seq)
            if seq in refused:
                self.refused += 1
                new.append(NewRecord(seq, data, None, "", None, None, str(refused[seq][3])))
            elif row is not None:
                try:
                    new.append(self._record(seq, data, row[_AUTH]))
                except PeerError as error:
                    yield AuditFinding("records", f"record {seq} of {stream}", str(error))
            elif is_in_other_stream(self._db, header, data):
                self.repeated += 1
            else:
                yield AuditFinding("records", f"record {seq} of {stream}", "is missing")
        derived = rows_of(stream_id, header, new)
        dated = self._times.dated(number, header, derived.records)
        if dated != found["records"]:
            dated = [self._as_of_4(header, batch, row, records) for row in dated]
        packed, single = found.pop("packed_readings"), found.pop("single_readings")
        if not packed and not single and self._is_thinned(number):
            assert self._thinned is not None
            times = {(stream_id, row[1]): row[_TIME] for row in dated}
            self._thinned.add(derived.readings, times)  # type: ignore[arg-type] # rows of ours
            expected_readings: list[Row] = []
            found["readings"] = []
        else:
            expected_readings, found["readings"] = self._readings.compare(
                derived.readings, packed, single
            )
        expected: dict[str, list[Row]] = {
            "records": dated,
            "readings": expected_readings,
            "failures": derived.failures,
            "events": derived.events,
            "gaps": derived.gaps,
            "files": derived.files,
            "actions": derived.actions,
            "refused": derived.refused,
        }
        self.records += len(derived.records)
        self.readings += sum(len(record.numbers) for _, _, record in derived.readings)
        self.gaps += len(derived.gaps)
        for table, rows in expected.items():
            yield from compare(table, stream, rows, found[table])

    def _is_thinned(self, number: int) -> bool:
        return self._archive is not None and self._archive.is_removed(number)

    def _as_of_4(
        self, header: BatchHeader, batch: Batch, row: Row, stored: dict[object, Row]
    ) -> Row:
        """Return a row of ``records`` with the digest of version 4, if it is stored with that."""
        found = stored[row[1]][_DIGEST]
        if found == row[_DIGEST]:
            return row
        assert isinstance(row[1], int)
        data = batch.records[row[1] - header.first]
        plain = digest_of(header.gateway, header.anchor.boot_id, data)
        return (*row[:_DIGEST], plain, *row[_DIGEST + 1 :]) if found == plain else row

    def _record(self, seq: int, data: bytes, auth: object) -> NewRecord:
        """Prove one record as far as the keys allow. PeerError."""
        record = decode_record(data)
        if record.frame is None or record.kind not in (SAMPLE, EVENTS):
            return NewRecord(seq, data, record, "none", None, None, "")
        frame = read_frame_header(record.frame)
        if self._nodes is None or self._nodes(uid_of(record.device_id), frame.key_id) is None:
            self.untagged += 1
        else:
            check_proof(record, self._nodes)
            self.tags += 1
        shown = auth if auth in ("node", "gateway") else "node or gateway"
        return NewRecord(
            seq, data, record, str(shown), frame.boot_epoch, frame.seq, "", frame.key_id
        )


def _text(position: _Position) -> str:
    return f"record {position.to} with head {position.head!r}"[:MAX_TEXT]


def prove_tail(
    path: Path,
    gateways: Mapping[str, Mapping[bytes, Ed25519PublicKey]],
    nodes: Mapping[tuple[bytes, int], HmacSha256],
) -> None:
    """Prove the newest batches of a database. DamagedDatabase if they or their rows differ."""
    with damage_named(), closing(audit_tables.open_for_audit(path)) as connection:
        run = Audit(
            connection,
            lambda gateway, kid: gateways.get(gateway, {}).get(kid),
            lambda uid, number: nodes.get((uid, number)),
            archive=reader_beside(connection, path, None),
        )
        found = next(run.run_tail(), None)
    if found is not None:
        raise DamagedDatabase(
            f"what is stored is not what was received: {found}; `tianfu-gateway audit {path}"
            " --config FILE` lists all of it"
        )
