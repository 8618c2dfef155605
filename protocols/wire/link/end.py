"""One end of the link without I/O: bytes and the time go in, events and frames come out.

The caller gives what came to :meth:`LinkEnd.feed`, asks :meth:`LinkEnd.next_event` until it returns
NO_EVENT, sends what :meth:`LinkEnd.poll` says until that returns 0, and sleeps for
:meth:`LinkEnd.wait_ms`. Nothing here blocks, and nothing grows: every buffer has its size from the
constructor on.

``feed``, ``poll``, ``send`` and ``wait_ms`` allocate nothing on MicroPython but what sealing and
checking of frames frees again (:mod:`.frame`, :mod:`.session`); opening a session, and a message
that is handed out, allocate.
"""

from micropython import const

from protocols.wire.errors import BAD_VALUE, LocalError

from .frame import (
    ACK,
    BYE,
    DATA,
    HEADER,
    MAX_FRAME,
    MIN_FRAME,
    REFUSE,
    TIME,
    FrameReader,
    FrameWriter,
    payload_room,
)
from .incoming import Incoming
from .messages import CHANNELS, EXHAUSTED, SILENCE, SILENCE_MS
from .opening import OpeningFrames
from .outgoing import Outgoing
from .pace import LinePace
from .round_trip import RoundTrip
from .session import FORGED, LAST_COUNTER, REPEATED, LinkSession

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from protocols.wire.ports import TicksDiff

# What next_event returns.
NO_EVENT = 0
OPENED = 1  # a session; a former one has ended
CLOSED = 2  # reason
MESSAGE = 3  # channel, message, mark
TIMED = 4  # the gateway's: the offset of the node's clock was measured
REFUSED = 5  # reason: the other end refuses what was sent to open a session

_CHANNEL_NUMBERS = const(8)


def _difference(a: int, b: int) -> int:
    return a - b


class LinkCounters:
    """What an end counts, in frames."""

    def __init__(self) -> None:
        self.frames = 0  # right ones that came
        self.sent = 0
        self.forged = 0  # a tag or a proof was wrong
        self.repeats = 0  # a counter came again, or is too old
        self.late = 0  # of no session that there is
        self.malformed = 0  # right, and against the definition all the same
        self.refused = 0  # REFUSE that came
        self.refusals = 0  # what this end refused
        self.flooded = 0  # more to open a session than is answered
        self.sessions = 0


class LinkEnd:
    """What node and gateway have in common."""

    def __init__(
        self,
        sends: "tuple[int, ...]",
        queues: "dict[int, int]",
        takes: "tuple[int, ...]",
        slots: int,
        packets: int,
        held: "tuple[int, ...]",
        largest: int,
        baud: int,
        ticks_diff: "TicksDiff | None",
    ) -> None:
        if not MIN_FRAME <= largest <= MAX_FRAME:
            raise LocalError(BAD_VALUE, "largest frame", -1, "256 to 512", largest)
        self.counters = LinkCounters()
        self.is_open = False
        self.channel = 0
        self.message = memoryview(b"")
        self.mark = 0
        self.reason = 0
        self.trip = RoundTrip()
        self._largest = largest
        self._diff = ticks_diff or _difference
        self._reader = FrameReader()
        self._writer = FrameWriter()
        self.tx = self._writer.tx
        self._outs: list[Outgoing] = []  # by priority
        self._ins: list[Incoming] = []
        self._out: list[Outgoing | None] = [None] * _CHANNEL_NUMBERS
        self._in: list[Incoming | None] = [None] * _CHANNEL_NUMBERS
        for number, kept in CHANNELS:
            if number in sends:
                out = Outgoing(number, kept, queues[number], packets, self.trip, self._diff)
                self._outs.append(out)
                self._out[number] = out
            if number in takes:
                room = payload_room(largest)
                incoming = Incoming(number, slots, room, number in held)
                self._ins.append(incoming)
                self._in[number] = incoming
        self._session: LinkSession | None = None
        self._opening = OpeningFrames(self._diff)
        self._pace = LinePace(baud, self._diff)
        self._heard_ms = 0
        self._bye = -1
        self._stopped = False
        self._was_opened = False
        self._was_timed = False
        self._closed_reason = -1
        self._refused_reason = -1
        self._idle = True

    # --- messages ---------------------------------------------------------------------------

    def send(self, channel: int, message: bytes | bytearray | memoryview, length: int = -1) -> bool:
        """Queue ``message[:length]`` (all of it by default); False if there is no room now.

        A kept channel queues without a session too. LocalError for a channel that this end does
        not send on, and for a message that never fits.
        """
        return self._sender(channel).put(message, len(message) if length < 0 else length)

    def room(self, channel: int) -> int:
        """Return how long the next message of a channel may be; 0: none now."""
        return self._sender(channel).room()

    def longest(self, channel: int) -> int:
        """Return how long a message of a channel may be at all; 0: there is no session for it."""
        return self._sender(channel).longest()

    def advised(self, channel: int) -> int:
        """Return how long a message should be that can be shorter: less where frames get lost."""
        return self._sender(channel).advised()

    def waiting(self, channel: int) -> int:
        """Return the bytes that the other end has not taken over, lengths included."""
        return self._sender(channel).waiting()

    def drop_oldest(self, channel: int) -> bool:
        """Drop the oldest message that was not sent yet; False if there is none."""
        return self._sender(channel).drop_oldest()

    def taken(self, channel: int, mark: int) -> None:
        """Let go of what was handed out of a held channel until ``self.mark`` was ``mark``."""
        incoming = self._in[channel]
        if incoming is None or not incoming.held:
            raise LocalError(BAD_VALUE, "channel", -1, "a held one", channel)
        incoming.take_over(mark)

    def _sender(self, channel: int) -> Outgoing:
        out = self._out[channel]
        if out is None:
            raise LocalError(BAD_VALUE, "channel", -1, "one that this end sends on", channel)
        return out

    # --- what comes -------------------------------------------------------------------------

    def feed(self, data: bytes | bytearray | memoryview, length: int, now_ms: int) -> None:
        """Take ``data[:length]``, which came until ``now_ms``; LocalError if it has fewer bytes."""
        if not 0 <= length <= len(data):
            raise LocalError(BAD_VALUE, "length", -1, len(data), length)
        reader = self._reader
        at = 0
        while at < length:
            at = reader.feed(data, at, length)
            if reader.size:
                self._frame(reader.content, reader.size, now_ms)

    def resent(self) -> int:
        """Return how many packets were sent again."""
        count = 0
        for out in self._outs:
            count += out.resent
        return count

    def noise_bytes(self) -> int:
        """Return how many bytes came that were no frame."""
        return self._reader.noise_bytes

    def next_event(self) -> int:
        """Return what happened, in the order of the constants; NO_EVENT when that was all."""
        if self._closed_reason >= 0:
            self.reason = self._closed_reason
            self._closed_reason = -1
            return CLOSED
        if self._was_opened:
            self._was_opened = False
            return OPENED
        if self._refused_reason >= 0:
            self.reason = self._refused_reason
            self._refused_reason = -1
            return REFUSED
        if self._was_timed:
            self._was_timed = False
            return TIMED
        if self.is_open:
            for incoming in self._ins:
                if incoming.next():
                    self.channel = incoming.number
                    at = incoming.at
                    self.message = incoming.view[at : at + incoming.length]
                    self.mark = incoming.handed
                    return MESSAGE
        return NO_EVENT

    def _frame(self, content: bytearray, size: int, now_ms: int) -> None:
        kind = content[0]
        if kind < DATA:
            if self._stopped:
                return
            length = content[4] << 8 | content[5]
            payload = bytes(self._reader.view[HEADER : HEADER + length])
            if kind == REFUSE:
                self.counters.refused += 1
                if payload:
                    self._refused_reason = payload[0]
            else:
                self._opening_frame(kind, payload, now_ms)
            return
        counters = self.counters
        session = self._session
        verdict = FORGED
        if session is not None:
            verdict = session.check(content, self._reader.view, size)
        if verdict == FORGED and self._confirmed(content, size, now_ms):
            session = self._session
            verdict = 0
        if session is None:
            counters.late += 1
            self._stray()
        elif verdict == FORGED:
            counters.forged += 1
        elif verdict == REPEATED:
            counters.repeats += 1
        else:
            counters.frames += 1
            self._heard_ms = now_ms
            self._heard(kind)
            self._session_frame(session, kind, content, now_ms)

    def _session_frame(
        self, session: LinkSession, kind: int, content: bytearray, now_ms: int
    ) -> None:
        channel = content[1]
        sequence = content[2] << 8 | content[3]
        length = content[4] << 8 | content[5]
        if kind == DATA:
            incoming = self._in[channel] if channel < _CHANNEL_NUMBERS else None
            if incoming is not None:
                incoming.put(sequence, content, HEADER, length)
                return
        elif kind == ACK:
            out = self._out[channel] if channel < _CHANNEL_NUMBERS else None
            if out is not None and length == 6:
                counter = session.counter
                if out.acknowledged(sequence, content, HEADER, counter, now_ms):
                    return
        elif kind == TIME:
            if self._time_frame(content, length, now_ms):
                return
        elif kind == BYE and length == 1:
            self._end_session(content[HEADER])
            return
        self.counters.malformed += 1

    # --- what goes --------------------------------------------------------------------------

    def close(self, reason: int) -> None:
        """Send a BYE with STOPPING or RESTARTING, if there is a session, and then nothing more."""
        self._stopped = True
        if self.is_open:
            self._bye = reason

    def poll(self, now_ms: int) -> int:
        """Return n > 0: send ``tx[:n]`` now, before the next call; 0: nothing may be sent now."""
        if self._pace.wait_ms(now_ms):
            return 0
        self._run_timers(now_ms)
        end = self._next_frame(now_ms)
        if not end:
            self._idle = True
            return 0
        length = self._writer.finish(end, self._idle)
        self._idle = False
        self.counters.sent += 1
        self._pace.sent(length)
        return length

    def wait_ms(self, now_ms: int) -> int:
        """Return the milliseconds until :meth:`poll` has a frame without new bytes; -1: never."""
        if self._stopped and self._bye < 0:
            return -1
        wait = self._timer_ms(now_ms)
        if self._opening.due():
            wait = 0
        if self.is_open:
            if self._bye >= 0:
                wait = 0
            for incoming in self._ins:
                if incoming.ack_due:
                    wait = 0
            for out in self._outs:
                wait = sooner(wait, out.wait_ms(now_ms))
            wait = sooner(wait, max(0, SILENCE_MS - self._diff(now_ms, self._heard_ms)))
        return max(wait, self._pace.wait_ms(now_ms)) if wait >= 0 else wait

    def _next_frame(self, now_ms: int) -> int:
        """Write the next frame without its CRC; return where it ends, 0 if there is none."""
        writer = self._writer
        content = writer.content
        if self._stopped and self._bye < 0:
            return 0
        kind = self._opening.due()
        if kind:
            payload = self._opening.take(kind)
            length = len(payload)
            content[HEADER : HEADER + length] = payload
            return writer.header(kind, 0, 0, length)
        session = self._session
        if session is None:
            return 0
        end = 0
        if self._bye >= 0:
            content[HEADER] = self._bye
            end = writer.header(BYE, 0, 0, 1)
        else:
            end = self._write_time(content, now_ms)
            if end:
                end = writer.header(TIME, 0, 0, end)
            else:
                end = self._next_ack(content) or self._next_data(content, now_ms)
        if end:
            end = session.seal(content, writer.view, end)
            if self._bye >= 0:
                reason = self._bye
                self._bye = -1
                self._end_session(reason)
            elif session.sent >= LAST_COUNTER:
                self._end_session(EXHAUSTED)
        return end

    def _next_ack(self, content: bytearray) -> int:
        for incoming in self._ins:
            if incoming.ack_due:
                incoming.write_ack(content, HEADER)
                return self._writer.header(ACK, incoming.number, incoming.taken, 6)
        return 0

    def _next_data(self, content: bytearray, now_ms: int) -> int:
        for out in self._outs:
            if out.wait_ms(now_ms) == 0:
                sequence = out.next(now_ms)
                length = out.copy(sequence, content, HEADER)
                return self._writer.header(DATA, out.number, sequence, length)
        return 0

    # --- session ----------------------------------------------------------------------------

    def _begin_session(self, session: LinkSession, now_ms: int) -> None:
        self._session = session
        self.is_open = True
        self._was_opened = True
        self._heard_ms = now_ms
        self.counters.sessions += 1
        self.trip.start(self._pace.frame_ms(session.largest))
        room = payload_room(session.largest)
        for out in self._outs:
            out.open(room, session.window, now_ms)
        for incoming in self._ins:
            incoming.open()

    def _end_session(self, reason: int) -> None:
        if self.is_open:
            self.is_open = False
            self._session = None
            self._closed_reason = reason
            self._was_opened = self._was_timed = False
            for out in self._outs:
                out.close()

    def _run_timers(self, now_ms: int) -> None:
        if self.is_open and self._diff(now_ms, self._heard_ms) >= SILENCE_MS:
            self._end_session(SILENCE)
        if not self._stopped:
            self._timers(now_ms)

    def _too_many(self, kind: int, now_ms: int) -> bool:
        """Whether a frame that opens a session is one too many in this second."""
        if not self._opening.too_many(kind, now_ms):
            return False
        self.counters.flooded += 1
        return True

    def _refuse(self, reason: int) -> None:
        self.counters.refusals += 1
        self._opening.put(REFUSE, bytes((reason,)))

    # --- what node and gateway do each in their way -----------------------------------------

    def _opening_frame(self, kind: int, payload: bytes, now_ms: int) -> None:
        """Deal with a frame that opens a session."""

    def _confirmed(self, content: bytearray, size: int, now_ms: int) -> bool:
        """Whether a frame is the first of the session that waits for its confirmation."""
        return False

    def _stray(self) -> None:
        """Note a session frame that came without a session."""

    def _heard(self, kind: int) -> None:
        """Note a right frame of the session."""

    def _timers(self, now_ms: int) -> None:
        """Put what is due now where poll finds it."""

    def _timer_ms(self, now_ms: int) -> int:
        """Return the milliseconds until the next timer; -1: never."""
        return -1

    def _time_frame(self, content: bytearray, length: int, now_ms: int) -> bool:
        """Deal with a TIME; False if it is none of those that are due."""
        return False

    def _write_time(self, content: bytearray, now_ms: int) -> int:
        """Write the payload of a TIME that is due; return its length, 0 if none is."""
        return 0


def sooner(a: int, b: int) -> int:
    """Return the shorter of two waits, of which -1 means never."""
    if a < 0 or 0 <= b < a:
        return b
    return a
