"""Turns of a technician on one bus: requests between the polls, while the agent owns the line.

A turn goes before a poll that falls due meanwhile, so that a dialogue on site is not slow; after it
the polls have the bus for at least as long as it took. So a poll is late by one turn at most, which
``TURN_S`` bounds, and turns take no more than half of the time that polls want.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import msgspec

from gateway_agent.clock import GatewayClock
from gateway_agent.config import Bus, NodeDevice, ProfileDevice, SerialBus
from gateway_agent.counters import Counters
from protocols.modbus_client import Request
from protocols.modbus_client.turn import TurnAnswer, TurnQuestion, request_of, written
from protocols.wire.errors import PeerError
from protocols.wire.modbus.pdu import EXCEPTION
from protocols.wire.registers import COMMAND_ADDRESS, CONFIG_ADDRESS, SETTINGS

from .bus_errors import FATAL, BusDownError, BusError, RefusedError, explain
from .master import Master

log = logging.getLogger(__name__)

TURN_S: Final = 5.0  # the longest turn, with opening the port and probing for late answers
MAX_WAITING: Final = 4  # on one bus
READS_LOGGED_MS: Final = 60_000  # in which reads of one unit make one line of the log

#: Registers that a node with a key changes for a signed write only.
_SIGNED_ONLY: Final = (*range(CONFIG_ADDRESS, CONFIG_ADDRESS + len(SETTINGS)), COMMAND_ADDRESS)

MasterOf: TypeAlias = Callable[[Bus], Master]


@dataclass(slots=True)
class _Turn:
    request: Request
    baudrate: int
    answer: "asyncio.Future[TurnAnswer]" = field(repr=False)


class BusTurns:
    """The turns of one bus. Times are CLOCK_BOOTTIME in ms."""

    def __init__(self, bus: Bus, clock: GatewayClock, counters: Counters) -> None:
        self.bus = bus
        self._clock = clock
        self._counters = counters
        self._waiting: deque[_Turn] = deque()
        self._rest: asyncio.Future[None] | None = None
        self._polls_until = 0  # a poll that is due goes first until then
        self._ended_at: int | None = None
        self._reads: dict[tuple[str, int], list[int]] = {}  # by who and unit: since when, how many

    # --- from the socket -------------------------------------------------------------------------

    async def ask(self, question: TurnQuestion, who: str) -> TurnAnswer:
        """Wait for a turn and return what came of it. ``who`` asks, for the log."""
        bus = self.bus
        if not question.pdu:
            return TurnAnswer(baudrate=bus.baudrate)
        baudrate = question.baudrate or bus.baudrate
        try:
            request = self._request(question)
        except (PeerError, ValueError) as error:
            return self._refused(who, str(error))
        if baudrate != bus.baudrate and not isinstance(bus, SerialBus):
            return self._refused(
                who, f"bus {bus.name} ({bus.where}) has {bus.baudrate} baud, which the agent cannot"
                " change: it is no serial port of this machine",
            )  # fmt: skip
        return await self._queued(request, baudrate, who)

    async def request(self, request: Request, who: str) -> TurnAnswer:
        """Wait for a turn of a command, which was checked, and return what came of it."""
        return await self._queued(request, self.bus.baudrate, who)

    async def _queued(self, request: Request, baudrate: int, who: str) -> TurnAnswer:
        if len(self._waiting) >= MAX_WAITING:
            return self._refused(who, f"bus {self.bus.name}: {MAX_WAITING} requests wait already")
        self._log(who, request)
        turn = _Turn(request, baudrate, asyncio.get_running_loop().create_future())
        self._waiting.append(turn)
        self.wake()
        return await turn.answer

    def _request(self, question: TurnQuestion) -> Request:
        """Return the request of a question. PeerError, ValueError: it is not passed on."""
        pdu = bytes.fromhex(question.pdu)
        device = next((item for item in self.bus.device if item.unit == question.unit), None)
        request = request_of(question.unit, pdu, None if device is None else device.answer_unit)
        change = written(pdu)
        if isinstance(device, NodeDevice) and change is not None and change[0] in _SIGNED_ONLY:
            raise ValueError(
                f"unit {device.unit} is {device.name}, which has a key: a plain write of register"
                f" 0x{change[0]:04X} is not passed on; name the node's key with --key"
            )
        if isinstance(device, ProfileDevice) and change is not None:
            raise ValueError(
                f"unit {device.unit} is {device.name}, no node of ours: its writes are not signed,"
                " so none is passed on"
            )
        return request

    def _refused(self, who: str, why: str) -> TurnAnswer:
        self._counters.site_refused += 1
        log.warning("bus %s: a request of %s was refused: %s", self.bus.name, who, why)
        return TurnAnswer(error=why)

    def _log(self, who: str, request: Request) -> None:
        """Log each write; of reads, which a dialogue repeats, one line a minute for each unit."""
        name, unit = self.bus.name, request.asked
        change = written(request.pdu)
        if change is not None:
            text = "bus %s: %s writes to unit %d, register 0x%04X + %d"
            log.info(text, name, who, unit, *change)
            return
        now_ms = self._clock.boot_ms()
        since = self._reads.get((who, unit))
        if since is None or now_ms - since[0] >= READS_LOGGED_MS:
            before = "" if since is None else f", {since[1]} times since the last such line"
            log.info("bus %s: %s reads unit %d%s", name, who, unit, before)
            if since is None and len(self._reads) >= 256:
                self._reads.clear()
            self._reads[who, unit] = since = [now_ms, 0]
        since[1] += 1

    def wake(self) -> None:
        """End the rest of the poller."""
        if self._rest is not None and not self._rest.done():
            self._rest.set_result(None)

    def end(self) -> None:
        """Answer whoever waits: the bus is gone."""
        for turn in self._waiting:
            if not turn.answer.done():
                turn.answer.set_result(TurnAnswer(error="the configuration was changed: ask again"))
        self._waiting.clear()

    # --- from the poller -------------------------------------------------------------------------

    def wakes(self, rest: "asyncio.Future[None]") -> "asyncio.Future[None]":
        """End this rest when a turn is asked for; return it."""
        self._rest = rest
        return rest

    @property
    def is_wanted(self) -> bool:
        """Return whether a turn is waited for."""
        return bool(self._waiting)

    def next(self, now_ms: int, is_poll_due: bool) -> _Turn | None:
        """Return the turn that goes now; None if there is none, or a poll goes first."""
        waiting = self._waiting
        while waiting and waiting[0].answer.done():  # whoever asked is gone
            waiting.popleft()
        if not waiting or (is_poll_due and now_ms < self._polls_until):
            return None
        return waiting.popleft()

    def held_since(self, due_ms: int) -> bool:
        """Return whether a turn has kept the bus from a poll that was due then."""
        return self._ended_at is not None and self._ended_at > due_ms

    async def serve(self, turn: _Turn, master: Master, master_of: MasterOf) -> None:
        """Put a request on the line; whoever asked gets its answer.

        ``master_of`` makes the master of a bus with another speed, for which ``master`` lets go of
        the port.
        """
        start = self._clock.boot_ms()
        self._counters.site_requests += 1
        try:
            async with asyncio.timeout(TURN_S):
                if turn.baudrate == self.bus.baudrate:
                    answer = await _asked(turn.request, master)
                else:
                    master.close()
                    other = master_of(msgspec.structs.replace(self.bus, baudrate=turn.baudrate))
                    try:
                        answer = await _asked(turn.request, other)
                    finally:
                        other.close()
        except FATAL:
            raise
        except TimeoutError:
            answer = TurnAnswer(silence=f"no answer within {TURN_S:g} s")
        except Exception as error:  # a fault of ours costs this turn only
            master.close()
            text = explain(self.bus, "was not used for a technician", error)
            log.error("bus %s: %s", self.bus.name, text, exc_info=error)
            answer = TurnAnswer(error=text)
        master.polled()
        if not turn.answer.done():  # whoever asked may be gone
            turn.answer.set_result(answer)
        now_ms = self._ended_at = self._clock.boot_ms()
        self._polls_until = now_ms + (now_ms - start)


async def _asked(request: Request, master: Master) -> TurnAnswer:
    try:
        if request.read is None:
            pdu = await master.ask(request)
        else:  # which no late answer to a poll is taken for
            data = await master.read(request)
            pdu = bytes((request.shape.function, len(data))) + data
    except RefusedError as error:
        pdu = bytes((request.shape.function | EXCEPTION, error.code))
    except BusDownError as error:
        return TurnAnswer(error=error.detail)
    except BusError as error:
        return TurnAnswer(silence=error.detail, noise_bytes=master.noise_bytes)
    return TurnAnswer(pdu=pdu.hex())
