"""Breaks the product on purpose, in its own processes, to see that the oracle finds it.

The code of a break runs in the process before its command does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from .damage import restored_gateway
from .power import collector_power, gateway_power
from .processes import kill_gateway
from .trial import Faults


@dataclass(frozen=True)
class Break:
    """Drop one thing that the promise needs; ``faults`` are those of the row that must find it."""

    name: str
    what: str  # is dropped
    faults: Faults
    gateway: str = ""
    collector: str = ""
    forgets: bool = False


_NO_SYNC_OF_OUTBOX: Final = """
from gateway_agent.store import database
configure = database._configure
def unsynced(connection, path, max_bytes):
    configure(connection, path, max_bytes)
    connection.execute("PRAGMA synchronous = OFF")
database._configure = unsynced
"""
_NO_SYNC_OF_COLLECTOR: Final = """
from gateway_agent.collector.database import Database
opening = Database._open
def unsynced(self, path):
    opening(self, path)
    self._db.execute("PRAGMA synchronous = OFF")
Database._open = unsynced
"""
_NO_MARKS: Final = """
from gateway_agent.store.outbox import Outbox
append = Outbox.append
Outbox.append = lambda self, records, marks: append(self, records, {})
"""
_NO_CHAIN_AT_GATEWAY: Final = """
from gateway_agent.store import pruning
class Fits(bytes):
    def __ne__(self, other):
        return False
fold = pruning.fold
pruning.fold = lambda prev, records: Fits(fold(prev, records))
"""
_NO_CHAIN_AT_COLLECTOR: Final = """
from gateway_agent.collector.receiver import BatchReceiver
BatchReceiver._forks = lambda *_: False
"""
_NO_DEDUPLICATION: Final = """
from gateway_agent.collector.database import Database
Database.repeated = lambda *_: set()
"""

BREAKS: Final[Mapping[str, Break]] = {
    item.name: item
    for item in (
        Break(
            "outbox sync",
            "the fsync of a commit of the outbox",
            gateway_power,
            gateway=_NO_SYNC_OF_OUTBOX,
        ),
        Break(
            "collector sync",
            "the fsync of a commit of the collector",
            collector_power,
            collector=_NO_SYNC_OF_COLLECTOR,
        ),
        Break("marks", "the marks in a commit of the outbox", kill_gateway, gateway=_NO_MARKS),
        Break(
            "chain",
            "the comparison of heads, by the collector and with its receipts",
            restored_gateway,
            gateway=_NO_CHAIN_AT_GATEWAY,
            collector=_NO_CHAIN_AT_COLLECTOR,
            forgets=True,
        ),
        Break(
            "deduplication",
            "the search for records that came in another stream",
            restored_gateway,
            collector=_NO_DEDUPLICATION,
            forgets=True,
        ),
    )
}
