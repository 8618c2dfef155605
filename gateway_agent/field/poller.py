"""Polls the devices of one bus, one after another, and accounts for every poll that fell due.

``BusPoller`` opens its bus when it runs, holds no record back from the commit queue, and names each
slot that passed without an answer by its cause. No fault of a device or of the line ends it.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import Final, NamedTuple, Protocol, TypeAlias

from gateway_agent.cancellation import raise_if_cancelled
from gateway_agent.clock import GatewayClock
from gateway_agent.config import Bus
from gateway_agent.counters import Counters
from gateway_agent.progress import DeviceFlow
from gateway_agent.status import DeviceState, DeviceStatus
from gateway_agent.store.mark import Mark
from protocols.uplink import Record

from .bus_errors import FATAL, BusDownError, BusError, explain
from .bus_log import DeviceLog
from .bus_rest import BusRest
from .bus_turns import BusTurns
from .bus_use import BusUse
from .commit_queue import CommitQueue
from .heartbeat import STALL_MS, Heartbeat
from .line_tap import LineTap
from .master import Master
from .planner import BusPlan
from .reader import Polled, Reader
from .schedule import PollSchedule, Slot
from .shared_timers import SharedTimers
from .slot_account import SlotAccount
from .slot_keeper import SlotKeeper

log = logging.getLogger(__name__)

Now: TypeAlias = Callable[[], int]
Names: TypeAlias = Collection[str] | None  # None: of all devices
_BUSY: Final = ("bus_busy", "the bus was busy when the poll fell due")
_ON_SITE: Final = ("operator", "a technician on site had the bus when the poll fell due")
_STARTING: Final = ("gateway_down", "the agent was starting")
CHANGED: Final = ("operator", "the configuration of the bus was being changed")


class SpareTime(Protocol):
    """What uses the time of a bus between its polls: the update of nodes."""

    async def step(self, master: Master, free_ms: int) -> int:
        """Do one thing that takes at most ``free_ms``; return for how long to wait then."""

    def away(self, device_id: str, now_ms: int) -> str:
        """Return why a device is not polled now; empty if it is."""

    def polled(self, device_id: str) -> None:
        """Note that a node gave a sample with a good tag."""


class LeftDevice(NamedTuple):
    """A device that a poller which rests leaves: its reader, its slots, how far it was read."""

    reader: Reader
    slot: Slot
    mark: Mark


class BusPoller:
    """Polls the devices of one bus. ``spare`` gets the time between the polls."""

    def __init__(
        self,
        bus: Bus,
        readers: list[Reader],
        clock: GatewayClock,
        queue: CommitQueue,
        counters: Counters,
        heartbeat: Heartbeat,
        timers: SharedTimers | None = None,
    ) -> None:
        self.bus = bus
        self._timers = timers
        self.spare: SpareTime | None = None
        self.readers = readers
        self.rest = BusRest()
        self.turns = BusTurns(bus, clock, counters)
        self._clock = clock
        self._queue = queue
        self._counters = counters
        self._keeper = SlotKeeper(clock, heartbeat)
        self._schedule: PollSchedule | None = None  # None before :meth:`resume`
        self._faults: dict[int, str] = {}  # of our own, by device
        self.use = BusUse(clock.boot_ms())
        self.tap = LineTap(bus, clock.boot_ms)
        self.plan: BusPlan | None = None  # None: nobody has asked for it
        self._polling = -1  # the device that is polled now
        self._turn_ms = clock.boot_ms()  # when the next turn of the loop is due
        self._logs: dict[str, DeviceLog] = {}  # by what it says of the device

    def resume(
        self,
        marks: Mapping[str, Mark],
        cause: str = "gateway_down",
        left: Mapping[str, LeftDevice] | None = None,
    ) -> None:
        """Name what was missed since ``marks``, by device id, and put new marks into the queue.

        ``cause``: why nobody polled since then. A device of ``left`` goes on as it was.
        """
        logs, slots, left = self._logs, [], left or {}
        self._logs, self._faults = {}, {}
        for reader in self.readers:
            name = self._log_name(reader)
            self._logs[name] = logs.get(name) or DeviceLog(name, self.bus.name, reader.device.name)
            before = left.get(reader.device_id)
            if before is not None and before.reader is reader:
                slots.append(before.slot)
                continue
            period_ms, mark = reader.device.period_ms, marks.get(reader.device_id)
            start = self._keeper.resume(reader.slots, mark, period_ms, cause)
            is_new = mark is None or mark.slots is None
            slots.append(Slot(period_ms, start, start, is_new))
            self._keep(reader, slots[-1], reader.notices(at_once=True))
        self._schedule = PollSchedule(slots)

    def leave(self) -> Iterator[LeftDevice]:
        """Yield the devices while the task rests, or has not begun."""
        for reader, slot in zip(self.readers, self._slots, strict=True):
            yield LeftDevice(reader, slot, self._mark(reader.mark, slot, reader.slots))

    def change(
        self,
        bus: Bus,
        readers: list[Reader],
        marks: Mapping[str, Mark],
        left: Mapping[str, LeftDevice],
    ) -> None:
        """Poll other devices of the same line when the rest is over."""
        self.bus = self.turns.bus = bus
        self.readers = readers
        self.use.forget({reader.device.name for reader in readers})
        self.resume(marks, CHANGED[0], left)

    async def run(self, held_ms: int = 0, why: tuple[str, str] = _STARTING) -> None:
        """Poll until cancelled. ``held_ms``: how long the store took for the marks of resume.

        ``why``: cause and detail of what passed meanwhile.
        """
        clock, schedule = self._clock, self._schedule
        assert schedule is not None, "resume comes first"
        timers = self._timers or SharedTimers()
        use, tap = self.use, self.tap
        master = Master(self.bus, self._counters, logs_open=True, timers=timers, tap=tap)
        master_of = partial(Master, counters=self._counters, timers=timers, tap=tap)
        loop, turns = asyncio.get_running_loop(), self.turns
        task = asyncio.current_task()
        self._note_held(schedule, held_ms, why)
        try:
            while True:
                raise_if_cancelled(task)
                if self.rest.is_wanted:
                    await self.rest.rest()
                    raise_if_cancelled(task)
                    schedule = self._schedule
                    assert schedule is not None
                    master.change(self.bus)
                    await self._hold(schedule, CHANGED)
                now_ms = clock.boot_ms()
                index, probe, wait = schedule.next(now_ms)
                self._turn_ms = now_ms + wait
                turn = turns.next(now_ms, not wait)
                begin_s = loop.time()
                if turn is not None:
                    await turns.serve(turn, master, master_of)
                    use.used(loop.time() - begin_s)
                    continue
                if wait:
                    if self.spare is not None:
                        wait = min(wait, await self.spare.step(master, wait))
                    if wait and not (turns.is_wanted or self.rest.is_wanted):
                        await timers.sleep(wait / 1000, turns.wakes(loop.create_future()))
                    continue
                if probe:
                    failure = await self._probe(index, schedule, master)
                else:
                    failure = await self._poll(index, schedule, master, now_ms)
                name = self.readers[index].device.name
                use.polled(name, loop.time() - begin_s, "" if failure is None else failure.counted)
                use.look(now_ms, tap.sent_bytes + tap.received_bytes)
                if self._queue.full or not self._queue.is_patient:
                    raise_if_cancelled(task)
                    await self._hold(schedule)
        finally:
            master.close()
            tap.end()

    async def _poll(
        self, index: int, schedule: PollSchedule, master: Master, now_ms: int
    ) -> BusError | None:
        reader, slot = self.readers[index], schedule.slots[index]
        before = reader.mark
        why = _ON_SITE if self.turns.held_since(slot.due) else _BUSY
        self._catch_up(reader, slot, schedule.overtaken(index, now_ms), why, now_ms)
        reader.slots.begin(slot.due)
        self._polling = index
        away = "" if self.spare is None else self.spare.away(reader.device_id, now_ms)
        try:
            polled = _not_asked(reader, away) if away else await reader.poll(master)
        except (*FATAL, asyncio.CancelledError):
            reader.mark = before  # what it had read is in no record
            raise
        except Exception as error:  # noqa: BLE001 - a fault of ours costs this poll only
            failure = self._fault(index, master, error)
            reader.errors += 1
            reader.mark = before
            reader.failed(failure.cause, failure.detail)
            polled = Polled([], failure=failure)
        else:
            self._faults.pop(index, None)
            master.polled()
            if self.spare is not None and reader.auth == "ok" and not reader.problem:
                self.spare.polled(reader.device_id)
        records = polled.records
        if polled.failure is None:
            reader.slots.answer()
            if reader.slots.is_failing:
                records = reader.notices(at_once=True) + records
        now_ms = self._clock.boot_ms()
        self._polling = -1
        skipped = schedule.polled(index, now_ms, polled.silent)
        self._catch_up(reader, slot, skipped, _why(polled.failure), now_ms)
        if not isinstance(polled.failure, BusDownError):  # that is logged once for its bus
            log_of = self._logs[self._log_name(reader)]
            log_of.polled(reader.problem, slot.quarantined, now_ms)
        if reader.slots.outage is not None:
            self._keeper.count_outage(reader.slots)
        if reader.slots.notice_due(now_ms):
            records += reader.notices()
        is_urgent = bool(records) or bool(reader.slots) or reader.mark is not before
        self._keep(reader, slot, records, is_urgent)
        return polled.failure

    async def _probe(self, index: int, schedule: PollSchedule, master: Master) -> BusError | None:
        reader = self.readers[index]
        start = self._clock.boot_ms()
        failure: BusError | None = None
        try:
            await master.probe(reader.probes)
        except BusError as error:
            failure = error
        except FATAL:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            failure = self._fault(index, master, error)
        now = self._clock.boot_ms()
        passed = schedule.probed(index, now, now - start, failure is not None)
        before = failure or BusError("bus_timeout", "no answer until a probe was answered")
        if failure is not None:
            reader.failed(failure.cause, failure.detail)
        slot = schedule.slots[index]
        if passed:
            self._note_passed(reader, slot, passed, _why(before), now)
        self._keep(reader, slot, reader.notices(), bool(passed))
        return failure

    def _fault(self, index: int, master: Master, error: Exception) -> BusError:
        """Close the connection after an exception that nothing foresaw, which master may be in.

        It is logged once for each device, until that is read again or the fault is another.
        """
        master.close()
        detail = explain(self.bus, f"was not read for {self.readers[index].device.name}", error)
        fault = BusDownError(detail, "internal")
        self._counters.poll_errors[fault.counted] += 1
        if self._faults.get(index) != detail:
            self._faults[index] = detail
            log.error("bus %s: %s", self.bus.name, detail, exc_info=error)
        return fault

    # --- slots -----------------------------------------------------------------------------------

    def _catch_up(
        self, reader: Reader, slot: Slot, skipped: int, why: tuple[str, str], now_ms: int
    ) -> None:
        if skipped:
            self._counters.skipped_slots += skipped
            self._note_passed(reader, slot, skipped, why, now_ms)

    def _note_passed(
        self, reader: Reader, slot: Slot, passed: int, why: tuple[str, str], now_ms: int
    ) -> None:
        """Note that the last ``passed`` slots before the next one were not polled.

        ``why``: cause and detail.
        """
        first = slot.due - passed * slot.period
        self._keeper.note_passed(reader.slots, first, slot.period, passed, why, now_ms)

    def _keep(
        self, reader: Reader, slot: Slot, records: list[Record], is_urgent: bool = True
    ) -> None:
        """Pass records on to the next commit, with a mark of what is accounted for by them.

        A node's mark moves before its events are read too, so it is taken here. All else changes
        together with the records, so it is early enough to make the mark for the commit.
        """
        node = reader.mark
        mark = partial(self._mark, node, slot, reader.slots)
        self._queue.add(records, reader.device_id, mark if node is None else mark(), is_urgent)

    def _mark(self, node: Mark | None, slot: Slot, account: SlotAccount) -> Mark:
        return self._keeper.mark(node, slot.due, slot.period, account)

    async def _hold(self, schedule: PollSchedule, why: tuple[str, str] | None = None) -> None:
        """Wait for the store, which is behind, or has to have the newest poll before the next.

        ``why``: cause and detail of what passed if it was not the store; it has to have the marks
        of new devices before they are asked.
        """
        is_full, start = self._queue.full, self._clock.boot_ms()
        await self._queue.room()
        if why is not None or not self._queue.is_patient:
            await self._queue.stored()
        held_ms = self._clock.boot_ms() - start
        if why is not None or is_full or held_ms >= STALL_MS:  # else the bus was busy, with it too
            self._note_held(schedule, held_ms, why)

    def _note_held(
        self, schedule: PollSchedule, held_ms: int, why: tuple[str, str] | None = None
    ) -> None:
        """Note the slots that passed while the pollers waited for the store, or for ``why``."""
        now_ms = self._clock.boot_ms()
        if why is None or held_ms >= STALL_MS:
            why = ("outbox_full", f"the store took no record for {held_ms / 1000:.1f} s")
        for index, reader in enumerate(self.readers):
            slot, passed = schedule.slots[index], schedule.overtaken(index, now_ms)
            self._catch_up(reader, slot, passed, why, now_ms)
            if passed:
                self._keep(reader, slot, [])

    @property
    def _slots(self) -> list[Slot]:
        return [] if self._schedule is None else self._schedule.slots

    def _log_name(self, reader: Reader) -> str:
        return f"bus {self.bus.name}: {reader.device.name} (unit {reader.device.unit})"

    def slots_unaccounted(self) -> int:
        """Compare the schedule with what was answered or missed; return the differences."""
        total = 0
        for index, reader in enumerate(self.readers if self._schedule is not None else ()):
            assert self._schedule is not None
            account, over = reader.slots, self._schedule.slots[index].passed
            # The slot that is polled now is over for the account once it has an outcome.
            over += index == self._polling and not account.is_open
            total += abs(over - account.answered - account.missed + account.earlier)
            total += abs(account.missed - account.named - account.excused - account.pending)
        return total

    def stop(self) -> None:
        """Name what is missed and not named yet."""
        if self._schedule is not None:
            for reader, slot in zip(self.readers, self._schedule.slots, strict=True):
                self._keep(reader, slot, reader.notices(at_once=True))

    # --- status ----------------------------------------------------------------------------------

    def late_ms(self, now_ms: int) -> int:
        """Return for how long the next turn of the loop has been due."""
        return max(0, now_ms - self._turn_ms)

    def flows(self, now_ms: int, start_ms: int) -> Iterator[DeviceFlow]:
        """Yield what comes from each device, since ``start_ms`` if nothing has come yet."""
        bus, slots = self.bus.name, () if self._schedule is None else self._schedule.slots
        for reader, slot in zip(self.readers, slots, strict=False):
            last_ms = reader.last_ms
            yield DeviceFlow(
                bus,
                reader.device.name,
                now_ms - (start_ms if last_ms is None else last_ms),
                slot.period,
                slot.quarantined,
                last_ms is None,
                reader.problem,
            )

    def statuses(self, now: Now, names: Names) -> Iterator[DeviceStatus]:
        """Yield the devices of this bus, in the order of the configuration."""
        for index, reader in enumerate(self.readers):
            if names is None or reader.device.name in names:
                yield self._device_status(index, now())

    def _device_status(self, index: int, now_ms: int) -> DeviceStatus:
        reader = self.readers[index]
        slot = None if self._schedule is None else self._schedule.slots[index]
        state: DeviceState = "new"
        if slot is not None and slot.quarantined:
            state = "quarantined"
        elif reader.problem:
            state = "failing"
        elif reader.last_ms is not None:
            state = "ok"
        return DeviceStatus(
            id=reader.device_id,
            name=reader.device.name,
            bus=self.bus.name,
            unit=reader.device.unit,
            kind=reader.device.kind,
            role=reader.device.role,
            auth=reader.auth,
            state=state,
            values=reader.values(),
            age_ms=None if reader.last_ms is None else now_ms - reader.last_ms,
            polls=reader.polls,
            errors=reader.errors,
            skipped=0 if slot is None else slot.skipped,
            problem=reader.problem,
            cause=reader.slots.cause if reader.slots else "",
            title=reader.device.title,
            place=reader.device.place,
            note=reader.device.note,
        )


def _why(failure: BusError | None) -> tuple[str, str]:
    """Return cause and detail of slots that passed; ``failure``: what the bus was busy with."""
    return _BUSY if failure is None else (failure.cause, failure.detail)


def _not_asked(reader: Reader, why: str) -> Polled:
    """Return the outcome of a poll of a node that cannot answer while it is updated."""
    reader.failed("node_update", why)
    return Polled([], failure=BusError("node_update", why))
