"""The field side of the agent: one task per bus, one commit queue for all.

``Field(config, clock, sink, marks, counters)`` opens no bus; ``await field.run()`` polls until it
is cancelled and then commits what it still holds. No fault of a device or a line ends it, only an
error of the sink does.
"""

import asyncio
from collections.abc import (
    AsyncGenerator,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

from gateway_agent.clock import GatewayClock
from gateway_agent.config import Bus, GatewayConfig, LinkBus
from gateway_agent.counters import Counters
from gateway_agent.progress import DeviceFlow, PollerFlow
from gateway_agent.status import BusStatus, DeviceStatus
from gateway_agent.store.mark import Mark
from gateway_agent.store.medium import fitting
from protocols.modbus_client.listener import HeardFrame
from protocols.modbus_client.turn import TurnAnswer, TurnQuestion
from protocols.uplink import FILES, Action, action_record

from .bus_status import bus_status
from .commit_queue import CommitQueue, Sink, waiting_bytes
from .cuts import CutFile
from .devices import OpenDevice, OpenLinkNode, OpenNode, open_all, open_links
from .field_change import at_rest, goes_on, relabel, same_device, same_devices, same_port, stays
from .found import BusDevice, FoundDevice
from .heartbeat import Heartbeat
from .link.file_fetch import FetchedFile, FetchError
from .maintenance import Maintenance
from .node_reader import NodeReader
from .poller import CHANGED, BusPoller, LeftDevice, Names, Now, SpareTime
from .profile_reader import ProfileReader
from .reader import Reader, stamp
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
        self._gateway = config.gateway.id
        self._config = config
        self._marks = dict(marks)
        self._clock = clock
        self._counters = counters
        self._heartbeat = Heartbeat(clock)
        self._cuts, self._timers = CutFile(config.gateway.state_dir), SharedTimers()
        self._group: asyncio.TaskGroup | None = None  # while it runs
        self._tasks: dict[str, asyncio.Task[None]] = {}  # by bus
        self._pollers = [
            self._poller(bus, [self._reader(bus, device) for device in devices])
            for bus, devices in zip(config.bus, open_all(config.bus), strict=True)
        ]
        self.links = self._link_ports(config.link)

    def _poller(self, bus: Bus, readers: list[Reader]) -> BusPoller:
        clock, heartbeat = self._clock, self._heartbeat
        return BusPoller(bus, readers, clock, self.queue, self._counters, heartbeat, self._timers)

    def _reader(self, bus: Bus, opened: OpenDevice, mark: Mark | None = None) -> Reader:
        clock, counters = self._clock, self._counters
        name = opened.device.device_id(self._gateway)
        if isinstance(opened, OpenNode):
            return NodeReader(bus, opened, name, mark or self._marks.get(name), clock, counters)
        return ProfileReader(bus, opened, name, clock, counters, self._cuts)

    def _link_ports(
        self, links: Sequence[LinkBus], before: "Sequence[LinkPort]" = ()
    ) -> "list[LinkPort]":
        if not links:
            return []
        from .link.ports import link_ports

        return link_ports(
            links,
            self._gateway,
            self._marks,
            self._clock,
            self.queue,
            self._counters,
            self._heartbeat,
            before,
        )

    # --- a change of the configuration -----------------------------------------------------------

    async def change(self, config: GatewayConfig, opened: Sequence[Sequence[OpenDevice]]) -> None:
        """Poll what ``config`` has from now on, of which ``opened`` are the devices of the buses.

        A bus that is the same goes on undisturbed; on one of which only devices differ the others
        keep their slots. RestError, ConfigError: nothing was changed.
        """
        wanted = {bus.name: (bus, of) for bus, of in zip(config.bus, opened, strict=True)}
        known = {poller.bus.name for poller in self._pollers}
        changed = [poller for poller in self._pollers if not goes_on(poller, wanted)]
        try:
            await at_rest(changed)
            left = {one.bus.name: {each.reader.device_id: each for each in one.leave()}
                    for one in changed}  # fmt: skip
            marks = {name: each.mark for of in left.values() for name, each in of.items()}
            staying = {poller.bus.name for poller in changed if stays(poller, wanted)}
            readers = {
                name: self._readers(bus, of, left[name] if name in staying else {}, marks)
                for name, (bus, of) in wanted.items()
                if name in left or name not in known
            }
            links = open_links(config.link)
        except BaseException:
            for poller in changed:
                poller.rest.end()
            raise
        ending = [poller for poller in changed if poller.bus.name not in staying]
        await self._end(poller.bus.name for poller in ending)
        for poller in ending:
            poller.turns.end()
        marks |= await self._end_links(config.link, links)
        self._marks |= marks
        self._retire(marks.keys() - _ids(config))
        pollers = {poller.bus.name: poller for poller in self._pollers}
        for name, (bus, devices) in wanted.items():
            if name in staying:
                pollers[name].change(bus, readers[name], marks, left[name])
                pollers[name].rest.end()
            elif name in readers:
                pollers[name] = poller = self._poller(bus, readers[name])
                poller.resume(self._marks, CHANGED[0])
                self._start(name, self._begin(poller))
            else:
                pollers[name].bus = pollers[name].turns.bus = bus
                relabel(pollers[name].readers, devices)
        self._config = config
        self._pollers = [pollers[name] for name in wanted]
        self._begin_links(config.link)
        self.queue.change(config.outbox.commit_ms)

    def _readers(
        self,
        bus: Bus,
        opened: Sequence[OpenDevice],
        left: Mapping[str, LeftDevice],
        marks: Mapping[str, Mark],
    ) -> list[Reader]:
        """Return the readers of a bus; one of ``left`` is kept if its device is read as before."""
        found = []
        for device in opened:
            name = device.device.device_id(self._gateway)
            if name in left and same_device(left[name].reader.opened, device):
                reader = left[name].reader
                relabel([reader], [device])
            else:
                reader = self._reader(bus, device, marks.get(name))
            found.append(reader)
        return found

    async def _end(self, names: Iterable[str]) -> None:
        tasks = [self._tasks.pop(name) for name in names]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _begin(self, poller: BusPoller) -> None:
        await self.queue.stored()  # no device is asked before its mark is durable
        await poller.run(0, CHANGED)

    def _start(self, name: str, work: Coroutine[object, object, None]) -> None:
        assert self._group is not None, "it runs"
        self._tasks[name] = self._group.create_task(work, name=f"bus {name}")

    async def _end_links(
        self, links: Sequence[LinkBus], opened: Sequence[Sequence[OpenLinkNode]]
    ) -> dict[str, Mark]:
        """End the links that are not the same; return how far their nodes were read."""
        wanted = {link.name: (link, nodes) for link, nodes in zip(links, opened, strict=True)}
        marks: dict[str, Mark] = {}
        ending = []
        for port in self.links:
            link, nodes = wanted.get(port.link.name, (port.link, ()))
            if same_port(port.link, link) and same_devices([n.opened for n in port.nodes], nodes):
                port.link = link
                for node, device in zip(port.nodes, link.device, strict=True):
                    node.device = device
            else:
                ending.append(port)
        await self._end(port.link.name for port in ending)
        for port in ending:
            port.stop()
            marks |= port.leave()
            self.links.remove(port)
        return marks

    def _begin_links(self, links: Sequence[LinkBus]) -> None:
        going = {port.link.name for port in self.links}
        begun = self._link_ports([link for link in links if link.name not in going], self.links)
        for port in begun:
            port.resume(self._marks)
            self._start(port.link.name, port.run())
        self.links += begun

    def _retire(self, names: AbstractSet[str]) -> None:
        """Name what was missed of devices that are no longer in the configuration, once."""
        marks = {name: self._marks[name] for name in names}
        for gaps, name, mark in retired(marks, frozenset(), self._clock, self._counters):
            self.queue.add(gaps, name, mark)
            self._marks[name] = mark

    def use_spare_time(self, of_bus: Mapping[str, SpareTime]) -> None:
        """Give the time between the polls of each bus, by its name, to somebody."""
        for poller in self._pollers:
            poller.spare = of_bus.get(poller.bus.name)

    def busy_s(self) -> Mapping[str, float]:
        """Return for how long each polled bus was used since the start, by its name."""
        return {poller.bus.name: poller.use.busy_s for poller in self._pollers}

    def bus_statuses(self, now_ms: int, limit: int | None = None) -> list[BusStatus]:
        """Return every polled bus with what is predicted and what is; the ``limit`` busiest."""
        pollers = sorted(self._pollers, key=lambda one: -one.use.share(now_ms))[:limit]
        return [bus_status(poller, now_ms, limit is None) for poller in pollers]

    def watch_frames(self, bus: str) -> AsyncGenerator[HeardFrame | int, None]:
        """Yield what passes on a bus, decoded, or how many frames were lost.

        LookupError: no such bus is polled. ViewersError: too many look at it.
        """
        for poller in self._pollers:
            if poller.bus.name == bus:
                return poller.tap.frames()
        names = ", ".join(poller.bus.name for poller in self._pollers) or "none"
        raise LookupError(f"{bus}: expected a bus that is polled here: {names}")

    @property
    def news(self) -> asyncio.Event:
        """Return what is set whenever a device has brought something; who waits clears it."""
        return self.queue.news

    def maintain(self, name: str, work: Maintenance | None) -> str | None:
        """Note who works on a device, or that nobody does; return its id, None: there is none."""
        readers = [reader for poller in self._pollers for reader in poller.readers]
        for reader in readers:
            if reader.device.name == name:
                reader.slots.work = work
                return reader.device_id
        for node in (node for port in self.links for node in port.nodes):
            if node.device.name == name:
                node.slots.work = work
                return node.device_id
        return None

    def note(
        self, device_id: str, action: Action, committed: Callable[[], None] | None = None
    ) -> None:
        """Record what was done, about a device or the gateway; then call ``committed``."""
        record = action_record(device_id, action, stamp(self._clock, self._clock.boot_ms()))
        self.queue.add([record], device_id, None, committed=committed)

    async def run(self) -> None:
        """Poll and commit until cancelled; an error of the sink ends it."""
        clock, start = self._clock, self._clock.boot_ms()
        self._retire(self._marks.keys() - _ids(self._config))
        for port in self._ports:
            port.resume(self._marks)
        try:
            # No device is asked before its mark is durable, so no crash loses what it had asked.
            await self.queue.flush()
            held_ms = clock.boot_ms() - start
            async with asyncio.TaskGroup() as group:
                group.create_task(self.queue.run(), name="commits")
                group.create_task(self._heartbeat.run(), name="heartbeat")
                self._group = group
                for poller in self._pollers:
                    self._start(poller.bus.name, poller.run(held_ms))
                for link in self.links:
                    self._start(link.link.name, link.run())
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

    def find(self, name: str) -> FoundDevice | None:
        """Return the device with this name, BUS/NAME or id; None if there is none."""
        for poller in self._pollers:
            for reader in poller.readers:
                own = reader.device.name
                if name in (own, f"{poller.bus.name}/{own}", reader.device_id):
                    return BusDevice(reader.device_id, reader.opened, poller.turns)
        for port in self.links:
            for node in port.nodes:
                own = node.device.name
                if name in (own, f"{port.link.name}/{own}", node.device_id):
                    return node
        return None

    def at(self, bus: str, unit: int) -> FoundDevice | None:
        """Return the device with this address on a bus; None if there is none."""
        for poller in self._pollers:
            for reader in poller.readers:
                if (poller.bus.name, reader.device.unit) == (bus, unit):
                    return BusDevice(reader.device_id, reader.opened, poller.turns)
        return None

    @property
    def buses(self) -> Sequence[BusPoller]:
        """Return the pollers, in the order of the configuration."""
        return self._pollers

    @property
    def _ports(self) -> "list[BusPoller | LinkPort]":
        return [*self._pollers, *self.links]

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


def _ids(config: GatewayConfig) -> set[str]:
    buses = (*config.bus, *config.link)
    return {device.device_id(config.gateway.id) for bus in buses for device in bus.device}
