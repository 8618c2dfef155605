"""Put a backup of an outbox in the place of what is there, as a new stream.

After the backup was made the gateway may have used more sequence numbers, for other records. So the
stream of the backup never goes on: its records are copied into a new stream, whose first record is
a gap that names the backup and what can be known to be missing. What a collector has already of
them, it recognises by their bytes.
"""

import logging
from pathlib import Path

from . import database, head_file
from .errors import StoreDamaged
from .first_page import remove
from .lock import Lock
from .outbox import Outbox, Stats
from .rebuild import Rebuild, finish
from .settings import StoreContext

log = logging.getLogger(__name__)

CAUSE = "db_truncated"


def restore(context: StoreContext, copy: Path, why: str) -> Stats:
    """Restore from ``copy``, a file in the state directory, which is removed.

    ``why`` goes into the gap. StoreBusy: the agent runs. StoreError: the copy cannot be read, or
    the medium refuses; the outbox is as before then. The old files go into ``quarantine``.
    """
    settings = context.settings
    with Lock(settings.directory) as lock:
        finish(settings.database_path)
        try:
            seen = head_file.read(settings.head_path)
        except StoreDamaged as error:
            log.warning("%s: which stream was used last is not known here", error)
            seen = None
        try:
            source = database.connect(copy, settings.max_bytes)
            made = Rebuild(context, CAUSE, why, damaged=True).run(source, seen)
            database.close(made)
        finally:
            remove(copy)
        outbox = Outbox.open(context, lock)
        try:
            return outbox.stats()
        finally:
            outbox.close()
