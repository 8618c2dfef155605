"""The field side of the agent: one task per bus, one commit queue for all.

``Field(config, clock, sink, marks, counters)`` opens no bus; ``await field.run()`` polls until it
is cancelled and then commits what it still holds. No fault of a device or a line ends it, only an
error of the sink does.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Final

from gateway_agent.cancellation import raise_if_cancelled
from gateway_agent.clock import GatewayClock
from gateway_agent.config import Bus, GatewayConfig
from gateway_agent.counters import Counters
from gateway_agent.status import DeviceState, DeviceStatus
from gateway_agent.store.mark import Mark

from .bus_errors import FATAL, BusDownError, BusError, explain
from .commit_queue import CommitQueue, Sink, waiting_bytes
from .cuts import CutFile
from .devices import OpenNode, open_all
from .master import Master
from .reader import NodeReader, Polled, ProfileReader, Reader
from .schedule import PollSchedule

log = logging.getLogger(__name__)

_STALL_MS: Final = (
    1000  # a store that makes the pollers wait for longer is named as the cause of a gap
)


class BusPoller:
    """Polls the devices of one bus."""

    def __init__(
        self,
        bus: Bus,
        readers: list[Reader],
        clock: GatewayClock,
        queue: CommitQueue,
        counters: Counters,
    ) -> None:
        self.bus = bus
        self.readers = readers
        self._clock = clock
        self._queue = queue
        self._counters = counters
        self._schedule: PollSchedule | None = None  # None before the first poll
        self._faults: dict[int, str] = {}  # of our own, by device

    async def run(self) -> None:
        """Poll until cancelled."""
        clock = self._clock
        master = Master(self.bus, self._counters)
        periods = [reader.device.period_ms for reader in self.readers]
        self._schedule = schedule = PollSchedule(periods, clock.boot_ms())
        try:
            while True:
                raise_if_cancelled()
                index, probe, wait = schedule.next(clock.boot_ms())
                if wait:
                    await asyncio.sleep(wait / 1000)
                    continue
                if probe:
                    await self._probe(index, schedule, master)
                else:
                    await self._poll(index, schedule, master)
                if self._queue.full:
                    await self._hold(schedule)
        finally:
            master.close()

    async def _poll(self, index: int, schedule: PollSchedule, master: Master) -> None:
        reader = self.readers[index]
        try:
            polled = await reader.poll(master)
        except FATAL:
            raise
        except Exception as error:  # noqa: BLE001 - a fault of ours costs this poll only
            failure = self._fault(index, master, error)
            reader.errors += 1
            polled = Polled(reader.missed(failure.cause, failure.detail, 1))
        else:
            self._faults.pop(index, None)
            master.polled()
        if polled.records or polled.mark is not None:
            self._queue.add(polled.records, reader.device_id, polled.mark)
        skipped = schedule.polled(index, self._clock.boot_ms(), polled.silent)
        self._counters.skipped_slots += skipped

    async def _probe(self, index: int, schedule: PollSchedule, master: Master) -> None:
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
        if failure is not None:
            self._note(reader, failure.cause, failure.detail, max(1, passed))
        elif passed:
            self._note(reader, "bus_timeout", "no answer until a probe was answered", passed)

    def _fault(self, index: int, master: Master, error: Exception) -> BusError:
        """Close the connection after an exception that nothing foresaw, which master may be in.

        It is logged once for each device, until that is read again or the fault is another.
        """
        master.close()
        self._counters.poll_errors["internal"] += 1
        detail = explain(self.bus, f"was not read for {self.readers[index].device.name}", error)
        if self._faults.get(index) != detail:
            self._faults[index] = detail
            log.error("bus %s: %s", self.bus.name, detail, exc_info=error)
        return BusDownError("bus_timeout", detail)

    def _note(self, reader: Reader, cause: str, detail: str, slots: int) -> None:
        records = reader.missed(cause, detail, slots)
        if records:
            self._queue.add(records, reader.device_id, None)

    async def _hold(self, schedule: PollSchedule) -> None:
        """Wait for the store, which is behind; record the polls missed meanwhile as its fault."""
        start = self._clock.boot_ms()
        await self._queue.room()
        waited = self._clock.boot_ms() - start
        if waited < _STALL_MS:
            return
        for reader, slot in zip(self.readers, schedule.slots, strict=True):
            slots = waited // slot.period
            if slots:
                text = f"the store accepted no record for {waited / 1000:.1f} s"
                self._note(reader, "outbox_full", text, slots)

    def status(self, now_ms: int) -> list[DeviceStatus]:
        """Return the devices of this bus, in the order of the configuration."""
        return [self._device_status(index, now_ms) for index in range(len(self.readers))]

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
        )


class Field:
    """Polls all buses. ConfigError from the constructor: a key file or profile is unusable."""

    def __init__(
        self,
        config: GatewayConfig,
        clock: GatewayClock,
        sink: Sink,
        marks: Mapping[str, Mark],
        counters: Counters,
    ) -> None:
        self.queue = CommitQueue(
            sink, config.outbox.commit_ms, waiting_bytes(config.outbox.max_bytes)
        )
        self._pollers: list[BusPoller] = []
        cuts = CutFile(config.gateway.state_dir)
        for bus, devices in zip(config.bus, open_all(config.bus), strict=True):
            readers: list[Reader] = []
            for opened in devices:
                name = opened.device.device_id(config.gateway.id)
                if isinstance(opened, OpenNode):
                    mark = marks.get(name)
                    readers.append(NodeReader(bus, opened, name, mark, clock, counters))
                else:
                    readers.append(ProfileReader(bus, opened, name, clock, counters, cuts))
            self._pollers.append(BusPoller(bus, readers, clock, self.queue, counters))

    async def run(self) -> None:
        """Poll and commit until cancelled; an error of the sink ends it."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.queue.run(), name="commits")
                for poller in self._pollers:
                    group.create_task(poller.run(), name=f"bus {poller.bus.name}")
        except asyncio.CancelledError:
            await self.queue.flush()
            raise

    def status(self, now_ms: int) -> list[DeviceStatus]:
        """Return every device, in the order of the configuration; ages are up to ``now_ms``."""
        return [device for poller in self._pollers for device in poller.status(now_ms)]
