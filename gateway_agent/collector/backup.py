"""Back up a collector's database while it runs, and put a backup in its place."""

import sqlite3
from contextlib import closing
from pathlib import Path

from gateway_agent import backup_files
from gateway_agent.backup_files import BackupError, BackupManifest, copy_durably
from gateway_agent.store.rebuild import finish, install

from .audit_tables import open_for_audit
from .batch_log import read_head
from .config import CollectorConfig
from .database import lock_of, open_readonly

LABEL = "restored"  # of the old files in the folder quarantine


def back_up(database: Path, target: Path) -> BackupManifest:
    """Make a backup of the database as it is at one moment. BackupError."""

    def write(path: Path) -> tuple[str, int, int]:
        try:
            path.touch(mode=0o600)
            with closing(open_readonly(database)) as source, closing(sqlite3.connect(path)) as copy:
                source.backup(copy)  # one step: a reader's view, which no writer disturbs
                copy.execute("PRAGMA journal_mode = DELETE")
                head = read_head(copy)
        except sqlite3.Error as error:
            raise BackupError(f"{database}: no backup was made: {error}") from error
        return f"{head.stream:016x}", 0, head.last

    return backup_files.make(target, "collector", write)


def put_back(config: CollectorConfig, folder: Path) -> BackupManifest:
    """Put a backup in the place of the database. BackupError; StoreBusy: the collector runs.

    The old files go into ``quarantine``. What the archive beside it has more, the next start takes
    from there.
    """
    manifest, file = backup_files.read(folder, "collector")
    path = config.collector.database
    with lock_of(path):
        finish(path)
        copy = path.with_name(f"{path.name}.restore")
        try:
            copy_durably(file, copy)
            with closing(open_for_audit(copy)) as opened:
                head = read_head(opened)
            if (f"{head.stream:016x}", head.last) != (manifest.name, manifest.last):
                raise BackupError(f"{file}: expected batch {manifest.last} as its last, got {head}")
            install(copy, path, LABEL)
        except (OSError, sqlite3.Error) as error:
            raise BackupError(f"{path}: {error}: nothing was changed") from error
        finally:
            copy.unlink(missing_ok=True)
    return manifest
