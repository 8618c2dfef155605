"""Keep messages that were refused, for people to look at: a bounded number, each bounded."""

import hashlib
import logging
from pathlib import Path
from typing import Final

from gateway_agent.directories import make_directory
from protocols.uplink import MAX_BATCH_BYTES

log = logging.getLogger(__name__)

QUARANTINE_FILES: Final = 100
QUARANTINE_BYTES: Final = MAX_BATCH_BYTES + 1  # of each: enough to show that it was too long
_REASON_CHARACTERS: Final = 1000


class Quarantine:
    """A folder of ``<verdict>-<digest>.cose``, each beside a ``.txt`` with the reason."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def keep(self, data: bytes, verdict: str, reason: str) -> None:
        """Keep a message and why it was refused; the oldest ones are deleted."""
        try:
            make_directory(self._directory)
            kept = sorted(self._directory.glob("*.cose"), key=lambda file: file.stat().st_mtime_ns)
            for file in kept[: max(0, len(kept) - QUARANTINE_FILES + 1)]:
                file.with_suffix(".txt").unlink(missing_ok=True)
                file.unlink()
            file = self._directory / f"{verdict}-{hashlib.sha256(data).hexdigest()[:16]}.cose"
            # MQTT 3.1.1 lets a message of 256 MB through: what is longer than a batch is cut.
            _write(file, memoryview(data)[:QUARANTINE_BYTES])
            # The reason may repeat what a stranger wrote: no line, no control character of his.
            shown = reason[:_REASON_CHARACTERS].encode("unicode_escape")
            _write(file.with_suffix(".txt"), shown + b"\n")
        except OSError as error:  # the quarantine must never stop the collector
            log.warning("quarantine: %s", error)


def _write(file: Path, data: bytes | memoryview) -> None:
    file.touch(mode=0o600)  # before it holds readings, which are for nobody else
    file.write_bytes(data)
