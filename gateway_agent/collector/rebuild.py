"""Make the tables of a collector's database anew from the batches that it keeps.

Damaged rows are not the end: every batch that still proves itself by its gateway's signature is
received once more, by the code that received it first, into a new database. What no batch proves is
named there as missing, with a gap, and a stream goes on behind it. The old file is only read; the
new one is proved by an audit before it takes the old one's place.
"""

import logging
import shutil
import sqlite3
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gateway_agent.directories import make_directory
from gateway_agent.store import head_file
from gateway_agent.store.errors import StoreDamaged
from gateway_agent.store.rebuild import finish, make_ready
from protocols.identity import is_identifier
from protocols.uplink import BatchHeader, FormatError, open_batch
from protocols.wire.errors import UNKNOWN
from protocols.wire.hmac import HmacSha256

from .archive_read import ArchiveReader, reader_beside
from .audit import Audit
from .audit_tables import MAX_TEXT, AuditFinding, open_for_audit
from .batch_log import head_path, read_head
from .database import Database, lock_of, open_readonly
from .missing import MissingRecords
from .new_record import NewRecord
from .receiver import ACCEPTED, DERIVED, GAPS, BatchReceiver
from .rows import refused_row, seal

log = logging.getLogger(__name__)

MAX_LOST: Final = 1_000_000  # batches behind the last one that is there, as the head file has it
LABEL: Final = "rebuilt"  # of the old files in the folder quarantine


class UnknownGateway(ValueError):
    """Batches of a gateway of which no key is known here; the text has the remedy."""


class _Kept(NamedTuple):
    """A batch that proves itself: where it stands, and where it belongs."""

    number: int
    gateway: str
    stream: int
    first: int
    last: int


@dataclass
class RebuildKeys:
    """What the batches are proved with, as :class:`.receiver.BatchReceiver` takes it.

    ``named``: keys that are taken for any gateway's.
    """

    gateways: Mapping[str, Mapping[bytes, Ed25519PublicKey]]
    nodes: dict[tuple[bytes, int], HmacSha256]
    allowed: Mapping[str, Collection[str]] = field(default_factory=dict)
    named: Mapping[bytes, Ed25519PublicKey] = field(default_factory=dict)

    def lookup(self, gateway: str, kid: bytes) -> Ed25519PublicKey | None:
        """Return the public key of a gateway; None if it is not known."""
        return self.gateways.get(gateway, {}).get(kid) or self.named.get(kid)


class _Again(BatchReceiver):
    """Receive what was received before; what was refused then stays refused, for its reason."""

    def __init__(
        self, database: Database, keys: RebuildKeys, gateways: set[str], place: Path, files: Path
    ) -> None:
        nobody = Ed25519PrivateKey.generate()  # its receipts go nowhere
        known = {gateway: {**keys.named, **keys.gateways.get(gateway, {})} for gateway in gateways}
        super().__init__(
            database,
            nobody,
            known,
            keys.nodes,
            place / "quarantine",
            allowed=keys.allowed,
            files=files,
        )
        self.refused: dict[int, tuple[bytes, str]] = {}  # of the batch, by sequence number

    def check_record(self, batch: BatchHeader, seq: int, data: bytes) -> NewRecord:
        """See :meth:`BatchReceiver.check_record`."""
        checked = super().check_record(batch, seq, data)
        before = self.refused.get(seq)
        if before is None or before[0] != data:
            return checked
        auth = checked.auth if checked.decoded is None else ""
        return NewRecord(seq, data, None, auth, None, None, before[1])


class TableRebuild:
    """One rebuild of the database at ``source``; the figures hold when it is done.

    ``problems``: what of the old file proves nothing. ``missing``: what gaps name now that none did
    before. ``progress`` gets the done share of the work.
    """

    def __init__(
        self, source: Path, keys: RebuildKeys, progress: Callable[[float], None] = lambda _: None
    ) -> None:
        self._source = source
        self._keys = keys
        self._progress = progress
        self.problems: list[AuditFinding] = []
        self.missing: list[MissingRecords] = []
        self._missing_before: set[tuple[object, ...]] = set()
        self.batches = self.records = self.readings = 0
        self._archive: ArchiveReader | None = None

    def to(self, target: Path) -> None:
        """Write the new database to ``target``, which does not exist yet, and prove it.

        sqlite3.Error: the old one cannot be read at all. UnknownGateway. OSError, StoreError: the
        medium.
        """
        if target.exists():
            raise FileExistsError(f"{target} exists; name a file that does not")
        with closing(open_readonly(self._source)) as old:
            # A flipped bit in a text must not raise.
            old.execute("PRAGMA writable_schema = ON")  # or one table's damage hides all others
            old.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
            self._open_archive(old)
            kept = self._prove(old)
            new = Database(target)
            try:
                self._receive(old, new, kept, target.parent)
                self._name_ends(old, new)
                _take_counters(old, new)
                new.settle_log()
            finally:
                new.close()
        self._audit(target)

    def in_place(self) -> None:
        """Put the new database in the old one's place; the old files go into ``quarantine``.

        StoreBusy: a collector has it. An end of the process at any time leaves the old one, or the
        new one, whole; the next start or rebuild goes on from there.
        """
        place = self._source.with_name(f"{self._source.name}.rebuild")
        with lock_of(self._source):
            finish(self._source)
            shutil.rmtree(place, ignore_errors=True)  # of one that was interrupted
            make_directory(place)
            try:
                new = place / self._source.name
                self.to(new)
                with closing(open_readonly(new)) as connection:
                    head = read_head(connection)
                for beside in ("-wal", "-shm"):
                    new.with_name(new.name + beside).unlink(missing_ok=True)
                new.chmod(self._source.stat().st_mode & 0o777)
                make_ready(new, self._source)
                # Before the last step: every start does that one first, and compares the two then.
                head_file.write(head_path(self._source), head)
                finish(self._source, LABEL)
            finally:
                shutil.rmtree(place, ignore_errors=True)

    # --- the evidence ---------------------------------------------------------------------------

    def _open_archive(self, old: sqlite3.Connection) -> None:
        try:
            self._archive = reader_beside(old, self._source, None)  # each batch proves itself
        except sqlite3.Error as error:
            self.problems.append(AuditFinding("archive", "", f"cannot be found: {error}"))

    def _problem(self, number: int, message: str) -> None:
        self.problems.append(AuditFinding("batches", f"batch {number}", message[:MAX_TEXT]))

    def _prove(self, old: sqlite3.Connection) -> list[_Kept]:
        """Return the batches that prove themselves, in the order in which they came.

        Those of one stream are put in the order of their records.
        """
        found: list[_Kept] = []
        newest = self._newest(old)
        for number in range(1, newest + 1):
            self._progress(number / newest / 3)
            data = self._data(old, number)
            if data is None:
                continue
            missing = MissingRecords.unpack(data)
            if missing is not None:  # that shows again, behind it
                self._missing_before.add(missing[:4])
                continue
            try:
                header = open_batch(data, self._keys.lookup).header
            except FormatError as error:
                self._check_known(data, error)
                self._problem(number, str(error) if data else "was not kept by a former release")
                continue
            found.append(_Kept(number, header.gateway, header.stream, header.first, header.last))
        if not found:
            raise sqlite3.DatabaseError("no batch in it proves itself by a key that is named")
        in_order: dict[tuple[str, int], deque[_Kept]] = defaultdict(deque)
        for kept in sorted(found, key=lambda kept: (kept.first, kept.last)):
            in_order[kept.gateway, kept.stream].append(kept)
        return [in_order[kept.gateway, kept.stream].popleft() for kept in found]

    def _check_known(self, data: bytes, error: FormatError) -> None:
        """Raise UnknownGateway if a batch is not proved because no key of its gateway is named."""
        if (error.code, error.field) != (UNKNOWN, "kid"):
            return
        gateway = open_batch(data, None).header.gateway
        if not self._keys.named and gateway not in self._keys.gateways:
            raise UnknownGateway(
                f"it has batches of {gateway}, and no key of that gateway is named; name it with"
                " --key, or all that it has brought would be missing"
            )

    def _newest(self, old: sqlite3.Connection) -> int:
        """Return the number of the newest batch; the head file has it, too."""
        try:
            (newest,) = old.execute("SELECT max(number) FROM batches").fetchone()
        except sqlite3.Error as error:
            self.problems.append(AuditFinding("batches", "", f"cannot be read: {error}"))
            newest = None
        try:
            seen = head_file.read(head_path(self._source))
        except StoreDamaged:
            seen = None
        at_least = 0 if seen is None else min(seen.last, (newest or seen.last) + MAX_LOST)
        archived = 0 if self._archive is None else self._archive.last
        return max(newest or 0, at_least, archived)

    def _data(self, old: sqlite3.Connection, number: int) -> bytes | None:
        archived = self._archive.batch(number) if self._archive is not None else None
        if archived is not None:
            return archived
        try:
            row = old.execute("SELECT data FROM batches WHERE number = ?", (number,)).fetchone()
        except (sqlite3.Error, OverflowError) as error:
            self._problem(number, f"cannot be read: {error}")
            return None
        if row is None or not isinstance(row[0], bytes):
            self._problem(number, "is not there" if row is None else "has no bytes")
            return None
        data: bytes = row[0]
        return data

    def _receive(
        self, old: sqlite3.Connection, new: Database, batches: list[_Kept], place: Path
    ) -> None:
        files = self._source.parent / "files"
        receiver = _Again(new, self._keys, {kept.gateway for kept in batches}, place, files)
        for done, kept in enumerate(batches, 1):
            self._progress((1 + done / len(batches)) / 3)
            data = self._data(old, kept.number)
            position = new.position(kept.gateway, kept.stream)
            to = position.contiguous_to if position is not None else 0
            if data is None or kept.last <= to:
                continue
            if kept.first > to + 1:
                prev = open_batch(data, None).header.prev
                lost = MissingRecords(kept.gateway, kept.stream, to + 1, kept.first - 1, prev)
                new.miss(lost, {GAPS: 1})
            receiver.refused = _refused(old, kept)
            outcome = receiver.receive(data, kept.gateway)
            if outcome.verdict == ACCEPTED:
                self.batches += 1
            else:
                self._problem(kept.number, f"{outcome.verdict}: {outcome.detail}")

    def _name_ends(self, old: sqlite3.Connection, new: Database) -> None:
        """Name what is missing at the ends of streams, as far as two tables agree on it.

        A gateway that still runs names the rest: it finds where its stream ends here.
        """
        try:
            ends = old.execute(
                "SELECT gateway, stream, contiguous_to, streams.head FROM streams JOIN batches"
                " ON stream_id = id AND last = contiguous_to AND batches.head = streams.head"
                " WHERE typeof(gateway) = 'text' AND length(streams.head) = 32"
            ).fetchall()
        except (sqlite3.Error, OverflowError) as error:
            self.problems.append(AuditFinding("streams", "", f"cannot be read: {error}"))
            return
        for gateway, stream, end, head in ends:
            if not is_identifier(gateway) or not isinstance(stream, int):
                continue
            position = new.position(gateway, stream)
            to = position.contiguous_to if position is not None else 0
            if to < end:
                new.miss(MissingRecords(gateway, stream, to + 1, end, head), {GAPS: 1})

    # --- proof ----------------------------------------------------------------------------------

    def _audit(self, target: Path) -> None:
        """Prove the new file; sqlite3.DatabaseError if it is not what the batches have."""
        with closing(open_for_audit(target)) as connection:
            for (data,) in connection.execute(
                "SELECT data FROM batches WHERE typeof(data) = 'blob'"
            ):
                missing = MissingRecords.unpack(data)
                if missing is not None and missing[:4] not in self._missing_before:
                    self.missing.append(missing)
            nodes = self._keys.nodes
            newest = max(1, read_head(connection).last)
            run = Audit(
                connection,
                self._keys.lookup,
                lambda uid, number: nodes.get((uid, number)),
                lambda number: self._progress((2 + number / newest) / 3),
            )
            wrong = next(run.run(), None)
        if wrong is not None:
            raise sqlite3.DatabaseError(f"{target}: the new database is not good: {wrong}")
        self.records, self.readings = run.records, run.readings


def _refused(old: sqlite3.Connection, kept: _Kept) -> dict[int, tuple[bytes, str]]:
    """Return the records of a batch that were refused, with their reasons, where the seal fits."""
    try:
        rows = old.execute(
            "SELECT refused.* FROM refused JOIN streams ON id = stream_id"
            " WHERE gateway = ? AND stream = ? AND seq BETWEEN ? AND ?",
            kept[1:],
        ).fetchall()
    except (sqlite3.Error, OverflowError):
        return {}
    return {row[1]: row[2:4] for row in rows if row == refused_row(*row[:4])}


def _take_counters(old: sqlite3.Connection, new: Database) -> None:
    """Take over the counters that no batch can give, where the seal fits."""
    try:
        rows = old.execute("SELECT name, value, seal FROM counters").fetchall()
    except (sqlite3.Error, OverflowError) as error:
        log.warning("the counters cannot be read: %s", error)
        return
    for name, value, sealed in rows:
        if name not in DERIVED and sealed == seal(name, value):
            new.count(name, value - new.counters().get(name, 0))
