"""The node: what is made at boot, the tasks that run, and how they end.

Three tasks run beside each other: sampling (:class:`.Schedule` decides when), serving
(:class:`.Server`) and the role's own background service. The main task watches them: it feeds the
watchdog while both make progress, tries again to store what could not be stored, and ends when a
restart was commanded or a task ended that must not end.
"""

import asyncio
import gc

from micropython import const

from protocols.wire.modbus.server import RtuServer
from protocols.wire.registers import (
    COMMAND_MEMORY,
    COMMAND_RESTART,
    EVENT_BOOT,
    EVENT_CONFIG,
    EVENT_CONFIG_NEW,
    EVENT_CONFIG_OLD,
    EVENT_IMAGE_EXPORT,
    EVENT_SELFTEST,
    FAULT,
    NO_SAMPLE,
    STATUS_KEY_MISSING,
    STATUS_SELFTEST_FAILED,
    STATUS_STORE_VOLATILE,
    STATUS_WATCHDOG_RESET,
    map_of_role,
    setting_address,
)

from . import selftest
from .bank import Bank
from .config import Config
from .epoch import BootEpoch
from .events import Events
from .frames import EventFrame, SampleFrame
from .identity import NodeKey, identification
from .schedule import Schedule, Uptime
from .serve import Server
from .watchdog import TIMEOUT_MS, Watchdog
from .write_guard import WriteGuard

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from .commission import Commission
    from .link import LinkServer
    from .ports import NodeBoard, Role
    from .update import NodeUpdate

# How a run ends.
RESTART = 1  # commanded by the master
FAILED = 2  # a task ended that must not; ``Node.failure`` has its name and the reason

_CHECK_MS = const(100)
_LOOK_MS = const(250)  # a changed sample period is noticed within this time
_PERSIST_MS = const(60000)  # between attempts to store what could not be stored
_RESET_WATCHDOG = const(2)
_SLOWEST_LINK = const(1200)


def assemble(
    board: "NodeBoard",
    commission: "Commission",
    make_role: "Callable[[str, NodeBoard, Config, Events], Role]",
    strict: bool,
) -> "Node":
    """Make the node of one boot; this takes the boot epoch.

    ``make_role(name, board, config, events)`` makes the role; ``strict`` is as for RtuServer.
    """
    uptime = Uptime(board)
    map = map_of_role(commission.role)
    uid = commission.uid or board.unique_id()
    store = board.store()
    config = Config(store, commission.settings)
    epoch = BootEpoch(store)
    key = NodeKey(store)
    events = Events()
    parts = make_role(commission.role, board, config, events)
    sample_frame = SampleFrame(map, epoch.value, uid, key)
    event_frame = EventFrame(epoch.value, uid, key)
    unit = config.get("unit_id")
    guard = WriteGuard(unit, uid, key, epoch)
    bank = Bank(sample_frame, event_frame, config, parts, guard)
    identity = identification(map, uid, board.image_digest())
    rtu = RtuServer(
        unit,
        bank,
        identity,
        100 * config.get("baud_div_100"),
        strict,
        board.ticks_diff,
    )
    frames = (sample_frame, event_frame)
    node = Node(board, uptime, config, epoch, key, events, parts, frames, bank, rtu)
    baud = 100 * config.get("link_baud_div_100")
    port = board.link(baud) if baud >= _SLOWEST_LINK else None
    if port is not None:
        from .link import LinkServer  # a node without a link has no heap for it

        node.link = LinkServer(node, port, baud, uid, store, identity)
    return node


class Node:
    """One boot of a node, put together by :func:`assemble`; ``run`` does the rest."""

    def __init__(
        self,
        board: "NodeBoard",
        uptime: Uptime,
        config: Config,
        epoch: BootEpoch,
        key: NodeKey,
        events: Events,
        role: "Role",
        frames: "tuple[SampleFrame, EventFrame]",
        bank: Bank,
        rtu: RtuServer,
    ) -> None:
        self.board = board
        self.uptime = uptime
        self.config = config
        self.epoch = epoch
        self.key = key
        self.events = events
        self.role = role
        self.sample_frame, self.event_frame = frames
        self.bank = bank
        self.rtu = rtu
        self.watchdog = Watchdog(board.wdt(TIMEOUT_MS), 0)
        baud = 100 * config.get("baud_div_100")
        self.line = board.line(baud)
        self.server = Server(board, self.line, rtu, self.watchdog.serving.beat, self.after_request)
        self.schedule = Schedule(uptime.ms(), 100 * config.get("sample_period_ds"))
        self.outcome = 0
        self.failure = ""
        self.failed_checks = 0  # of the self-test, a bit mask
        self.role_errors = 0  # exceptions that left the role
        self.link: LinkServer | None = None  # where one is wired and switched on
        self.update: NodeUpdate | None = None  # once somebody asked for one, or on trial
        bank.node = self
        self._sampling = True
        self._boot_status = 0
        events.on_push = self._show_events
        config.on_change = self._on_change
        cause = board.reset_cause()
        if cause == _RESET_WATCHDOG:
            self._boot_status |= STATUS_WATCHDOG_RESET
        events.push(EVENT_BOOT, cause, 0)
        slots = board.slots()
        if slots is not None and slots.status()[3]:
            bank.open_update()
        self._show_empty()

    async def run(self) -> int:
        """Serve, test, sample until something ends it: RESTART or FAILED."""
        tasks = [asyncio.create_task(self._guard("serving", self.server.run()))]
        if self._sampling:
            tasks.append(asyncio.create_task(self._guard("sampling", self._sample())))
        if self.link is not None:
            tasks.append(asyncio.create_task(self.link.run()))
        tried = self.uptime.ms()
        try:
            while not self.outcome:
                await self.board.sleep_ms(_CHECK_MS)
                now = self.uptime.ms()
                self.watchdog.check(now, not self._sampling, not self.line.any())
                if self.watchdog.overdue(now):
                    self.fail("watchdog: sampling or serving made no progress")
                self.bank.guard.report(self.events, now)
                if self.update is not None and self.update.expired(now):
                    self.fail("update: nobody confirmed the image on trial in time")
                if self.bank.site is not None:
                    self.bank.site.turn(now)
                if now - tried >= _PERSIST_MS:
                    tried = now
                    self._persist()
        finally:
            for task in tasks:
                task.cancel()
            if self.link is not None and self.outcome:  # after Ctrl-C its session goes on
                self.link.close(self.outcome == RESTART)
        return self.outcome

    def stop_sampling(self) -> None:
        """Take no further sample; what is shown stays and is served. For good in this boot."""
        self._sampling = False

    def fail(self, why: str) -> None:
        """End the run as FAILED, unless it has ended already."""
        if not self.outcome:
            self.failure = why
            self.outcome = FAILED
            self._note(why)

    def status(self) -> int:
        """Return the status word as it is now."""
        bits = self._boot_status | self.config.status() | self.events.status()
        bits |= self.bank.guard.status()
        if self.bank.site is not None:
            bits |= self.bank.site.status()
        if not (self.epoch.stored and self.config.stored):
            bits |= STATUS_STORE_VOLATILE
        if self.key.mac is None:
            bits |= STATUS_KEY_MISSING
        return bits | self.role.status()

    async def sample_once(self) -> None:
        """Take one sample and show it."""
        role = self.role
        reading = role.reading
        at = self.uptime.ms()
        try:
            await role.sample()
            reading.grade(self.config.get("fitted"))
            if self.bank.site is not None:
                self.bank.site.mark(reading)
            role.graded()
        except Exception as error:  # noqa: BLE001  # one broken driver must not silence the node
            self.role_errors += 1
            self._note("sampling: %s: %s" % (type(error).__name__, error))
            reading.all(FAULT)
            reading.grade(self.config.get("fitted"))
        self.sample_frame.show(reading, at, self.status(), self.events.count)
        if self.link is not None:
            self.link.sample_taken()

    async def self_test(self) -> int:
        """Check node and role, note the outcome in status and events; mask of failed checks."""
        failed = selftest.core() | await selftest.role_mask(self.role)
        if not self.epoch.reads_back():
            failed |= selftest.FAILED_STORE
        if not self.epoch.known:
            failed |= selftest.FAILED_EPOCH
        self.failed_checks = failed
        if failed:
            self._boot_status |= STATUS_SELFTEST_FAILED
            self.events.push(EVENT_SELFTEST, failed, self.uptime.ms())
        return failed

    async def _sample(self) -> None:
        # The test asks every part, which can take seconds: serving has begun before it.
        await self.self_test()
        self._show_empty()
        background = asyncio.create_task(self._background())
        schedule = self.schedule
        schedule.next_ms = self.uptime.ms()
        beat = self.watchdog.sampling.beat
        try:
            while True:
                now = self.uptime.ms()
                schedule.set_period(100 * self.config.get("sample_period_ds"), now)
                due = schedule.due_in(now)
                if due:
                    await self.board.sleep_ms(min(due, _LOOK_MS))
                else:
                    await self.sample_once()
                    schedule.taken(self.uptime.ms())
                    gc.collect()  # here, where nobody waits, not in the middle of an answer
                beat()
        finally:
            background.cancel()

    async def _background(self) -> None:
        # If the background service ends, the readings of its part become faults; the node goes on.
        try:
            await self.role.run()
        except Exception:  # noqa: BLE001
            self.role_errors += 1

    async def _guard(self, name: str, work: "Coroutine[object, object, None]") -> None:
        try:
            await work
            self.fail(name + " ended")
        except Exception as error:  # noqa: BLE001  # reported, and the node starts anew
            self.fail("%s: %s: %s" % (name, type(error).__name__, error))

    def _note(self, text: str) -> None:
        if self.link is not None:
            self.link.note(1, text)

    def _show_events(self) -> None:
        self.event_frame.show(self.events, self.uptime.ms(), self.status())
        if self.link is not None:
            self.link.kick()

    def _show_empty(self) -> None:
        if self.sample_frame.seq < 1:
            reading = self.role.reading
            reading.all(NO_SAMPLE)
            reading.grade(self.config.get("fitted"))
            self.sample_frame.show_empty(reading, self.status(), self.events.count)

    def _on_change(self, address: int, before: "list[int]") -> None:
        now = self.uptime.ms()
        push = self.events.push
        export = setting_address("image_export")
        for index in range(len(before)):
            new = self.config.value(address + index)
            if new == before[index]:
                continue
            if address + index == export:
                push(EVENT_IMAGE_EXPORT, new, now)
            else:
                push(EVENT_CONFIG, address + index, now)
                push(EVENT_CONFIG_OLD, before[index], now)
                push(EVENT_CONFIG_NEW, new, now)

    def _persist(self) -> None:
        if not self.epoch.stored:
            self.epoch.persist()
        if not self.config.stored:
            self.config.persist()

    def after_request(self) -> None:
        """Obey the command of a request that has been answered."""
        if self.update is not None and self.update.after_request():
            self.outcome = RESTART
        command = self.bank.command
        if command:
            self.bank.command = 0
            if command == COMMAND_RESTART:
                self.outcome = RESTART
            elif command == COMMAND_MEMORY:
                used, free = self.board.heap()
                # Text, not a dict of fields: it hardly changes the heap that it reports.
                print(
                    '{"mem_alloc": %d, "mem_free": %d, "polls": %d}'
                    % (used, free, self.server.polls)
                )
