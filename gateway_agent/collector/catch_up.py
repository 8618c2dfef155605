"""Bring a database that went back to where its archive is, from the archive.

A database that was restored from a backup ends before its archive does. The batches that follow are
in the archive, in the order in which they came; received once more they get the numbers and the
chain that they had. So no gateway has to name them as missing.
"""

import logging
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from protocols.uplink import link

from .archive_files import Segment
from .archive_read import ArchiveReader, reader_beside
from .database import Database, open_readonly
from .missing import MissingRecords
from .receiver import ACCEPTED, GAPS, BatchOutcome

log = logging.getLogger(__name__)


def catch_up(
    database: Database, receive: Callable[[bytes], BatchOutcome], key: Ed25519PublicKey
) -> int:
    """Receive what the archive has and the database has not; return how many batches that were.

    It ends where the archive does not go on from the database, which is logged.
    """
    connection = open_readonly(database.path)
    try:
        reader = reader_beside(connection, database.path, key)
    finally:
        connection.close()
    if reader is None:
        return 0
    if reader.problems:
        log.error("%s", reader.problems[0])
        return 0
    begin = database.evidence.last
    for segment in reader.segments:
        if segment.last > database.evidence.last and not _take(database, receive, reader, segment):
            break
    count = database.evidence.last - begin
    if count:
        log.warning("%s: batches %d to %d were taken from its archive, which it was behind",
                    database.path, begin + 1, begin + count)  # fmt: skip
    return count


def _take(
    database: Database,
    receive: Callable[[bytes], BatchOutcome],
    reader: ArchiveReader,
    segment: Segment,
) -> bool:
    """Receive the batches of one segment; False: it does not go on from the database."""
    chain = database.evidence.head
    batches: list[tuple[int, bytes]] = []
    for number in range(database.evidence.last + 1, segment.last + 1):
        data = reader.batch(number)
        if data is None:
            return False
        chain = link(chain, data)
        batches.append((number, data))
    if chain != segment.chain:
        log.error("%s: the archive has another history from batch %d on: nothing is taken from it",
                  database.path, batches[0][0])  # fmt: skip
        return False
    for number, data in batches:
        missing = MissingRecords.unpack(data)
        if missing is not None:
            database.miss(missing, {} if missing.is_named else {GAPS: 1})
        else:
            outcome = receive(data)
            if outcome.verdict != ACCEPTED:
                log.error("%s: batch %d of its archive: %s", database.path, number, outcome.detail)
                return False
        if database.evidence.last != number:
            log.error("%s: batch %d of its archive had another effect", database.path, number)
            return False
    return True
