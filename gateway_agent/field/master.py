"""One bus: at most one request under way, and every answer the one to that request.

A serial line has no transaction ids. An answer that comes after its request was given up would be
taken for the answer to the next one, silently. So:

* after a request without a good answer the line must be silent before the next is sent;
* a unit that still *owes* an answer is first asked for something whose answer has a length no
  owed one has. Units answer in order, so with that answer everything owed has come or never will.

Whatever is no answer is counted by what it is: late, of another unit, damaged, noise.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from pymodbus.transport.serialtransport import create_serial_connection

from gateway_agent.config import Bus
from gateway_agent.counters import Counters

from .frames import (
    LATE,
    FramingError,
    MbapScanner,
    Request,
    RtuScanner,
    Scanner,
    Shape,
    Tally,
    identify_request,
    read_request,
)
from .planner import Read, answer_ms, request_ms, silence_ms

CONNECT_S: Final = 5.0
RECONNECT_S: Final = (0.5, 30.0)  # first wait and longest wait between attempts
SILENT_REQUESTS: Final = 3  # on TCP: this many in a row without one byte, and the peer is gone
DRAIN_S: Final = 2.0  # a line that never falls silent is used all the same after this time
STALL_S: Final = 0.005  # a timer this late was held up by the process or the machine
OWED_S: Final = 60.0  # an answer later than this is not waited for any more
PROBE_WORDS: Final = 8  # probes ask for 1 to this many registers, so their answers differ
_VARIABLE_CHARS: Final = 128  # registers' worth of time for an answer of unknown length


class BusError(Exception):
    """A request without a good answer. ``cause`` is a gap cause (protocols/uplink/record.py)."""

    def __init__(self, cause: str, detail: str) -> None:
        super().__init__(f"{cause}: {detail}")
        self.cause = cause
        self.detail = detail


class BusDownError(BusError):
    """The port cannot be opened or the connection is gone; nothing was sent."""


class RefusedError(BusError):
    """The unit answered with an exception code (Modbus Application Protocol V1.1b3, 7)."""

    def __init__(self, code: int, request: Request) -> None:
        unit, function, _ = request.shape
        what = f"unit {unit} refused function {function} with exception {code:02X}"
        if request.read is not None:
            what += f" (registers {request.read.address} + {request.read.words})"
        super().__init__("exception", what)
        self.code = code


class _Link(asyncio.Protocol):
    """Hands bytes and the end of the connection to the master."""

    def __init__(self, master: "Master") -> None:
        self.master = master
        self.transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.master.received(self, data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.master.lost(self, exc)


class Master:
    """The only writer on its bus. Use from one task; ``close`` may be called from any."""

    def __init__(self, bus: Bus, counters: Counters) -> None:
        self.bus = bus
        self.counters = counters
        self.reconnects = 0
        self._loop = asyncio.get_running_loop()
        self._serial_rules = bus.type != "tcp"
        self._scanner: Scanner = RtuScanner() if self._serial_rules else MbapScanner()
        self._link: _Link | None = None
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[bytes] | None = None
        self._request: Request | None = None
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._last_byte = 0.0  # loop time of the last byte heard or request sent
        self._heard = False  # bytes came since the last request was sent
        self._stranger: Shape | None = None  # who answered instead, for the request under way
        self._noise = 0
        self._dirty = False  # the line must be silent before the next request
        self._owed: dict[int, dict[Shape, float]] = {}
        self._silent = 0
        self._retry_at = 0.0
        self._why_down = ""
        self._retry_wait = RECONNECT_S[0]
        self._fixed_s = (request_ms(bus) + bus.timeout_ms + 2 * silence_ms(bus)) / 1000
        self._silence_s = silence_ms(bus) / 1000

    async def read(self, request: Request) -> bytes:
        """The register bytes of one read. BusError if there is no good answer.

        If the unit owes an answer of the same shape, it is probed first.
        """
        if self._owed and self._owes(request.shape):
            assert request.read is not None
            await self.probe(request.shape.unit, request.read)
        return (await self._ask(request))[2:]

    async def probe(self, unit: int, read: Read) -> None:
        """Ask for a few registers from where ``read`` begins; returns if the unit answers at all.

        An exception is an answer. BusError if there is none.
        """
        shapes = [
            Shape(unit, read.function, 2 * words)
            for words in range(1, PROBE_WORDS + 1)
            if words != read.words
        ]
        owed = self._owed.get(unit, {})
        # When every length is owed, the one owed for longest is the least likely to come yet.
        shape = min(shapes, key=lambda item: owed.get(item, 0.0))
        probe = read_request(unit, read._replace(words=shape.data_bytes // 2))
        try:
            await self._ask(probe)
        except RefusedError:
            return

    async def identify(self, unit: int, access: int, object_id: int) -> bytes:
        """The answer PDU to a device identification request. BusError if there is none."""
        return await self._ask(identify_request(unit, access, object_id))

    def _owes(self, shape: Shape) -> bool:
        owed = self._owed.get(shape.unit)
        if not owed:
            return False
        now = self._loop.time()
        for old in [old for old, since in owed.items() if now - since > OWED_S]:
            del owed[old]
        return shape in owed

    async def _ask(self, request: Request) -> bytes:
        """One request and its answer PDU."""
        loop = self._loop
        transport = self._transport
        if transport is None:
            transport = await self._connect()
        if self._serial_rules:
            await self._fall_silent()
            if self._transport is None:  # lost meanwhile
                transport = await self._connect()
        future: asyncio.Future[bytes] = loop.create_future()
        self._waiting = future
        self._request = request
        self._heard = False
        self._stranger = None
        self._noise = 0
        data_bytes = request.shape.data_bytes
        words = data_bytes // 2 if data_bytes > 0 else _VARIABLE_CHARS
        self._last_byte = now = loop.time()
        self._deadline = now + self._fixed_s + answer_ms(self.bus, words) / 1000
        if self._timer is not None and self._timer.when() > self._deadline:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = loop.call_at(self._deadline, self._tick)
        transport.write(self._scanner.begin(request))
        self.counters.polls += 1
        try:
            pdu = await future
        except asyncio.CancelledError:
            self._waiting = None
            self._owe(request)
            raise
        self._silent = 0
        if self._owed:
            self._owed.pop(request.shape.unit, None)
        if pdu[0] & 0x80:
            self.counters.poll_errors[f"exception_{pdu[1]:02x}"] += 1
            raise RefusedError(pdu[1], request)
        return pdu

    # --- called by the link -------------------------------------------------------------------

    def received(self, link: _Link, data: bytes) -> None:
        """Bytes from the line, at any time."""
        if link is not self._link:
            return
        if self._serial_rules:
            self._last_byte = self._loop.time()
        self._heard = True
        try:
            pdu = self._scanner.feed(data)
        except FramingError as error:
            self.counters.noise_bytes += len(data)
            self._drop()
            self._fail("crc", str(error))
            return
        tally = self._scanner.tally
        if tally.strangers or tally.noise:
            self._account(tally)
            self._dirty = True
        waiting = self._waiting
        if waiting is None:
            self._dirty = True
            if pdu is not None:  # its request was cancelled
                self.counters.late_replies += 1
        elif pdu is not None:
            self._waiting = None
            if not waiting.done():
                waiting.set_result(pdu)

    def lost(self, link: _Link, error: Exception | None) -> None:
        """The connection ended by itself."""
        if link is self._link:
            self._drop()
            self._fail("bus_timeout", f"{self.bus.where} was lost: {error or 'closed by peer'}")

    # --- inside -------------------------------------------------------------------------------

    def _tick(self) -> None:
        """One timer for all requests: most are answered, so it is moved, not made anew."""
        self._timer = None
        if self._waiting is None:
            return
        now = self._loop.time()
        late = now - self._deadline
        if late > STALL_S:
            # This process stood still, and the answer may lie in the port's buffer unread: a
            # device is not blamed for that.
            self._deadline = now + min(late, self.bus.timeout_ms / 1000)
        if now < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._tick)
            return
        self._expire()

    def _expire(self) -> None:
        request = self._request
        assert request is not None
        tally = self._scanner.finish()
        damaged = tally.bad_crc
        self._account(tally)
        unit = request.shape.unit
        if damaged:
            cause, detail = "crc", f"unit {unit}: answer damaged or cut short"
        elif self._stranger is not None:
            other, function, _ = self._stranger
            cause = "wrong_unit"
            detail = f"unit {unit} asked, unit {other} answered function {function}"
        elif self._noise:
            cause, detail = "crc", f"unit {unit}: {self._noise} bytes that are no frame"
        else:
            cause = "bus_timeout"
            detail = f"unit {unit}: no answer within {self.bus.timeout_ms} ms"
        self._owe(request)
        self._silent = 0 if self._heard else self._silent + 1
        if self.bus.type != "rtu" and self._silent >= SILENT_REQUESTS:
            # A half-open connection is silent for ever; a new one shows which it is.
            self._drop()
        self._fail(cause, detail)

    def _fail(self, cause: str, detail: str) -> None:
        """End the request under way without an answer, if there is one."""
        waiting = self._waiting
        self._waiting = None
        if waiting is not None and not waiting.done():
            self.counters.poll_errors[cause] += 1
            waiting.set_exception(BusError(cause, detail))

    def _owe(self, request: Request) -> None:
        self._dirty = True
        if self._serial_rules:
            owed = self._owed.setdefault(request.shape.unit, {})
            owed[request.shape] = self._loop.time()

    def _account(self, tally: Tally) -> None:
        """Count what was no answer, once."""
        self.counters.noise_bytes += tally.noise
        self._noise += tally.noise
        for shape in tally.strangers:
            if shape.data_bytes == LATE or self._was_owed(shape):
                self.counters.late_replies += 1
            else:
                self.counters.foreign_answers += 1
                self._stranger = shape
        tally.noise = 0
        tally.strangers.clear()

    def _was_owed(self, shape: Shape) -> bool:
        owed = self._owed.get(shape.unit, {})
        for old in owed:
            if old.function == shape.function & 0x7F and (
                old == shape or shape.function & 0x80 or -1 in (old.data_bytes, shape.data_bytes)
            ):
                del owed[old]
                return True
        return False

    async def _fall_silent(self) -> None:
        """Wait for t3.5 since the last byte, or for real silence on a disturbed line."""
        loop = self._loop
        wait = self._silence_s
        if self._dirty:
            wait = max(wait, self.bus.quiet_ms / 1000)
        limit = loop.time() + DRAIN_S
        while True:
            now = loop.time()
            rest = self._last_byte + wait - now
            if rest <= 0 or now >= limit:
                break
            await asyncio.sleep(min(rest, limit - now))
            if self._dirty:
                wait = max(wait, self.bus.quiet_ms / 1000)
        if self._dirty:
            self._account(self._scanner.finish())
            self._dirty = False

    async def _connect(self) -> asyncio.Transport:
        loop = self._loop
        rest = self._retry_at - loop.time()
        if rest > 0:
            raise BusDownError("bus_timeout", self._why_down)
        link = _Link(self)
        try:
            async with asyncio.timeout(CONNECT_S):
                transport = await self._open(lambda: link)
        except (OSError, ValueError, TimeoutError) as error:
            self._retry_at = loop.time() + self._retry_wait
            self._retry_wait = min(self._retry_wait * 2, RECONNECT_S[1])
            self.counters.poll_errors["bus_down"] += 1
            # The path stands in the text of some errors only, and a timeout has no text at all.
            reason = str(error) or f"no connection within {CONNECT_S:.0f} s"
            self._why_down = f"{self.bus.where} cannot be opened: {reason}"
            raise BusDownError("bus_timeout", self._why_down) from error
        self._retry_wait = RECONNECT_S[0]
        self._link = link
        self._transport = transport
        self._silent = 0
        self.reconnects += 1
        self._scanner = RtuScanner() if self._serial_rules else MbapScanner()
        self._last_byte = loop.time()
        return transport

    async def _open(self, link: Callable[[], _Link]) -> asyncio.Transport:
        bus = self.bus
        if bus.type == "rtu":
            # pymodbus' transport: pyserial under asyncio, exclusive, raw, input flushed.
            transport, _ = await create_serial_connection(
                self._loop,
                link,
                str(bus.port),
                baudrate=bus.baudrate,
                bytesize=8,
                parity=bus.parity,
                stopbits=bus.stopbits,
                timeout=0,
            )
            await asyncio.sleep(0)  # it registers with the loop in a callback of its own
            return transport
        assert bus.host is not None  # the configuration's check
        connected, _ = await self._loop.create_connection(link, bus.host, int(bus.port))
        return connected

    def _drop(self) -> None:
        """Let go of the connection; the next request opens it again."""
        transport, self._transport, self._link = self._transport, None, None
        if transport is not None:
            transport.abort()

    def close(self) -> None:
        """Close the bus. A request under way fails."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._drop()
        self._fail("bus_timeout", "the bus was closed")
