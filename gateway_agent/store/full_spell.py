"""Follow a spell without space on the medium, from the first refusal to its GAP record."""

import logging

from protocols.uplink import MAX_DETAIL_LENGTH, Gap, Record

from .errors import StoreFull
from .settings import StoreContext
from .state import own_gap

log = logging.getLogger(__name__)


class FullSpell:
    """A spell begins with a commit that finds no space and ends with the next one that succeeds."""

    def __init__(self, context: StoreContext) -> None:
        self.reason = ""  # why nothing can be committed now; empty: it can
        self._context = context
        self._since_ms: int | None = None

    def begin(self, error: StoreFull) -> None:
        """Note that a commit found no space; only the first of a spell counts."""
        if self._since_ms is None:
            self._since_ms = self._context.clock.boot_ms()
            self._context.counters.store_full += 1
            self.reason = str(error)
            log.error("outbox full: records wait in memory, then polling waits too: %s", error)

    def end(self) -> None:
        """Note that a commit succeeded; a spell's GAP record was in it."""
        if self._since_ms is not None:
            self._since_ms = None
            self.reason = ""
            self._context.counters.gaps["outbox_full"] += 1
            log.warning("outbox: there is space again")

    def gap_after(self, waited: int) -> list[Record]:
        """Make the GAP record that follows ``waited`` records; none if there is no spell."""
        if self._since_ms is None:
            return []
        clock = self._context.clock
        seconds = (clock.boot_ms() - self._since_ms) / 1000
        detail = (
            f"no space for {seconds:.1f} s; the {waited} records before this one waited, none was"
            f" lost; polls missed meanwhile are in gaps of their devices: {self.reason}"
        )
        gap = Gap("outbox_full", None, None, None, detail[:MAX_DETAIL_LENGTH])
        return [own_gap(self._context.settings.gateway, clock, gap)]
