"""The field side of the agent: one task per bus, one commit queue for all.

``Field(config, clock, sink, marks, counters)`` opens no bus; ``await field.run()`` polls until it
is cancelled and then commits what it still holds. No fault of a device or a line ends it, only an
error of the sink does.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from gateway_agent.clock import GatewayClock
from gateway_agent.config import GatewayConfig
from gateway_agent.counters import Counters
from gateway_agent.progress import DeviceFlow, PollerFlow
from gateway_agent.status import DeviceStatus
from gateway_agent.store.mark import Mark
from gateway_agent.store.medium import fitting
from protocols.modbus_client.turn import TurnAnswer, TurnQuestion
from protocols.uplink import FILES, Action, action_record

from .bus_turns import BusDevice
from .commit_queue import CommitQueue, Sink, waiting_bytes
from .cuts import CutFile
from .devices import OpenNode, open_all
from .heartbeat import Heartbeat
from .link.file_fetch import FetchedFile, FetchError
from .poller import BusPoller, Names, Now, SpareTime
from .reader import NodeReader, ProfileReader, Reader, stamp
from .retired import retired
from .shared_timers import SharedTimers

if TYPE_CHECKING:
    from .link.link_port import LinkPort


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
        limit = fitting(config.gateway.state_dir, config.outbox.max_bytes)
        self.queue = CommitQueue(sink, config.outbox.commit_ms, waiting_bytes(limit))
        self._marks = marks
        self._clock = clock
        self._counters = counters
        self._heartbeat = Heartbeat(clock)
        self._pollers: list[BusPoller] = []
        self.links: list[LinkPort] = []
        cuts, timers = CutFile(config.gateway.state_dir), SharedTimers()
        for bus, devices in zip(config.bus, open_all(config.bus), strict=True):
            readers: list[Reader] = []
            for opened in devices:
                name = opened.device.device_id(config.gateway.id)
                if isinstance(opened, OpenNode):
                    mark = marks.get(name)
                    readers.append(NodeReader(bus, opened, name, mark, clock, counters))
                else:
                    readers.append(ProfileReader(bus, opened, name, clock, counters, cuts))
            heartbeat = self._heartbeat
            poller = BusPoller(bus, readers, clock, self.queue, counters, heartbeat, timers)
            self._pollers.append(poller)
        if config.link:
            from .link.ports import link_ports

            self.links = link_ports(
                config.link, config.gateway.id, marks, clock, self.queue, counters, self._heartbeat
            )

    def use_spare_time(self, of_bus: Mapping[str, SpareTime]) -> None:
        """Give the time between the polls of each bus, by its name, to somebody."""
        for poller in self._pollers:
            poller.spare = of_bus.get(poller.bus.name)

    def note(
        self, device_id: str, action: Action, committed: Callable[[], None] | None = None
    ) -> None:
        """Record what was done, about a device or the gateway; then call ``committed``."""
        record = action_record(device_id, action, stamp(self._clock, self._clock.boot_ms()))
        self.queue.add([record], device_id, None, committed=committed)

    async def run(self) -> None:
        """Poll and commit until cancelled; an error of the sink ends it."""
        clock, start = self._clock, self._clock.boot_ms()
        self._retire()
        for port in self._ports:
            port.resume(self._marks)
        try:
            # No device is asked before its mark is durable, so no crash loses what it had asked.
            await self.queue.flush()
            held_ms = clock.boot_ms() - start
            async with asyncio.TaskGroup() as group:
                group.create_task(self.queue.run(), name="commits")
                group.create_task(self._heartbeat.run(), name="heartbeat")
                for poller in self._pollers:
                    group.create_task(poller.run(held_ms), name=f"bus {poller.bus.name}")
                for link in self.links:
                    group.create_task(link.run(), name=f"bus {link.link.name}")
        except asyncio.CancelledError:
            for port in self._ports:
                port.stop()
            try:
                await self.queue.flush()
            except asyncio.CancelledError:  # once more, so nobody waits for the store any longer
                await self.queue.give_up()
            raise

    async def fetch(
        self, node: str, file: int, progress: Callable[[int, int], None]
    ) -> FetchedFile:
        """Return a file of a node on a link; FetchError gives the reason if it does not come.

        ``node``: its name in the configuration, or its id.
        """
        if not 1 <= file <= len(FILES):
            raise FetchError(f"there are files 1 to {len(FILES)}, not {file}")
        for port in self.links:
            for item in port.nodes:
                if node in (item.device.name, item.device_id):
                    return await item.get_file(file, progress)
        raise FetchError(f'{node} is no node on a link: name a device of a bus with type = "link"')

    async def turn(self, question: TurnQuestion, who: str) -> TurnAnswer:
        """Ask a unit for a technician's tool, between the polls of its bus."""
        for poller in self._pollers:
            if poller.bus.name == question.bus:
                return await poller.turns.ask(question, who)
        names = ", ".join(poller.bus.name for poller in self._pollers) or "none"
        return TurnAnswer(error=f"{question.bus}: expected a bus that is polled here: {names}")

    def find(self, name: str) -> BusDevice | None:
        """Return the device on a bus with this name, BUS/NAME or id; None if there is none."""
        for poller in self._pollers:
            for reader in poller.readers:
                own = reader.device.name
                if name in (own, f"{poller.bus.name}/{own}", reader.device_id):
                    return BusDevice(reader.device_id, reader.opened, poller.turns)
        return None

    @property
    def _ports(self) -> "list[BusPoller | LinkPort]":
        return [*self._pollers, *self.links]

    def _retire(self) -> None:
        """Name what was missed of devices that are no longer in the configuration, once."""
        polled = {reader.device_id for poller in self._pollers for reader in poller.readers}
        polled |= {node.device_id for port in self.links for node in port.nodes}
        for gaps, name, mark in retired(self._marks, polled, self._clock, self._counters):
            self.queue.add(gaps, name, mark)

    def slots_unaccounted(self) -> int:
        """Return how many polls fell due and are neither answered nor missed for a cause."""
        polled = sum(poller.slots_unaccounted() for poller in self._pollers)
        return polled + sum(port.slots_unaccounted for port in self.links)

    def samples_unaccounted(self) -> int:
        """Return how many samples of nodes, by their numbers, are in no record and in no gap."""
        readers = [reader for poller in self._pollers for reader in poller.readers]
        polled = sum(abs(reader.unaccounted) for reader in readers)
        nodes = [node for port in self.links for node in port.nodes]
        return polled + sum(abs(node.tracker.unaccounted) for node in nodes)

    def flows(self, now_ms: int, start_ms: int) -> list[DeviceFlow]:
        """Return what comes from each device, since ``start_ms`` if nothing has come yet."""
        return [flow for port in self._ports for flow in port.flows(now_ms, start_ms)]

    def pollers(self, now_ms: int) -> list[PollerFlow]:
        """Return whether the task of each bus that is polled moves on."""
        return [PollerFlow(one.bus.name, one.late_ms(now_ms)) for one in self._pollers]

    def status(self, now_ms: int, names: Names = None) -> list[DeviceStatus]:
        """Return every device, or those of ``names``, in the order of the configuration."""
        return list(self.statuses(lambda: now_ms, names))

    def statuses(self, now: Now, names: Names = None) -> Iterator[DeviceStatus]:
        """Yield the same, those on links last, each as it is when its turn comes."""
        for port in self._ports:
            yield from port.statuses(now, names)
