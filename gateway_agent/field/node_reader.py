"""Reads a node of ours: its sample frame, and its events when the sample reports some."""

from gateway_agent.clock import GatewayClock
from gateway_agent.config import Bus, Device
from gateway_agent.counters import Counters
from gateway_agent.status import PointValue
from gateway_agent.store.mark import Mark
from protocols.identity import parse_uid
from protocols.modbus_client import Read, decode_identification
from protocols.modbus_client.identification import ONE_OBJECT, UID_OBJECT
from protocols.uplink import Record, action_record
from protocols.wire.errors import PeerError
from protocols.wire.modbus.pdu import ILLEGAL_ADDRESS, READ_INPUT
from protocols.wire.registers import EVENT_ADDRESS, EVENT_WORDS, SAMPLE_ADDRESS

from .bus_errors import BusError, RefusedError
from .calibration_record import CalibrationReader, new_actions
from .devices import OpenDevice, OpenNode
from .master import Master
from .node import NodeTracker
from .node_log import NodeLog
from .planner import JoinRules
from .reader import (
    Polled,
    is_silence,
    probes_of,
    read_again,
    request_for,
    stamp,
)


class NodeReader:
    """Reads a node of ours."""

    def __init__(
        self,
        bus: Bus,
        opened: OpenNode,
        device_id: str,
        mark: Mark | None,
        clock: GatewayClock,
        counters: Counters,
    ) -> None:
        device = opened.device
        self.device: Device = device
        self.opened: OpenDevice = opened
        self.device_id = device_id
        uid = bytes.fromhex(device.uid)
        self.tracker = NodeTracker(
            device_id, uid, opened.key, opened.map, mark, counters, device.replaces
        )
        self.slots = self.tracker.slots
        self._bus = bus
        self._clock = clock
        (sample,) = reads = opened.reads(JoinRules.of(bus))
        self._sample = request_for(device, sample)
        self.probes = probes_of(bus, device, reads, ())
        self._events = request_for(device, Read(READ_INPUT, EVENT_ADDRESS, EVENT_WORDS))
        self._map_read = request_for(device, Read(READ_INPUT, SAMPLE_ADDRESS, 2))
        self._other = ""  # what the node is instead, since its frame was refused
        self._log = NodeLog(f"{device.name} ({device_id})")
        self._calibrations = CalibrationReader(device, opened.map.points)
        self.polls = 0
        self.errors = 0

    async def poll(self, master: Master) -> Polled:
        """Read the sample frame, and the event frame when the sample reports new events."""
        tracker = self.tracker
        self.polls += 1
        req_ms = self._clock.boot_ms()
        try:
            frame = await read_again(master, self._sample, self.probes)
        except BusError as error:
            self.errors += 1
            self.failed(error.cause, await self._other_map(master, error) or error.detail)
            return Polled([], is_silence(error), error)
        self._other = ""
        records = tracker.sample(frame, stamp(self._clock, req_ms))
        if tracker.problem:
            self.errors += 1
            if tracker.auth == "bad" and not tracker.found:
                await self._ask_uid(master)
        elif tracker.events_due:
            req_ms = self._clock.boot_ms()
            try:
                frame = await read_again(master, self._events, self.probes)
                mark = tracker.mark
                done = await self._calibrations.read(master, frame, mark.event_seq if mark else 0)
            except BusError as error:
                # The sample is good and stays; the events are asked for again at the next poll.
                self.errors += 1
                tracker.problem = error.detail
            else:
                now = stamp(self._clock, req_ms)
                records += tracker.events(frame, now)
                self._log.events(events := tracker.take_events())
                actions = new_actions(done, events)
                records += [action_record(self.device_id, action, now) for action in actions]
        if tracker.last is not None and not tracker.problem:
            self._log.sample(tracker.last, tracker.last_ms)
        return Polled(records)

    async def _other_map(self, master: Master, error: BusError) -> str:
        """Return what is wrong if a node refuses its frame because its map is a shorter one."""
        if not isinstance(error, RefusedError) or error.code != ILLEGAL_ADDRESS:
            return ""
        if not self._other:
            try:
                head = await master.read(self._map_read, self.probes)
            except BusError:
                return ""
            map_id, version = head[0] << 8 | head[1], head[2] << 8 | head[3]
            self._other = self.tracker.wrong_map(map_id, version)
        return self._other

    async def _ask_uid(self, master: Master) -> None:
        """Ask a node with a wrong tag for its unique id, once per outage, to name what is wrong."""
        uid = None
        try:
            answer = await master.identify(self.device.unit, ONE_OBJECT, UID_OBJECT)
            uid = decode_identification(answer).objects.get(UID_OBJECT, b"")
        except (BusError, PeerError):
            pass
        self.tracker.identified(None if uid is None else parse_uid(uid.decode("latin-1")))

    def failed(self, cause: str, detail: str) -> None:
        """See :class:`Reader`."""
        self.tracker.failed(cause, detail, self._clock.boot_ms())

    def notices(self, at_once: bool = False) -> list[Record]:
        """See :class:`Reader`; a later sample may show that nothing is missing."""
        return self.tracker.notice(stamp(self._clock, self._clock.boot_ms()))

    @property
    def mark(self) -> Mark | None:
        """See :class:`Reader`."""
        return self.tracker.mark

    @mark.setter
    def mark(self, mark: Mark | None) -> None:
        self.tracker.mark = mark

    @property
    def unaccounted(self) -> int:
        """See :class:`Reader`."""
        return self.tracker.unaccounted

    @property
    def auth(self) -> str:
        """See :class:`Reader`."""
        return self.tracker.auth

    @property
    def problem(self) -> str:
        """See :class:`Reader`."""
        return self.tracker.problem

    @property
    def last_ms(self) -> int | None:
        """See :class:`Reader`."""
        return None if self.tracker.last is None else self.tracker.last_ms

    def values(self) -> list[PointValue]:
        """See :class:`Reader`."""
        return self.tracker.values()
