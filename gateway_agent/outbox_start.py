"""Opens the outbox when an agent starts, and waits while it has no room or is locked."""

import asyncio
import logging
from typing import Final

from protocols.uplink import CLOCK_HOLDOVER

from .cancellation import whatever_comes
from .clock import GatewayClock, SystemClock
from .config import GatewayConfig
from .counters import Counters
from .store.errors import StoreBusy, StoreFailed, StoreFull
from .store.lock import Lock
from .store.medium import fitting
from .store.outbox import Outbox
from .store.settings import HEAD_LAG_MS, StoreContext, StoreSettings
from .task_ends import within

log = logging.getLogger(__name__)

FULL_RETRY_S: Final = 2.0  # between two attempts


class OutboxStart:
    """The start of one agent's outbox. ``waiting_for``: why it is not open yet, for people."""

    def __init__(self, config: GatewayConfig, clock: GatewayClock, counters: Counters) -> None:
        self._config = config
        self._clock = clock
        self._counters = counters
        self.waiting_for = ""

    async def open(self, lock: Lock, stop: asyncio.Event) -> Outbox | None:
        """Open it; None if ``stop`` is set meanwhile. StoreFailed: the medium failed."""
        config = self._config
        directory = config.gateway.state_dir
        try:
            limit = fitting(directory, config.outbox.max_bytes)
        except OSError as error:
            raise StoreFailed(f"{directory}: {error}") from error
        settings = StoreSettings(directory, config.gateway.id, limit, HEAD_LAG_MS)
        context = StoreContext(settings, self._clock, self._counters)
        while not stop.is_set():
            opening = asyncio.ensure_future(asyncio.to_thread(Outbox.open, context, lock))
            try:
                return await whatever_comes(opening)
            except asyncio.CancelledError:
                if not opening.cancelled() and opening.exception() is None:
                    opening.result().close()
                raise
            except StoreFull as error:
                reason = str(error)
            except StoreBusy as error:
                # The directory is ours, so it is no other agent.
                file = settings.database_path
                reason = (
                    f"{file} is open in another program ({error}): close that, an sqlite3 shell or"
                    f" a backup for instance; `fuser {file}` names it"
                )
            if reason != self.waiting_for:
                self.waiting_for = reason
                log.error("the outbox cannot be opened, trying again: %s", reason)
            await within(FULL_RETRY_S, stop.wait())
        return None


def learn_time(clock: GatewayClock, store: Outbox) -> None:
    """Give the clock what an agent before this one knew in the same boot."""
    anchor = store.anchor_of(clock.boot_id)
    if isinstance(clock, SystemClock) and anchor is not None and anchor.wall_ms is not None:
        clock.learn(anchor.mono_ms, anchor.wall_ms, anchor.unc_ms, CLOCK_HOLDOVER)
