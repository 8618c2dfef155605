"""One bus: at most one request under way, and every answer the one to that request.

A serial line has no transaction ids. An answer that comes after its request was given up would be
taken for the answer to the next one, silently. So:

* after a request without a good answer the line must be silent before the next is sent;
* a unit whose answer is still pending (:mod:`.late_answers`) is first asked for something whose
  answer has another shape than any pending one. Units answer in order, so with that answer
  everything pending has come or never will.

Whatever is no answer is counted by what it is: late, of another unit, damaged, noise.
"""

import asyncio
import math
from collections.abc import Sequence
from typing import Final

from gateway_agent.config import Bus, SerialBus
from gateway_agent.counters import Counters
from protocols.modbus_client import (
    LATE,
    AnswerShape,
    Request,
    Unexpected,
    identify_request,
)
from protocols.wire.errors import PeerError
from protocols.wire.modbus.pdu import EXCEPTION

from .bus_errors import (
    FATAL,
    NO_MBAP,
    BusDownError,
    BusError,
    ClosedEarlyError,
    RefusedError,
    why_contested,
    why_foreign,
    why_none,
)
from .bus_link import MasterLink
from .bus_port import BusPort, client_of
from .late_answers import LateAnswers
from .line_silence import LineSilence
from .line_tap import LineTap
from .pace import UnitPace, paces_of
from .planner import answer_ms, probes_for
from .shared_timers import SharedTimers

SILENT_REQUESTS: Final = 3  # on TCP: this many in a row without one byte, and the peer is gone
PATIENCE: Final = 3  # times as long is waited for a unit while another one may hold a gateway box
STALL_S: Final = 0.005  # a timer this late was held up by the process or the machine
_ANY: Final = -1  # no unit: the key of the whole bus
_VARIABLE_CHARS: Final = 128  # registers' worth of time for an answer of unknown length


class Master:
    """The only writer on its bus. Use from one task; ``close`` may be called from any."""

    def __init__(
        self,
        bus: Bus,
        counters: Counters,
        logs_open: bool = False,
        timers: SharedTimers | None = None,
        tap: LineTap | None = None,
    ) -> None:
        """``logs_open``: it is for an operator's log that the bus is open now.

        ``timers``: those of all buses of this event loop. ``tap``: what hears the bus.
        """
        self._tap = tap
        self.counters = counters
        self._loop = asyncio.get_running_loop()
        self._is_line = not bus.has_ids  # answers are known by their order alone
        self._takes_time = bus.char_ms > 0  # to carry a byte
        self._client = client_of(bus)
        self._port = BusPort(bus, counters, logs_open)
        self._link: MasterLink | None = None
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[bytes] | None = None
        self._request: Request | None = None
        self._deadline = 0.0
        self._timers = timers or SharedTimers()
        self._tick_at = math.inf  # when the deadline is looked at next
        self._last_sent = 0.0  # loop time of the last request
        self._answered = False  # bytes came since the last request was sent
        self._foreign: AnswerShape | None = None  # what came instead, for the request under way
        self._is_contested = False  # another master asked for a like answer meanwhile
        self._late_before = 0  # late replies counted when the request was sent
        self.noise_bytes = 0  # that are no frame, since the last request was sent
        self._late = LateAnswers()
        self._silent_requests = 0
        self._unanswered: int | None = None  # on TCP: the unit asked last, if it was silent
        self._again = False  # the request under way met a closed connection before
        self._timeout_ms = bus.timeout_ms  # of the request under way
        self._gap_s = bus.request_gap_ms / 1000
        self.change(bus)
        self._ended: dict[int, float] = {}  # by unit: loop time at which its last request ended
        self._silence = LineSilence(bus)
        self._closes = bus.close_after == "request"

    def change(self, bus: Bus) -> None:
        """Take other devices of the same line; the connection and late answers stay."""
        self.bus = bus
        self._pace = UnitPace.of(bus, (bus.timeout_ms,), ())  # of units that the bus does not name
        self._paces = paces_of(bus)
        self._is_spaced = any(pace.gap_s for pace in (self._pace, *self._paces.values()))

    async def read(self, request: Request, probes: Sequence[Request] = ()) -> bytes:
        """Return the register bytes of one read. BusError if there is no good answer.

        If an answer of the same shape is pending, the unit is probed first: see :meth:`probe`.
        """
        ready = await self._settle(request, probes) if self._is_line else None
        try:
            return (await self._ask(request, ready))[2:]
        except ClosedEarlyError:
            return (await self._ask_again(request, probes))[2:]

    async def probe(self, probes: Sequence[Request]) -> bool:
        """Ask one unit for something that it may answer; return whether that settles something.

        Of ``probes`` that one is sent whose answer is the least likely to be pending; if it is
        nevertheless, it may be an old answer that comes. An exception is an answer, unless a
        gateway box gives it for a silent device. BusError: there is none.
        """
        request = self._late.least_likely(probes, self._loop.time())
        settles = not self._is_pending(request)
        try:
            try:
                await self._ask(request)
            except ClosedEarlyError:
                await self._ask_again(self._late.least_likely(probes, self._loop.time()), probes)
        except BusDownError:
            raise
        except BusError as error:
            if isinstance(error, RefusedError) and not error.is_silence:
                return True
            if not self._is_line:
                # Answers have ids of their own; it is kept so that the next probe is another one.
                self._late.add(request.shape, self._loop.time())
            raise
        return settles

    async def identify(self, unit: int, access: int, object_id: int) -> bytes:
        """Return the PDU of the answer to an identification request. BusError: there is none."""
        return await self.ask(identify_request(unit, access, object_id))

    async def ask(self, request: Request, latest: float = math.inf) -> bytes:
        """Return the PDU that came by ``latest``. BusError: none did; a write may be done."""
        try:
            return await self._ask(request, latest=latest)
        except ClosedEarlyError:
            return await self._ask_again(request, ())

    async def broadcast(self, request: Request, pause_s: float) -> None:
        """Send what no unit answers; ``pause_s``: for the request, and for the units after it."""
        transport = await self._ready(request.asked, self._pace)
        transport.write(request.adu)
        await asyncio.sleep(pause_s)
        self._silence.restart()

    def polled(self) -> None:
        """Note that the poll of a device is over: some want a connection for each."""
        if self.bus.close_after == "poll":
            self._drop(politely=True)

    async def _settle(self, request: Request, probes: Sequence[Request]) -> asyncio.Transport:
        """Probe a unit as long as an answer like that to ``request`` is pending.

        Return the connection, ready for the request.
        """
        unit = request.asked
        pace = self._paces.get(unit, self._pace)
        settles = True
        # Until it is ready another master's request may come, whose answer is pending, too.
        ready = await self._ready(unit, pace)
        while settles and self._is_pending(request):
            settles = await self.probe(probes or probes_for(request))
            ready = await self._ready(unit, pace)
        return ready

    def _is_pending(self, request: Request) -> bool:
        return self._is_line and self._late.is_pending(request.shape, self._loop.time())

    async def _ask_again(self, request: Request, probes: Sequence[Request]) -> bytes:
        """Ask once more, on a new connection, what met a closed one."""
        self._again = True
        self.counters.asked_again += 1
        try:
            # A serial server may hand the answer that is under way to the new connection.
            is_read = self._is_line and request.read is not None
            return await self._ask(
                request, await self._settle(request, probes) if is_read else None
            )
        finally:
            self._again = False

    async def _ask(
        self, request: Request, ready: asyncio.Transport | None = None, latest: float = math.inf
    ) -> bytes:
        """Send one request and return the PDU of its answer. ``ready``: from :meth:`_ready`."""
        loop = self._loop
        unit = request.asked
        pace = self._paces.get(unit, self._pace)
        transport = ready or await self._ready(unit, pace)
        answer: asyncio.Future[bytes] = loop.create_future()
        self._answer = answer
        self._request = request
        self._answered = False
        self._foreign = None
        self._is_contested = False
        self._late_before = self.counters.late_replies
        self.noise_bytes = 0
        self._last_sent = now = self._silence.due if self._is_line else loop.time()
        self._timeout_ms = pace.timeout_ms
        self._deadline = now + pace.fixed_s
        if self._unanswered not in (None, unit):
            # A gateway box may still wait for that one, which shows nothing about this one.
            self._timeout_ms *= PATIENCE
            self._deadline += (self._timeout_ms - pace.timeout_ms) / 1000
        if self._takes_time:
            data_bytes = request.shape.data_bytes
            words = data_bytes // 2 if data_bytes > 0 else _VARIABLE_CHARS
            self._deadline += answer_ms(self.bus, words) / 1000
        self._deadline = min(self._deadline, latest)
        if self._tick_at > self._deadline:
            self._tick_at = self._deadline
            self._timers.call_at(self._deadline, self._tick)
        data = self._client.send(request)
        if self._is_line:
            self._silence.hold()
        try:
            transport.write(data)
        except FATAL:
            raise
        except Exception as error:
            self._answer = None
            raise self._fault("cannot be written to", error) from error
        self._silence.restart()
        if self._tap is not None:
            self._tap.sent(data)
        self.counters.polls += 1
        try:
            pdu = await answer
        except asyncio.CancelledError:
            self._answer = None
            self._give_up(request)
            raise
        finally:
            if self._is_spaced:
                self._ended[unit] = self._ended[_ANY] = loop.time()
            if self._closes:
                self._drop(politely=True)
        self._silent_requests = 0
        self._unanswered = None
        self._port.works()
        is_refusal = bool(pdu[0] & EXCEPTION)
        if self._late:
            self._late.answered(request.shape, now, is_refusal)
        if is_refusal:
            self.counters.poll_errors[f"exception_{pdu[1]:02x}"] += 1
            raise RefusedError(pdu[1], request)
        return pdu

    # --- called by the link -------------------------------------------------------------------

    def received(self, link: MasterLink, data: bytes) -> None:
        """Take bytes from the line, at any time."""
        if link is not self._link:
            return
        if self._is_line:
            self._silence.restart()
        self._answered = True
        if self._tap is not None:
            self._tap.received(data)
        try:
            pdu = self._client.feed(data)
        except PeerError as error:
            self.counters.noise_bytes += len(data)
            self._drop()
            self._fail("crc", f"{error}; {NO_MBAP}")
            return
        unexpected = self._client.unexpected
        if unexpected.foreign or unexpected.noise_bytes:
            self._count(unexpected)
            self._silence.is_disturbed = True
        answer = self._answer
        if answer is None:
            self._silence.is_disturbed = True
            if pdu is not None:  # its request was cancelled
                self.counters.late_replies += 1
        elif pdu is not None:
            self._answer = None
            if not answer.done():
                answer.set_result(pdu)

    def lost(self, link: MasterLink, error: Exception | None) -> None:
        """Note that the connection ended by itself, or what its transport or the link raised."""
        if link is not self._link:
            return
        if error is None or isinstance(error, ConnectionError):
            is_net = not isinstance(self.bus, SerialBus)
            is_early = is_net and not (self._answered or self._again)
            if is_net and self._answer is not None and self._request is not None:
                self._give_up(self._request)
            self._drop()
            detail = f"{self.bus.where} was lost: {error or 'closed by peer'}"
            if is_net and not self._answered:
                detail += "; check that no other client holds its connection"
            if not (is_early and self._end(ClosedEarlyError("bus_timeout", detail))):
                self._fail("bus_timeout", detail)
        else:
            self._break("was lost", error)

    # --- inside -------------------------------------------------------------------------------

    def _tick(self) -> None:
        """Look at the deadline. One timer serves many requests: it is moved, not made anew."""
        try:
            self._look()
        except Exception as error:  # noqa: BLE001 - the request under way gets it
            self._break("cannot be used", error)

    def _look(self) -> None:
        now = self._loop.time()
        if now < self._tick_at:
            return  # an earlier deadline has taken its place, and was looked at
        self._tick_at = math.inf
        if self._answer is None:
            return
        late = now - self._deadline
        if late > STALL_S:
            # This process stood still, and the answer may lie in the port's buffer unread: a
            # device is not blamed for that.
            self._deadline = now + min(late, self._timeout_ms / 1000)
        if now < self._deadline:
            self._tick_at = self._deadline
            self._timers.call_at(self._deadline, self._tick)
            return
        self._expire()

    def _expire(self) -> None:
        request = self._request
        assert request is not None
        unexpected = self._client.finish()
        damaged = unexpected.damaged
        self._count(unexpected)
        unit = request.asked
        if self._is_contested and not damaged:
            cause, detail = why_contested(request)
        elif self._foreign is not None and not damaged:
            cause, detail = why_foreign(request, self._foreign)
        else:
            cause, detail = why_none(unit, unexpected, self.noise_bytes, self._timeout_ms)
            if cause == "bus_timeout" and self.counters.late_replies > self._late_before:
                detail += ", but one to an earlier request"
        if self.bus.has_ids and not self._answered:
            self._unanswered = unit
        self._give_up(request, came=bool(damaged))
        self._silent_requests = 0 if self._answered else self._silent_requests + 1
        if not isinstance(self.bus, SerialBus) and self._silent_requests >= SILENT_REQUESTS:
            # A half-open connection is silent for ever; a new one shows which it is.
            self._drop()
        self._fail(cause, detail)

    def _fail(self, cause: str, detail: str) -> None:
        """End the request under way without an answer, if there is one."""
        if self._end(BusError(cause, detail)):
            self.counters.poll_errors[cause] += 1

    def _end(self, error: Exception) -> bool:
        """End the request under way with an error; return whether there was one."""
        answer, self._answer = self._answer, None
        if answer is None or answer.done():
            return False
        answer.set_exception(error)
        return True

    def _break(self, what: str, error: Exception) -> None:
        """Close the connection after an exception in a callback; the request under way gets it."""
        if not isinstance(error, FATAL):
            if self._answer is not None and self._request is not None:
                self._give_up(self._request)
            self._end(self._fault(what, error))
        elif not self._end(error):
            raise error

    def _fault(self, what: str, error: Exception) -> BusDownError:
        """Close the connection after an exception that is no BusError; return it as one."""
        self._drop()
        return self._port.failed(what, error)

    def _give_up(self, request: Request, came: bool = False) -> None:
        """End a request without its answer. ``came``: the answer came, but damaged."""
        self._silence.is_disturbed = True
        if self._is_line and not came:
            self._late.add(request.shape, self._loop.time())

    def _count(self, unexpected: Unexpected) -> None:
        """Count what was no answer, once."""
        self.counters.noise_bytes += unexpected.noise_bytes
        self.noise_bytes += unexpected.noise_bytes
        request = self._request
        for shape in unexpected.others:
            self._port.shared_with_another(shape.unit)
            if request is not None and shape.unit == request.asked:
                self._is_contested |= shape == request.shape._replace(unit=shape.unit)
            elif shape.unit not in self._paces:
                continue  # nobody here asks it
            self._late.add(shape, self._loop.time())
        for shape in unexpected.foreign:
            if shape.data_bytes == LATE:
                self.counters.late_replies += 1
                self._extend()
            elif self._late.take(shape):
                self.counters.late_replies += 1
            else:
                self.counters.foreign_answers += 1
                self._foreign = shape
        unexpected.noise_bytes = 0
        unexpected.foreign.clear()
        unexpected.others.clear()

    def _extend(self) -> None:
        """Give the request under way its time anew: until now the peer was busy with another one.

        A gateway box asks for one device at a time, and waits for one that is silent.
        """
        timeout_s = self._timeout_ms / 1000
        latest = self._last_sent + PATIENCE * timeout_s
        self._deadline = max(self._deadline, min(self._loop.time() + timeout_s, latest))

    async def _ready(self, unit: int, pace: UnitPace) -> asyncio.Transport:
        """Connect if need be, and wait until the unit, its bus and the line take a request."""
        transport = self._transport or await self._connect()
        if self._is_line or self._is_spaced:
            await self._keep_distance(unit, pace)
            if self._transport is not transport:  # lost meanwhile
                transport = self._transport or await self._connect()
        return transport

    async def _keep_distance(self, unit: int, pace: UnitPace) -> None:
        """Wait until the unit, its bus and the line are ready for a request."""
        if self._is_spaced:
            last = self._ended.get(unit, -pace.gap_s) + pace.gap_s
            last = max(last, self._ended.get(_ANY, -self._gap_s) + self._gap_s)
            await self._silence.until(last)
        if self._is_line:
            await self._silence.fall()
            if self._silence.is_disturbed:
                self._count(self._client.finish())
                self._silence.is_disturbed = False

    async def _connect(self) -> asyncio.Transport:
        link = MasterLink(self)
        transport = await self._port.open(link)
        self._link = link
        self._transport = transport
        self._silent_requests = 0
        self._unanswered = None
        self._client = client_of(self.bus)
        delay_ms = self.bus.connect_delay_ms
        if delay_ms:
            await asyncio.sleep(delay_ms / 1000)
            if self._transport is not transport:
                detail = f"{self.bus.where} closed the connection within {delay_ms} ms"
                self.counters.poll_errors["bus_timeout"] += 1
                raise BusError("bus_timeout", detail)
        self._silence.restart()
        return transport

    def _drop(self, politely: bool = False) -> None:
        """Let go of the connection; the next request opens it again.

        ``politely``: it works, and the peer is to see a proper end of it.
        """
        transport, self._transport, self._link = self._transport, None, None
        if transport is not None:
            try:
                if politely:
                    transport.close()
                else:
                    transport.abort()
            except FATAL:
                raise
            except Exception as error:  # noqa: BLE001 - it is closed all the same
                self._port.failed("cannot be closed", error)

    def close(self) -> None:
        """Close the bus. A request under way fails."""
        self._silence.close()
        self._drop()
        self._fail("bus_timeout", "the bus was closed")
