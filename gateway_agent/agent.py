"""The gateway agent: pollers, outbox, uplink and status in one task group.

``GatewayAgent(config, clock, counters)`` opens nothing but key files; :meth:`GatewayAgent.run`
works until :meth:`GatewayAgent.request_stop`, and ends by itself only with StoreFailed: then the
process must exit (EXIT_STORE_FAILED) and a new one recovers from what is on the medium.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterator
from copy import deepcopy
from typing import Final

from protocols.modbus_client.listener import HeardFrame
from protocols.modbus_client.turn import TurnAnswer, TurnQuestion
from protocols.uplink import Action

from .agent_status import deliveries, oldest_ms, outbox_status, reconciliation, uplink_status
from .alarms.desk import AlarmDesk
from .alarms.socket import AlarmOrder, serve_alarms
from .alarms.watch import AlarmError
from .bus_socket import serve_turns
from .cancellation import is_cancelled, whatever_comes
from .clock import GatewayClock, SystemClock
from .commands.configure import configured
from .commands.counters import OrderCounters
from .commands.desk import CommandDesk
from .commands.orders import OrderDesk
from .commands.socket import serve_commands
from .config import GatewayConfig
from .counters import Counters
from .field.field import Field
from .field.link.file_fetch import FetchedFile, FetchError
from .file_socket import Progress, serve_files
from .frames_socket import serve_frames
from .keys import load_private
from .notify.notifiers import Notifiers
from .optional_parts import OptionalPart, console_of, metrics_of
from .outbox_answers import OutboxAnswers
from .outbox_socket import serve_outbox
from .outbox_start import OutboxStart, learn_time
from .progress import Flow, ProgressWatch, StoreFlow
from .reload.in_force import ConfigSource
from .reload.parts import ReloadableParts
from .reload.prepared import PreparedConfig, keys_of
from .reload.reloader import Reloader
from .reload.socket import serve_reloads
from .status import (
    BusStatus,
    DeviceStatus,
    Status,
    in_pieces,
)
from .status_socket import serve_status
from .store.errors import StoreFailed, StoreFull
from .store.lock import Lock
from .store.outbox import Outbox
from .store.writer import OutboxWriter
from .task_ends import ended, first_error, within
from .update.image import UpdateError
from .update.order_socket import UpdateOrder, serve_orders
from .update.rollout import Rollout
from .uplink.export_context import context_of
from .uplink.export_task import Exporters
from .uplink.feed import ExportContext
from .uplink.mqtt import Uplink, UplinkKeys

log = logging.getLogger(__name__)

# A clean stop takes at most the sum: 8.5 s, plus the commit under way.
UNACCOUNTED: Final = (
    "%d readings are unaccounted for, which is a fault of the gateway: please send its makers the"
    " archive of `tianfu-gateway report` (%s)"
)
LAST_POLL_S: Final = 3.0  # to commit what the pollers hold
DRAIN_S: Final = 3.0  # to deliver what is not delivered yet
HANG_UP_S: Final = 2.5  # to close the connection to the broker
ANSWER_S: Final = 1.0  # for an answer of the console before it begins anew
_BUSES: Final = 32  # of the status


class GatewayAgent:
    """Runs one gateway. Call ``run`` once."""

    def __init__(
        self,
        config: GatewayConfig,
        clock: GatewayClock,
        counters: Counters,
        source: ConfigSource | None = None,
    ) -> None:
        """KeyFileError if a signing key cannot be used, or everybody may read a secret.

        ``source``: the text of ``config``; without it the agent cannot be reloaded.
        """
        self._config = config
        self._source = source
        self._clock = clock
        self._counters = counters
        self._key = load_private(config.gateway.key)
        self._keys = keys_of(config)
        self.commands = CommandDesk(config.gateway.id, clock, counters)
        self._exporters = Exporters(
            config.exporters, self._context_of(config), config.outbox.max_bytes
        )
        self.orders = OrderDesk(
            config.gateway.id,
            self._keys.operators,
            self._key,
            OrderCounters(config.gateway.state_dir, clock),
            clock,
            counters,
            self.commands.run,
            self._note,
            lambda text, by: configured(self.reloader, text, by),
        )
        self._stop = asyncio.Event()
        self._started_ms = clock.boot_ms()
        self._outbox: OutboxWriter | None = None
        self._field: Field | None = None
        self._uplink: Uplink | None = None
        self._rollout: Rollout | None = None
        self._alarms: AlarmDesk | None = None
        self._notifiers: Notifiers | None = None
        self._carrier = OutboxAnswers(config, lambda: (self._outbox, self._uplink))
        self._start = OutboxStart(config, clock, counters)
        self.progress = ProgressWatch(clock, self._flow)
        self.reloader: Reloader | None = None  # None: not yet, or there is no ``source``
        self._console = OptionalPart("console", lambda config: console_of(config, self))
        self._push = OptionalPart("push of metrics", lambda config: metrics_of(config, self, clock))
        self._group: asyncio.TaskGroup | None = None  # of everything, while it runs
        self._sending: asyncio.Task[None] | None = None  # to the collector
        self.running = asyncio.Event()  # set when everything has been started

    @property
    def config(self) -> GatewayConfig:
        """Return the configuration in force."""
        return self._config

    @property
    def web_port(self) -> int:
        """Return the port of the console; 0: there is none."""
        return self._console.value or 0

    @property
    def alarms(self) -> list[str]:
        """Return what an operator must learn of, since the start of the process."""
        return [] if self._uplink is None else self._uplink.alarms

    def request_stop(self) -> None:
        """Stop cleanly, within 10 s. Call it in the loop's own thread, as a signal handler does."""
        self._stop.set()

    @property
    def is_started(self) -> bool:
        """Return whether everything works that can: the outbox may still wait for room."""
        return self.running.is_set() or bool(self._start.waiting_for)

    def secure(self, seconds: float) -> None:
        """Wait, in any thread, until what the outbox was given is durable. It takes no more."""
        if self._outbox is not None:
            self._outbox.secure(seconds)

    async def run(self) -> None:
        """Work until stopped.

        ConfigError: a node key or a profile cannot be used. StoreBusy: another agent has the state
        directory. StoreFailed: the medium failed.
        """
        directory, site = self._config.gateway.state_dir, self._config.gateway.site_group
        # The status is served before the outbox is open, to show what that waits for.
        with Lock(directory) as lock:
            async with (
                serve_status(directory, self.snapshot_text),
                serve_files(directory, self._fetch, self.commands.fetched),
                serve_orders(directory, self._order),
                serve_alarms(directory, site, self.obey_alarm_order),
                serve_commands(directory, site, self.commands.run),
                serve_outbox(directory, self._carrier.answer),
                serve_turns(directory, site, self._turn),
                serve_reloads(directory, lambda: self.reloader),
                serve_frames(directory, site, self.watch_frames),
            ):
                with self.progress.watching():
                    async with (
                        self._push.running(self._config),
                        self._console.running(self._config),
                    ):
                        store = await self._start.open(lock, self._stop)
                        if store is not None:
                            await self._run(store)

    def _note(
        self, device_id: str, action: Action, committed: Callable[[], None] | None = None
    ) -> None:
        """Record what a platform commanded; exporters run only while there is a field."""
        if self._field is not None:
            self._field.note(device_id, action, committed)

    async def _run(self, store: Outbox) -> None:
        config = self._config
        outbox = OutboxWriter(store)
        outbox.start()
        failure: StoreFailed | None = None
        try:
            learn_time(self._clock, store)
            self._field = Field(config, self._clock, outbox, store.marks(), self._counters)
            self.commands.open(self._field)
            self._outbox = outbox
            self._rollout = Rollout(config, self._clock, self._field.note)
            self._field.use_spare_time(self._rollout.drivers)
            self._rollout.resume()
            self._alarms = AlarmDesk(
                config, self._clock, self._field, lambda: outbox.stats, self._hurry
            )
            self._notifiers = Notifiers(
                *(config, self._clock, self._alarms, self._field.note),
                lambda: self.progress.is_ready,
            )
            self._uplink = self._make_uplink(outbox)
            if self._source is not None:
                parts = self._parts(self._field, self._rollout, self._alarms, self._notifiers)
                self.reloader = Reloader(self._source, parts, self._clock)
            await self._work(outbox, self._field, self._alarms, self._notifiers)
        except* StoreFailed as failures:
            failure = first_error(
                failures
            )  # raised below: raised here, it would be in a group again
        finally:
            await outbox.close()
        if failure is not None:
            raise failure

    async def _work(
        self,
        outbox: OutboxWriter,
        field: Field,
        alarms: AlarmDesk,
        notifiers: Notifiers,
    ) -> None:
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(outbox.watch(), name="outbox")
            self._group = group
            self._begin_uplink()
            exporting = group.create_task(self._exporters.run(outbox), name="exporters")
            polling = group.create_task(self._poll(field), name="field")
            alarming = group.create_task(alarms.run(), name="alarms")
            noticing = group.create_task(notifiers.run(), name="notify")
            ordering = group.create_task(self.orders.run(), name="orders")
            reloading = group.create_task(self._reload(), name="reload")
            self.running.set()
            try:
                await self._stop.wait()
                log.info("stopping")
                self._check_books()
                reloading.cancel()
                await within(HANG_UP_S, ended(reloading))
                alarming.cancel()
                noticing.cancel()
                ordering.cancel()
                polling.cancel()
                await within(LAST_POLL_S, ended(polling))
                uplink, sending = self._uplink, self._sending
                assert uplink is not None, "it was begun above"
                assert sending is not None, "it was begun above"
                draining = within(DRAIN_S if uplink.connected else 0, uplink.drain())
                exported = within(DRAIN_S, self._exporters.drain())
                if not (await asyncio.gather(draining, exported))[0]:
                    depth = outbox.stats.depth
                    log.info("%d records stay in the outbox for the next start", depth)
                watch.cancel()
                sending.cancel()
                exporting.cancel()
                await within(HANG_UP_S, ended(sending, exporting))
            except asyncio.CancelledError:  # from outside, or a task of the group has failed
                for task in (reloading, watch, exporting, alarming, noticing, ordering, polling):
                    task.cancel()
                if self._sending is not None:
                    self._sending.cancel()
                await whatever_comes(within(LAST_POLL_S, ended(polling)))
                raise
            finally:
                # Records that still wait for space are given up: their callers get an error.
                await outbox.close()

    async def _poll(self, field: Field) -> None:
        try:
            await field.run()
        except StoreFull as error:
            if not is_cancelled():
                raise
            log.warning("the newest records are lost, the outbox has no room: %s", error)

    def _check_books(self) -> None:
        """Log what cannot be accounted for: the gateway is wrong, and nobody else will notice."""
        books = reconciliation(self._field, self._outbox, self._counters)
        if books is not None and books.unaccounted:
            log.error(UNACCOUNTED, books.unaccounted, books)

    # --- a change of the configuration -----------------------------------------------------------

    async def _reload(self) -> None:
        if self.reloader is not None:
            await self.reloader.run()

    def _parts(
        self, field: Field, rollout: Rollout, alarms: AlarmDesk, notifiers: Notifiers
    ) -> ReloadableParts:
        assert self._source is not None
        self._current = PreparedConfig(self._source, [], self._keys)
        return ReloadableParts(
            *(field, rollout, alarms, self._exporters, self.orders, notifiers, self._push),
            *(lambda: self._current, self._took, self._context_of),
            *(self._replace_uplink, self._replace_console, self._flow),
        )

    def _took(self, new: PreparedConfig) -> None:
        self._current = new
        self._config, self._keys = new.config, new.keys

    def _context_of(self, config: GatewayConfig) -> ExportContext:
        return context_of(config, self._clock, self._key, self._note, self.commands.run)

    def _make_uplink(self, outbox: OutboxWriter) -> Uplink:
        config = self._config
        return Uplink(
            config.uplink,
            config.gateway.id,
            UplinkKeys(self._key, self._keys.collector),
            outbox,
            self._counters,
            wall=self._clock if isinstance(self._clock, SystemClock) else None,
            announcer=None if self._notifiers is None else self._notifiers.announcer,
            orders=self.orders,
        )

    def _begin_uplink(self) -> None:
        assert self._uplink is not None
        assert self._group is not None
        self._sending = self._group.create_task(self._uplink.run(), name="uplink")

    async def _replace_uplink(self) -> None:
        """Connect to the collector as the configuration has it now."""
        assert self._outbox is not None
        assert self._sending is not None
        self._sending.cancel()
        await within(HANG_UP_S, ended(self._sending))
        self._uplink = self._make_uplink(self._outbox)
        self._begin_uplink()

    def _replace_console(self) -> None:
        """Begin the console anew, when whoever asked for that through it has had the answer."""
        assert self._group is not None

        async def replace() -> None:
            await asyncio.sleep(ANSWER_S)
            await self._console.change(self._config)

        self._group.create_task(replace(), name="console anew")

    def _hurry(self) -> None:
        if self._uplink is not None:
            self._uplink.hurry()

    async def _fetch(self, node: str, file: int, progress: Progress) -> FetchedFile:
        if self._field is None:
            raise FetchError("the agent does not poll yet: `tianfu-gateway status` shows why")
        return await self._field.fetch(node, file, progress)

    def obey_alarm_order(self, order: AlarmOrder) -> int:
        """Acknowledge or shelve alarms; return how many changed. AlarmError: why none can."""
        if self._alarms is None:
            raise AlarmError("the agent does not poll yet: `tianfu-gateway status` shows why")
        return self._alarms.obey(order)

    async def _turn(self, question: TurnQuestion, who: str) -> TurnAnswer:
        if self._field is None:
            return TurnAnswer(
                error="the agent does not poll yet: `tianfu-gateway status` shows why"
            )
        return await self.commands.turn(self._field.turn, question, who)

    def _order(self, order: UpdateOrder, image: bytes) -> int:
        if self._rollout is None:
            raise UpdateError("the agent does not poll yet: `tianfu-gateway status` shows why")
        return self._rollout.order(order, image)

    def snapshot(self) -> Status:
        """Return everything that ``status`` shows, as it is now."""
        now_ms = self._clock.boot_ms()
        return self._status([] if self._field is None else self._field.status(now_ms), now_ms)

    def snapshot_text(self) -> Iterator[str]:
        """Yield the JSON of ``status`` in pieces, so that the loop can turn between them.

        A site of few points is in one piece.
        """
        return in_pieces(*self.snapshot_parts())

    def snapshot_parts(self) -> tuple[Status, Iterator[DeviceStatus]]:
        """Return the status as it is now, and each of its devices as it is when its turn comes."""
        clock, field = self._clock, self._field
        devices = iter(()) if field is None else field.statuses(clock.boot_ms)
        return self._status([], clock.boot_ms()), devices

    async def longest_wait_ms(self) -> int | None:
        """Return the age of the oldest record that waits for a receipt; None: it is not known."""
        return None if self._outbox is None else await oldest_ms(self._outbox, self._clock)

    def buses(self) -> list[BusStatus]:
        """Return every polled bus, with its devices."""
        return [] if self._field is None else self._field.bus_statuses(self._clock.boot_ms())

    def watch_frames(self, bus: str) -> AsyncGenerator[HeardFrame | int, None]:
        """Yield what passes on a bus, as :meth:`.Field.watch_frames`."""
        if self._field is None:
            raise LookupError("the agent does not poll yet: `tianfu-gateway status` shows why")
        return self._field.watch_frames(bus)

    def _status(self, nodes: list[DeviceStatus], now_ms: int) -> Status:
        return Status(
            gateway=self._config.gateway.id,
            running_ms=now_ms - self._started_ms,
            nodes=nodes,
            counters=deepcopy(self._counters),
            reconciliation=reconciliation(self._field, self._outbox, self._counters),
            outbox=None if self._outbox is None else outbox_status(self._outbox),
            uplink=uplink_status(self._uplink, self._config.uplink),
            uplinks=[] if self._outbox is None else self._exporters.status(self._outbox),
            alarms=self.alarms,
            notify=[] if self._notifiers is None else self._notifiers.status(),
            alarm_summary=[] if self._alarms is None else self._alarms.summary(),
            buses=[] if self._field is None else self._field.bus_statuses(now_ms, _BUSES),
            configuration=None if self.reloader is None else self.reloader.state(),
            update=None if self._rollout is None else self._rollout.status(),
            health=self.progress.problems,
            warnings=self.progress.warnings,
            waiting_for=self._start.waiting_for if self._outbox is None else "",
        )

    def _flow(self) -> Flow:
        now_ms, field, outbox = self._clock.boot_ms(), self._field, self._outbox
        if field is None or outbox is None:
            return Flow(self._start.waiting_for, [], [], None, [])
        return Flow(
            "",
            field.flows(now_ms, self._started_ms),
            field.pollers(now_ms),
            StoreFlow(field.queue.is_waiting, self._counters.commits, outbox.full_reason),
            deliveries(self._uplink, self._config.uplink, outbox, self._exporters),
        )
