"""Run the exporters beside the collector's uplink, each in a task that holds up no other."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NoReturn, Protocol, runtime_checkable

import aiomqtt

from gateway_agent.cancellation import raise_if_cancelled, until_first_ends, whatever_comes
from gateway_agent.journal import about
from gateway_agent.progress import Delivery
from gateway_agent.status import ExporterStatus, LossStatus
from gateway_agent.store.errors import StoreFailed, StoreFull
from gateway_agent.store.writer import OutboxWriter
from protocols.text_of_others import printable

from .backoff import AWAY, REFUSED, Backoff
from .exporter_config import ExporterConfig
from .feed import ExportContext, Feed
from .kinds import exporter_of
from .shared_reads import SharedReads
from .trace_log import TraceLog

log = logging.getLogger(__name__)

_FULL_RETRY_S: Final = 2.0


class Exporter(Protocol):
    """Sends what its feed gives it, in one session with its platform."""

    async def run(self, feed: Feed) -> None:
        """Work until the session with the platform ends with OSError, ValueError or MqttError."""


@runtime_checkable
class HoldsFiles(Protocol):
    """What an exporter is that has files open between two sessions."""

    def close(self) -> None:
        """Close them."""


def make_exporter(config: ExporterConfig, context: ExportContext) -> Exporter:
    """Make the exporter of a table."""
    made: Exporter = exporter_of(config)(config, context)  # type: ignore[operator] # by its name
    return made


class ExportTask:
    """One exporter; run :meth:`run` in a task, it ends by being cancelled or with StoreFailed."""

    def __init__(self, exporter: Exporter, feed: Feed, backoff: Backoff) -> None:
        self.feed = feed
        self._exporter = exporter
        self._backoff = backoff

    async def run(self) -> NoReturn:
        """Run the exporter's sessions, one after the other."""
        try:
            await self._sessions()
        finally:
            if isinstance(self._exporter, HoldsFiles):
                self._exporter.close()

    async def _sessions(self) -> NoReturn:
        status, is_failing = self.feed.status, False
        while True:
            delivered = self.feed.delivered_to
            self.feed.rewind()
            pause = AWAY
            try:
                await self._exporter.run(self.feed)
                text = "the session has ended"
            except StoreFailed:
                raise
            except (aiomqtt.MqttError, OSError, StoreFull) as error:
                text = str(error) or type(error).__name__
            except Exception as error:  # a bug of one exporter must not stop the others
                text, pause = f"{type(error).__name__}: {error}", REFUSED
                if not isinstance(error, ValueError):
                    log.exception("uplink %s", status.name)
            raise_if_cancelled()
            status.connected, status.problem = False, printable(text)
            if self.feed.delivered_to > delivered:
                self._backoff.reset()
                is_failing = False
            if not is_failing:
                log.warning(
                    *("uplink %s (%s): %s", status.name, status.where, status.problem),
                    extra=about(uplink=status.name),
                )
            is_failing = True
            await until_first_ends(self._backoff.wait(pause), self._keep_place())

    async def _keep_place(self) -> NoReturn:
        """Give up what must go while there is no session."""
        while True:
            raise_if_cancelled()
            try:
                await self.feed.expire()
            except StoreFull as error:
                log.debug("uplink %s: %s", self.feed.status.name, error)
            await asyncio.sleep(1)


class Exporters:
    """All exporters of a gateway."""

    def __init__(
        self,
        configs: Sequence[ExporterConfig],
        context: ExportContext,
        max_bytes: int,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Prepare only. ``max_bytes``: of the outbox."""
        self._configs = configs
        self._context = context
        self._max_bytes = max_bytes
        self._sleep = sleep
        self._traces: TraceLog | None = None
        self._outbox: OutboxWriter | None = None
        self._reads: SharedReads | None = None
        self._group: asyncio.TaskGroup | None = None  # while it runs
        self._running: dict[str, asyncio.Task[None]] = {}  # by name
        self._beginning: asyncio.Task[None] | None = None
        self._left: list[ExporterConfig] = []  # that have ended, and may come back to their place
        self.tasks: list[ExportTask] = []

    async def run(self, outbox: OutboxWriter) -> None:
        """Export until cancelled."""
        self._outbox = outbox
        await self._attach()
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                await self._begin()
                await asyncio.Event().wait()  # a change may bring others
        finally:
            self._group = None
            if self._traces is not None:
                self._traces.close()

    async def change(self, configs: Sequence[ExporterConfig], context: ExportContext) -> None:
        """Export with these from now on; what is the same goes on if its devices are.

        Places in the outbox are kept, also of what ends, until :meth:`settle`.
        """
        if self._beginning is not None:
            await self._end(self._beginning)
        is_same = context.devices == self._context.devices
        going = [task for task in self.tasks if is_same and task.feed.config in configs]
        for task in [task for task in self.tasks if task not in going]:
            self.tasks.remove(task)
            await self._end(self._running.pop(task.feed.config.label))
            task.feed.close()
            self._left.append(task.feed.config)
        self._configs, self._context = configs, context
        if self._group is not None:
            self._beginning = self._group.create_task(self._go_on(), name="exporters begin")

    async def settle(self) -> None:
        """Give up the places of exporters that a change has ended."""
        names = {config.label for config in self._configs}
        gone = [config for config in self._left if config.label not in names]
        self._left = []
        if gone and self._group is not None:
            self._beginning = self._group.create_task(self._go_on(), name="exporters settle")

    async def _go_on(self) -> None:
        await self._attach()
        await self._begin()

    async def _begin(self) -> None:
        """Begin those that do not run yet."""
        outbox, group = self._outbox, self._group
        assert outbox is not None, "it runs"
        assert group is not None, "it runs"
        if self._configs and self._traces is None:
            await whatever_comes(self._open_traces())
        now = asyncio.get_running_loop().time
        if self._reads is None:
            self._reads = SharedReads(outbox, now)
        for config in self._configs:
            if self._traces is None or config.label in self._running:
                continue
            keep_bytes = self._max_bytes // 2
            feed = Feed(config, self._context, outbox, self._traces, now, keep_bytes, self._reads)
            task = ExportTask(make_exporter(config, self._context), feed, Backoff(self._sleep))
            self.tasks.append(task)
            self._running[config.label] = group.create_task(
                task.run(), name=f"uplink {config.label}"
            )

    async def _open_traces(self) -> None:
        self._traces = await asyncio.to_thread(TraceLog, self._context.state_dir)

    @staticmethod
    async def _end(task: "asyncio.Task[None]") -> None:
        task.cancel()
        await asyncio.wait({task})

    async def _attach(self) -> None:
        outbox = self._outbox
        assert outbox is not None, "it runs"
        while True:
            raise_if_cancelled()
            configs = {config.label: config for config in (*self._left, *self._configs)}
            required = [name for name, config in configs.items() if config.required]
            try:
                await outbox.attach(list(configs), required)
            except StoreFull as error:
                log.warning("the places of uplinks cannot be stored, trying again: %s", error)
                await asyncio.sleep(_FULL_RETRY_S)
            else:
                return

    async def drain(self) -> None:
        """Return when everything committed is with the platforms that are connected."""
        for task in self.tasks:
            task.feed.is_draining = True
        while any(not task.feed.is_settled for task in self.tasks if task.feed.status.connected):
            for task in self.tasks:
                task.feed.wake()
            await asyncio.sleep(0.05)

    def deliveries(self) -> list[Delivery]:
        """Return how far each exporter is, for the watch over progress."""
        return [
            Delivery(
                *(task.feed.status.name, task.feed.status.connected, task.feed.status.problem),
                *(task.feed.delivered_to, task.feed.behind, task.feed.latency_ms),
                is_required=task.feed.status.required,
            )
            for task in self.tasks
        ]

    def status(self, outbox: OutboxWriter) -> list[ExporterStatus]:
        """Return what the operator sees of each exporter."""
        found = []
        for task in self.tasks:
            status = task.feed.status
            cursor = outbox.cursors[status.name]
            status.delivered_to, status.behind = cursor.to, task.feed.behind
            status.lost = cursor.lost
            status.losses = [LossStatus(*loss) for loss in cursor.losses]
            found.append(status)
        return found
