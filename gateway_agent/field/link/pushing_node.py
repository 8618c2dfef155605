"""One node on a link: takes what it pushes, makes records of it, and names what did not come.

Frames of samples and events are those of the bus, so the same :class:`NodeTracker` checks them. The
node is told that it may forget a frame when its record is committed, not before: a gateway that is
killed is offered the frame again.
"""

import asyncio
import logging
import struct
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, NamedTuple, Protocol

from gateway_agent.clock import GatewayClock
from gateway_agent.config import LinkBus
from gateway_agent.counters import Counters
from gateway_agent.field.bus_errors import FATAL
from gateway_agent.field.bus_log import DeviceLog
from gateway_agent.field.commit_queue import CommitQueue
from gateway_agent.field.devices import OpenLinkNode
from gateway_agent.field.node import NodeTracker
from gateway_agent.field.node_log import NodeLog
from gateway_agent.field.slot_keeper import SlotKeeper
from gateway_agent.store.mark import Mark
from protocols.uplink import FILES, MAX_PART_BYTES, FilePart, Record, Stamp, file_record
from protocols.wire.errors import PeerError
from protocols.wire.link.messages import (
    CONFIG,
    EVENTS,
    FILE,
    LOG,
    SAMPLES,
    pack_config,
    parse_config,
)
from protocols.wire.modbus.pdu import EXCEPTION, READ_HOLDING, READ_INPUT
from protocols.wire.registers import (
    EVENT_ADDRESS,
    EVENT_CONFIG,
    EVENT_WORDS,
    setting_address,
)

from .file_fetch import FetchedFile, FileFetch
from .push_slots import PushSlots
from .spoken_log import SpokenLog

log = logging.getLogger(__name__)

TIME_WAIT_MS: Final = 1000  # frames wait so long for the first exchange of times of their session
_PERIOD: Final = setting_address("sample_period_ds")
REQUEST_S: Final = 5.0  # in which a node answers a command
_MAX_REQUESTS: Final = 16  # on the config channel, without an answer


class NodeLine(Protocol):
    """What a node needs of the connection that it has its session on."""

    def send(self, channel: int, message: bytes) -> bool:
        """Send a message; False if there is no room for it now."""

    def taken(self, channel: int, mark: int) -> None:
        """Acknowledge what was delivered up to ``mark``."""


class _Frame(NamedTuple):
    channel: int
    data: bytes
    mark: int  # what to acknowledge it with


class PushingNode:
    """Takes what one configured node pushes, over all its sessions."""

    def __init__(
        self,
        link: LinkBus,
        opened: OpenLinkNode,
        device_id: str,
        mark: Mark | None,
        clock: GatewayClock,
        queue: CommitQueue,
        counters: Counters,
        keeper: SlotKeeper,
    ) -> None:
        self.device = opened.device
        self.opened = opened
        self.device_id = device_id
        self.uid = bytes.fromhex(opened.device.uid)
        self.tracker = NodeTracker(
            device_id, self.uid, opened.key, opened.map, mark, counters, opened.device.replaces
        )
        self.tracker.overrun = "the node had no room left for what it measured"
        self.slots = self.tracker.slots
        self.fetch = FileFetch(self._send_file)
        self.frames = 0  # that became a record
        self.errors = 0
        self.sessions = 0
        self._clock = clock
        self._queue = queue
        self._counters = counters
        self._keeper = keeper
        self._grid: PushSlots | None = None
        self._line: NodeLine | None = None
        self._opened_ms = 0
        self._boot_epoch = 0
        self._is_timed = False
        self._waiting: deque[_Frame] = deque()  # at most the window of the session
        self._requests: dict[int, Callable[[bytes], None]] = {}
        self._next_request = 0
        self._recorded = (0, b"")  # boot epoch and SHA-256 of the file that was recorded last
        self._asks_events = False
        name = f"bus {link.name}: {opened.device.name}"
        self._log = DeviceLog(name, link.name, opened.device.name)
        self._node_log = NodeLog(f"{opened.device.name} ({device_id})")
        self._spoken = SpokenLog(name)

    # --- slots ----------------------------------------------------------------------------------

    def resume(self, marks: Mapping[str, Mark]) -> None:
        """Name what was missed since the mark of this node, and put a new mark into the queue."""
        mark = marks.get(self.device_id)
        period_ms = self.device.period_ms
        if mark is not None and mark.slots is not None and mark.slots.period_ms:
            period_ms = mark.slots.period_ms
        due_ms = self._keeper.resume(self.slots, mark, period_ms)
        self._grid = PushSlots(self.slots, self._keeper, period_ms, due_ms)
        self._keep(self._notices())

    @property
    def next_ms(self) -> int:
        """Return when :meth:`tick` has something to do."""
        assert self._grid is not None, "resume comes first"
        now_ms = self._clock.boot_ms()
        return now_ms + 20 if self._waiting else self._grid.end_ms

    def tick(self, why: tuple[str, str]) -> None:
        """Account for the slots that are over; ``why``: cause and detail if they brought nothing.

        A slot in which the store was behind is its fault.
        """
        assert self._grid is not None, "resume comes first"
        now_ms = self._clock.boot_ms()
        self.work()
        if self._waiting and self._queue.full:
            why = ("outbox_full", "the store took no record")
        if self._grid.advance(why, now_ms):
            self.tracker.problem = why[1]
            self._log.polled(why[1], False, now_ms)
            if self.slots.outage is not None:
                self._keeper.count_outage(self.slots)
            self._keep(self._notices())

    def stop(self) -> None:
        """Name what is missed and not named yet."""
        if self._grid is not None:
            self._keep(self._notices())

    @property
    def slots_unaccounted(self) -> int:
        """Return how many slots are over and neither answered nor missed for a cause."""
        return 0 if self._grid is None else self._grid.unaccounted

    @property
    def period_ms(self) -> int:
        """Return the node's sample period, as far as it is known."""
        return self.device.period_ms if self._grid is None else self._grid.period_ms

    @property
    def silent_ms(self) -> int:
        """Return for how long nothing good has come."""
        return self._clock.boot_ms() - (self.tracker.last_ms or self._opened_ms)

    @property
    def is_new(self) -> bool:
        """Return whether nothing good has come yet."""
        return self.tracker.last is None

    # --- the session ----------------------------------------------------------------------------

    @property
    def line(self) -> NodeLine | None:
        """Return the connection with the session; None if there is none."""
        return self._line

    def session_opened(self, line: NodeLine, boot_epoch: int) -> None:
        """Begin with a session that was proved with this node's key."""
        self.session_closed()
        self._line = line
        self._boot_epoch = boot_epoch
        self._opened_ms = self._clock.boot_ms()
        self._is_timed = False
        self.sessions += 1
        self._read_period()
        self.fetch.resume()

    def session_closed(self) -> None:
        """Forget what ended with the session; frames not acknowledged are offered again."""
        self._line = None
        self._waiting.clear()
        self._requests.clear()
        self._asks_events = False

    def timed(self, offset_ms: float) -> None:
        """Take how far the node's clock is ahead of ours."""
        self.tracker.measured(self._boot_epoch, round(offset_ms), self._clock.boot_ms())
        self._is_timed = True
        self.work()

    def message(self, channel: int, data: bytes, mark: int) -> None:
        """Take one message of the session; ``mark`` acknowledges it on a kept channel."""
        if channel in (SAMPLES, EVENTS):
            self._waiting.append(_Frame(channel, data, mark))
            self.work()
        elif channel == CONFIG:
            self._answered(data)
        elif channel == FILE:
            self.fetch.message(data)
        elif channel == LOG:
            self._spoken.line(data, self._clock.boot_ms())

    async def get_file(self, file: int, progress: Callable[[int, int], None]) -> FetchedFile:
        """Fetch a file and make records of it; FetchError if it does not come whole.

        The same file is recorded once in a boot of the node.
        """
        found = await self.fetch.get(file, progress)
        boot_epoch = self._boot_epoch
        if (boot_epoch, found.sha256) == self._recorded:
            return found
        data, size = found.data, len(found.data)
        for at in range(0, size, MAX_PART_BYTES):
            await self._queue.room()
            part = FilePart(
                FILES[file - 1],
                boot_epoch,
                found.number,
                found.sha256,
                size,
                at,
                data[at : at + MAX_PART_BYTES],
            )
            self._keep([file_record(self.device_id, part, stamp_before(self._clock, 0))])
        # Not before: who asked may leave in the middle, and the next one needs the rest.
        self._recorded = boot_epoch, found.sha256
        return found

    # --- frames ---------------------------------------------------------------------------------

    def work(self) -> None:
        """Make records of the frames that wait, unless the store is behind.

        Until the first exchange of times of a session nothing shows how old a frame is.
        """
        if not (self._is_timed or self._clock.boot_ms() - self._opened_ms >= TIME_WAIT_MS):
            return
        while self._waiting and not self._queue.full:
            frame = self._waiting.popleft()
            before = self.tracker.mark
            try:
                records = self._records(frame.channel, frame.data)
            except FATAL:
                raise
            except Exception as error:
                self.tracker.mark = before
                self._counters.poll_errors["internal"] += 1
                self.errors += 1
                self.tracker.failed("bad_frame", f"fault of the gateway: {error!r}", self._now())
                log.exception("%s: a frame was not taken", self.device_id)
                records = []
            line = self._line
            committed = None if line is None else partial(line.taken, frame.channel, frame.mark)
            self._keep(records, committed)

    def _records(self, channel: int, data: bytes) -> list[Record]:
        tracker, now_ms = self.tracker, self._now()
        if tracker.had(data):
            self._counters.repeats += 1
            return []
        if channel == EVENTS:
            return self._events(data)
        age_ms = tracker.age(data, now_ms)
        records = tracker.sample(data, stamp_before(self._clock, age_ms))
        if tracker.problem:
            self.errors += 1
            self._log.polled(tracker.problem, False, now_ms)
            return records
        self.frames += bool(records)
        assert self._grid is not None, "resume comes first"
        if age_ms < self._grid.period_ms // 2:
            self._grid.arrived(now_ms)
            self._log.polled("", False, now_ms)
        if tracker.last is not None:
            self._node_log.sample(tracker.last, now_ms)
        if tracker.events_behind and not self._asks_events:
            self._asks_events = self._ask(
                struct.pack(">BHH", READ_INPUT, EVENT_ADDRESS, EVENT_WORDS), self._events_read
            )
        return records

    def _events(self, data: bytes) -> list[Record]:
        """Return the record of an event frame.

        One of a boot that no sample has shown yet is asked for again after that sample.
        """
        records = self.tracker.events(data, stamp_before(self._clock, 0))
        events = self.tracker.take_events()
        self._node_log.events(events)
        if any(event.code == EVENT_CONFIG for event in events):
            self._read_period()
        return records

    def _events_read(self, pdu: bytes) -> None:
        self._asks_events = False
        data = _registers(pdu)
        if not self.tracker.had(data):
            self._keep(self._events(data))

    def _notices(self) -> list[Record]:
        return self.tracker.notice(stamp_before(self._clock, 0))

    def _keep(self, records: list[Record], committed: Callable[[], None] | None = None) -> None:
        self._queue.add(records, self.device_id, self.mark(), committed=committed)

    def mark(self) -> Mark:
        """Return how far the node was read, and what is not in a gap yet."""
        assert self._grid is not None, "resume comes first"
        due_ms, period_ms = self._grid.due_ms, self._grid.period_ms
        return self._keeper.mark(self.tracker.mark, due_ms, period_ms, self.slots)

    def _now(self) -> int:
        return self._clock.boot_ms()

    # --- what is asked --------------------------------------------------------------------------

    def _read_period(self) -> None:
        self._ask(struct.pack(">BHH", READ_HOLDING, _PERIOD, 1), self._period_read)

    def _period_read(self, pdu: bytes) -> None:
        data = _registers(pdu)
        if len(data) == 2 and self._grid is not None:
            period_ms = 100 * int.from_bytes(data)
            if period_ms:
                self._grid.set_period(period_ms, self._now())

    def _ask(self, pdu: bytes, answer: Callable[[bytes], None]) -> bool:
        """Ask the node; ``answer`` gets its PDU. False if that cannot be sent now."""
        if self._line is None or len(self._requests) >= _MAX_REQUESTS:
            return False
        self._next_request = (self._next_request + 1) & 0xFFFF
        if not self._line.send(CONFIG, pack_config(self._next_request, pdu)):
            return False
        self._requests[self._next_request] = answer
        return True

    def _answered(self, data: bytes) -> None:
        try:
            number, pdu = parse_config(data)
        except PeerError:
            return
        answer = self._requests.pop(number, None)
        if answer is not None:
            answer(pdu)

    async def request(self, pdu: bytes) -> bytes:
        """Ask the node, for a command; return the PDU of its answer, or nothing if none came."""
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def take(pdu: bytes) -> None:
            if not answer.done():
                answer.set_result(pdu)

        if not self._ask(pdu, take):
            return b""
        number = self._next_request
        try:
            async with asyncio.timeout(REQUEST_S):
                return await answer
        except TimeoutError:
            return b""
        finally:
            if self._requests.get(number) is take:
                del self._requests[number]

    def _send_file(self, message: bytes) -> bool:
        return self._line is not None and self._line.send(FILE, message)


def _registers(pdu: bytes) -> bytes:
    """Return what was read; nothing of an exception or a wrong length: all stays as it was."""
    registers = pdu[2:]
    is_good = len(pdu) > 1 and pdu[0] < EXCEPTION and pdu[1] == len(registers)
    return registers if is_good else b""


def stamp_before(clock: GatewayClock, age_ms: int) -> Stamp:
    """Return the times of a frame that was made ``age_ms`` ago.

    A record cannot be dated before the gateway's own boot: what is older is dated at it, and its
    wall time is uncertain by the difference.
    """
    now_ms = clock.boot_ms()
    wall_ms, unc_ms, state = clock.wall()
    at_ms = now_ms - age_ms
    if at_ms < 0:
        unc_ms -= at_ms
    return Stamp(
        max(0, at_ms),
        max(0, at_ms),
        None if wall_ms is None else wall_ms - age_ms,
        unc_ms,
        state,
    )
