"""All parts of a store share its settings, its clock and its counters."""

from pathlib import Path
from typing import Final

from msgspec import Struct

from gateway_agent.clock import GatewayClock
from gateway_agent.counters import Counters

DEFAULT_MAX_BYTES: Final = 1 << 30
HEAD_LAG_MS: Final = 100  # an agent's head file is at most this much older than its last commit


class StoreSettings(Struct, frozen=True):
    """One outbox: its directory, the gateway it belongs to, and its limits.

    ``max_bytes`` limits the database file. ``head_lag_ms`` is how long the head file may stay
    behind a commit; 0 writes it with every commit.
    """

    directory: Path
    gateway: str
    max_bytes: int = DEFAULT_MAX_BYTES
    head_lag_ms: int = 0

    @property
    def database_path(self) -> Path:
        """Return the path of the SQLite file."""
        return self.directory / "outbox.db"

    @property
    def head_path(self) -> Path:
        """Return the path of the file that repeats where the chain ends."""
        return self.directory / "outbox.head"

    @property
    def reserve_path(self) -> Path:
        """Return the path of the file that holds room for a receipt on a full disk."""
        return self.directory / "outbox.reserve"


class StoreContext(Struct, frozen=True):
    """The settings of an outbox with the clock and the counters of its process."""

    settings: StoreSettings
    clock: GatewayClock
    counters: Counters
