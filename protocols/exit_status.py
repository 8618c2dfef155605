"""The exit statuses of every command, one meaning each: scripts and supervisors act on them.

They are documented in ``docs/exit-status.md``, which a test compares with :data:`MEANINGS`.
"""

from collections.abc import Mapping
from typing import Final

GOOD: Final = 0
FAULT: Final = 1
UNUSABLE: Final = 2
STORE_FAILED: Final = 74  # sysexits.h: EX_IOERR

MEANINGS: Final[Mapping[int, str]] = {
    GOOD: "done, and nothing is wrong",
    FAULT: "it failed, or found a fault: an alarm, a bad batch, a failed test, no answer",
    UNUSABLE: "wrong command line, or a configuration or key file that cannot be used",
    STORE_FAILED: "the gateway's medium failed: start it again, it recovers by itself",
}
