"""The device's side of HJ 212: brings uploads to a platform and answers its commands.

A state machine without a socket or a clock. :meth:`Hj212Device.receive`, :meth:`~Hj212Device.tick`
and :meth:`~Hj212Device.upload` are given the moment; what has to go out is fetched with
:meth:`~Hj212Device.outgoing`, when to call again is :meth:`~Hj212Device.next_ms`. What is not
answered within ``OverTime`` is sent again with the same QN, ``ReCount`` times; then the link is
given up (HJ 212-2017, chapter 6). What waits for its answer survives a connection and is sent
again, with its QN, on the next: a platform that had it already sees a repeat, not a second value.
The same holds after a restart if the program keeps what :meth:`Hj212Device.take_numbers` returns
before it sends the bytes.
"""

from collections import deque
from dataclasses import replace
from typing import Final, Literal

from protocols.wire.errors import BAD_ORDER, LocalError

from .answers import ANSWERS, ENDS_LOGIN, ENDS_NOTICE, TAKES_DATA, refusal
from .beijing import data_time
from .commands import (
    EXE_BUSY,
    EXE_CONDITION,
    EXE_DONE,
    EXE_FAILED,
    EXE_NO_DATA,
    QN_CN,
    QN_READY,
)
from .dialect import QnForm
from .events import (
    FrameRefused,
    Hj212Event,
    Hj212Upload,
    LinkGivenUp,
    NoticeUnanswered,
    ParameterWanted,
    PlatformCommand,
    PlatformRefused,
    SettingsChanged,
    UploadDone,
)
from .frame import AcceptedFrame, Hj212Reader, RejectedFrame
from .frame_maker import FrameMaker
from .message import Body, Cipher, Hj212Message
from .options import Hj212Options, Hj212Settings
from .requests import CONTROL, PlatformAnswer, answer_command
from .site import Hj212Site, Moment
from .sm4 import Sm4Text
from .split import split_body
from .waiting import NO_KEY, Parts, Waiting

MAX_QUEUED: Final = 64  # uploads that wait to be sent
MAX_OUTGOING: Final = 65_536  # bytes: a platform that asks and does not read is answered no more
MAX_REFUSED: Final = 16  # frames that cannot be read in a row before the connection is to be closed
_READ_BYTES: Final = 1024  # read at once: what is behind too much noise costs nothing
_HISTORY_PAUSE: Final = 16_384  # bytes that wait to go out before history waits
_MAX_RUNNING: Final = 4  # commands that are answered at the same time
_REMEMBERED: Final = 32  # commands whose repeat is not executed again
_EXECUTED: Final = {"done": EXE_DONE, "refused": EXE_CONDITION, "failed": EXE_FAILED}


class Hj212Device:
    """One device at one platform; ``started_ms`` is when the logger began, for 2081.

    ``last_qn_ms``: of the newest request number that was used; new ones are above it unless the
    clock was then ahead by over an hour.
    """

    def __init__(
        self,
        options: Hj212Options,
        settings: Hj212Settings,
        site: Hj212Site,
        started_ms: int,
        last_qn_ms: int = 0,
    ) -> None:
        self.options = options
        self.settings = settings.checked()
        self.is_connected = False
        self.is_logged_in = False
        self.ignored = 0  # frames that answer nothing we sent, and commands while the line is full
        self._site = site
        self._started_ms = started_ms
        self._reader = Hj212Reader(options.dialect.checksum, self._cipher_in())
        self._out = bytearray()
        self._queue: deque[Parts] = deque()
        self._waiting: dict[str, Waiting] = {}
        self._parts: dict[int, Parts] = {}  # by key, from the first frame to the last answer
        self._running: deque[tuple[Hj212Message, PlatformAnswer, int]] = deque()
        self._setting: dict[tuple[str, str], Hj212Message] = {}  # their results come later
        self._done: dict[tuple[str, str], tuple[int, int | None]] = {}
        self._leaving: list[Waiting] = []  # will not be answered, and is not known to be sent
        self._numbered: set[int] = set()  # uploads with a new request number
        self._handed_out = 0  # so many of these were in what `outgoing` returned
        self._frames = FrameMaker(options, last_qn_ms)
        self._is_start_told = False
        self._refused = 0  # frames in a row
        self._next_beat_ms = 0
        self._events: list[Hj212Event] = []

    # -- the program's side ------------------------------------------------------------------

    @property
    def can_upload(self) -> bool:
        """Whether the queue has room."""
        return len(self._queue) < MAX_QUEUED

    @property
    def pending(self) -> int:
        """How many uploads are not done."""
        return len(self._parts) + sum(1 for parts in self._queue if not parts.qns)

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits: no upload, no answer of the platform, no command of its."""
        return not (self._queue or self._waiting or self._parts or self._running)

    @property
    def last_qn_ms(self) -> int:
        """The newest request number, as Unix time."""
        return self._frames.last_qn_ms

    def upload(self, upload: Hj212Upload, now: Moment) -> list[Hj212Event]:
        """Queue an upload; LocalError if the queue is full or one factor is too long."""
        if not self.can_upload:
            raise LocalError(BAD_ORDER, "uploads that wait", -1, MAX_QUEUED, len(self._queue))
        bodies = split_body(upload.body, self.options.dialect.encoding)
        self._queue.append(Parts(upload, deque(bodies), len(bodies)))
        self._pump(now)
        return self._taken()

    def drop(self, refused: PlatformRefused) -> int | None:
        """Forget an upload that the platform refused, without this it is sent again.

        Return its key; None if it is none of ours.
        """
        waiting = self._waiting.get(refused.qn)
        if waiting is None or waiting.key == NO_KEY:
            return None
        self._waiting = {qn: one for qn, one in self._waiting.items() if one.key != waiting.key}
        parts = self._parts.pop(waiting.key)
        if parts.bodies:
            self._queue.remove(parts)
        return waiting.key

    def connect(self, now: Moment) -> list[Hj212Event]:
        """Begin on a new connection: login, what waits for its answer, notices, the queue."""
        self.is_connected = True
        self.is_logged_in = not self.options.login_cn
        self._reader = Hj212Reader(self.options.dialect.checksum, self._cipher_in())
        self._out.clear()
        self._handed_out = 0
        self._running.clear()
        self._setting.clear()
        self._refused = 0
        self._next_beat_ms = now.boot_ms + self.options.heartbeat_s * 1000
        for qn in [qn for qn, waiting in self._waiting.items() if waiting.key == NO_KEY]:
            del self._waiting[qn]
        if self.options.login_cn:
            self._notice(self.options.login_cn, (), now)
        else:
            self._greet(now)
        return self._taken()

    def disconnect(self) -> None:
        """Keep what waits for its answer, forget what was half received or half answered."""
        self.is_connected = self.is_logged_in = False
        self._out.clear()
        self._running.clear()
        self._setting.clear()

    def receive(self, data: bytes, now: Moment) -> list[Hj212Event]:
        """Take bytes of the platform."""
        for at in range(0, len(data), _READ_BYTES):
            for found in self._reader.feed(data[at : at + _READ_BYTES]):
                if self._refused < MAX_REFUSED:
                    self._found(found, now)
            if self._refused == MAX_REFUSED:
                break
        self._pump(now)
        return self._taken()

    def _found(self, found: AcceptedFrame | RejectedFrame, now: Moment) -> None:
        if isinstance(found, RejectedFrame):
            self._refused += 1
            self._events.append(FrameRefused(found.error, self._refused == MAX_REFUSED))
            return
        self._refused = 0
        if found.message.cn in ANSWERS:
            self._answered(found.message, now)
        else:
            self._command(found.message, now)

    def executed(
        self,
        wanted: ParameterWanted,
        outcome: Literal["done", "refused", "failed"],
        detail: str,
        now: Moment,
    ) -> list[Hj212Event]:
        """Answer a parameter that was wanted; nothing on another connection than it came from."""
        message = self._setting.pop((wanted.cn, wanted.qn), None)
        if message is not None:
            exe_return = _EXECUTED[outcome]
            self._reply("9012", "ExeRtn", exe_return, message)
            answer = PlatformAnswer(QN_READY, exe_return, detail=detail)
            self._finish(message, answer, exe_return, now)
        return self._taken()

    def tick(self, now: Moment) -> list[Hj212Event]:
        """Do what is due."""
        if self.is_connected:
            for waiting in list(self._waiting.values()):
                if now.boot_ms >= waiting.due_ms:
                    self._again(waiting, now)
            beats = self.options.heartbeat_s and self.is_logged_in
            if beats and now.boot_ms >= self._next_beat_ms:
                self._next_beat_ms = now.boot_ms + self.options.heartbeat_s * 1000
                self._notice("9015", (), now)
            self._pump(now)
        return self._taken()

    def next_ms(self) -> int | None:
        """Return when :meth:`tick` is due, by the steady clock; None while nothing is."""
        if not self.is_connected:
            return None
        due = [waiting.due_ms for waiting in self._waiting.values()]
        if self.options.heartbeat_s and self.is_logged_in:
            due.append(self._next_beat_ms)
        return min(due, default=None)

    @property
    def has_numbers(self) -> bool:
        """Whether :meth:`take_numbers` has something to return."""
        return bool(self._numbered)

    def take_numbers(self) -> dict[int, tuple[str, ...]]:
        """Return all numbers of uploads that got one since the last call, by key.

        To be kept before :meth:`outgoing` is called: its bytes have these numbers.
        """
        numbered, self._numbered = self._numbered, set()
        return {key: tuple(self._parts[key].qns) for key in numbered if key in self._parts}

    def outgoing(self, now: Moment) -> bytes:
        """Return the bytes to send, and go on with what waited for room.

        What it returned the time before is sent by now.
        """
        gone, self._leaving = self._leaving[: self._handed_out], self._leaving[self._handed_out :]
        for sent in gone:
            parts = self._parts[sent.key]
            parts.unanswered -= 1
            self._end_part(parts, is_acknowledged=False)
        self._handed_out = len(self._leaving)
        data = bytes(self._out)
        self._out.clear()
        self._pump(now)
        return data

    # -- sending -----------------------------------------------------------------------------

    def _cipher_in(self) -> Cipher | None:
        return Sm4Text(self.settings.key).decrypt if self.settings.key else None

    def _frame(self, waiting: Waiting) -> bytes:
        is_data = waiting.key != NO_KEY
        return self._frames.frame(
            self.settings,
            waiting.cn,
            waiting.body,
            waiting.qn,
            self.options.sets_ack_flag and (is_data or self.options.awaits_ack),
            part=waiting.part,
            is_backfill=waiting.is_backfill,
        )

    def _send(self, waiting: Waiting, now: Moment) -> None:
        self._out += self._frame(waiting)
        waiting.due_ms = now.boot_ms + self.settings.over_time_s * 1000
        if self.options.awaits_ack:
            self._waiting[waiting.qn] = waiting
        elif waiting.key != NO_KEY:
            self._leaving.append(waiting)

    def _notice(self, cn: str, body: Body, now: Moment) -> None:
        ends = ENDS_LOGIN if cn == self.options.login_cn else ENDS_NOTICE
        self._send(Waiting(cn, self._frames.new_qn(now), body, ends), now)

    def _greet(self, now: Moment) -> None:
        self.is_logged_in = True
        for waiting in self._waiting.values():
            if waiting.key != NO_KEY:
                waiting.tries = 1
                waiting.due_ms = now.boot_ms + self.settings.over_time_s * 1000
                self._out += self._frame(waiting)
        for waiting in self._leaving:
            self._out += self._frame(waiting)
        moment = ("DataTime", data_time(now.unix_ms, self.options.data_time_digits))
        for cn in self.options.on_connect:
            body: Body = ()
            if cn == "2081":  # once, annex C.24
                if self._is_start_told:
                    continue
                self._is_start_told = True
                body = ((moment,), (("RestartTime", data_time(self._started_ms)),))
            elif cn == "1001":
                found = self._site.information("1001", "", "")
                if not found:
                    continue
                body = found[0]
            self._notice(cn, body, now)
        self._pump(now)

    def _pump(self, now: Moment) -> None:
        """Send what may be sent now."""
        if not self.is_connected or not self.is_logged_in:
            return
        window = self.options.window if self.options.awaits_ack else MAX_QUEUED
        while self._queue and len(self._out) < _HISTORY_PAUSE:
            busy = sum(1 for waiting in self._waiting.values() if waiting.key != NO_KEY)
            busy += len(self._leaving)
            if busy >= window:
                break
            self._send_part(self._queue[0], now)
            if not self._queue[0].bodies:
                self._queue.popleft()
        while self._running and len(self._out) < _HISTORY_PAUSE:
            self._go_on(now)

    def _send_part(self, parts: Parts, now: Moment) -> None:
        upload = parts.upload
        if len(parts.qns) < len(upload.qns):
            qn = upload.qns[len(parts.qns)]
        else:
            qn = self._frames.new_qn(now)
            self._numbered.add(upload.key)
        body = parts.bodies.popleft()
        part = None if parts.count == 1 else (parts.count - len(parts.bodies), parts.count)
        parts.qns.append(qn)
        self._parts[upload.key] = parts
        parts.unanswered += 1
        waiting = Waiting(
            upload.cn, qn, body, TAKES_DATA, upload.key, part, is_backfill=upload.is_backfill
        )
        self._send(waiting, now)

    def _end_part(self, parts: Parts, *, is_acknowledged: bool) -> None:
        if not parts.bodies and not parts.unanswered:
            upload = parts.upload
            del self._parts[upload.key]
            self._events.append(
                UploadDone(upload.key, upload.cn, tuple(parts.qns), is_acknowledged)
            )

    def _again(self, waiting: Waiting, now: Moment) -> None:
        if waiting.tries > self.settings.re_count:
            if waiting.key == NO_KEY and waiting.cn not in ("9015", self.options.login_cn):
                del self._waiting[waiting.qn]  # platforms leave notices unanswered
                self._events.append(NoticeUnanswered(waiting.cn, waiting.qn))
                return
            given_up = LinkGivenUp(waiting.cn, waiting.qn, waiting.tries, waiting.came)
            self._events.append(given_up)
            waiting.due_ms = now.boot_ms + self.settings.over_time_s * 1000
            return
        waiting.tries += 1
        waiting.due_ms = now.boot_ms + self.settings.over_time_s * 1000
        self._out += self._frame(waiting)

    # -- receiving ---------------------------------------------------------------------------

    def _answered(self, message: Hj212Message, now: Moment) -> None:
        waiting = self._asked_by(message)
        if waiting is None or message.mn != self.options.mn:
            self.ignored += 1
            return
        reason = refusal(message)
        if reason:
            is_final = waiting.ends is not ENDS_NOTICE
            if not is_final:
                del self._waiting[waiting.qn]
            is_of_kind = waiting.key != NO_KEY and message.value("QnRtn") == str(QN_CN)
            self._events.append(
                PlatformRefused(waiting.cn, waiting.qn, reason, is_final, is_of_kind)
            )
            return
        if message.cn not in waiting.ends:
            waiting.came = message.cn
            self.ignored += 1
            return
        del self._waiting[waiting.qn]
        if waiting.ends is ENDS_LOGIN and not self.is_logged_in:
            self._greet(now)
        parts = self._parts.get(waiting.key)
        if parts is not None:
            parts.unanswered -= 1
            self._end_part(parts, is_acknowledged=True)

    def _asked_by(self, message: Hj212Message) -> Waiting | None:
        """Return what a platform's answer is to."""
        if message.qn is not None or self.options.dialect.qn is not QnForm.ABSENT:
            return self._waiting.get(message.qn or "")
        # Without numbers: the oldest of those that wait for this answer and for the fewest others.
        fitting = [one for one in self._waiting.values() if message.cn in one.ends]
        return min(fitting or self._waiting.values(), key=lambda one: len(one.ends), default=None)

    def _command(self, message: Hj212Message, now: Moment) -> None:
        if len(self._out) >= MAX_OUTGOING:
            self.ignored += 1
            return
        if message.cn == "1012" and message.st == "91" and "1013" in self.options.on_connect:
            self._answered_by_time(message)  # some platforms answer 1013 so (from implementations)
        seen = (message.cn, message.qn or "")
        if message.qn is not None and seen in self._done:
            qn_return, exe_return = self._done[seen]
            self._reply("9011", "QnRtn", qn_return, message)
            if exe_return is not None:
                self._reply("9012", "ExeRtn", exe_return, message)
            return
        running = [(message.cn, message.qn or "") for message, _, _ in self._running]
        if seen in running or seen in self._setting:
            return  # a repeat of what is being answered
        answer = answer_command(message, self.options, self.settings, self._site, now)
        if answer.is_notice:
            self._reply("9013", "", 0, message)
            self._finish(message, answer, EXE_DONE, now)
            return
        if answer.qn_return != QN_READY or message.wants_ack:
            self._reply("9011", "QnRtn", answer.qn_return, message)
        if answer.qn_return != QN_READY:
            self._finish(message, answer, None, now)
        elif len(self._running) + len(self._setting) >= _MAX_RUNNING:
            self._reply("9012", "ExeRtn", EXE_BUSY, message)
        elif answer.parameter is not None:
            self._setting[seen] = message
            self._events.append(ParameterWanted(*seen, *answer.parameter))
        else:
            self._running.append((message, answer, 0))

    def _answered_by_time(self, message: Hj212Message) -> None:
        for qn, waiting in list(self._waiting.items()):
            if waiting.cn == "1013":
                del self._waiting[qn]

    def _go_on(self, now: Moment) -> None:
        """Send the next body of the oldest command, or its result."""
        message, answer, sent = self._running[0]
        body = next(answer.bodies, None) if answer.bodies is not None else None
        is_cut = body is not None and sent == self.options.max_history
        if body is not None and not is_cut:
            for part in split_body(body, self.options.dialect.encoding):
                self._out += self._frames.frame(
                    self.settings, message.cn, part, self._frames.new_qn(now), wants_ack=False
                )
            self._running[0] = (message, answer, sent + 1)
            return
        self._running.popleft()
        result = answer.exe_return
        if is_cut:  # the platform has to ask again for what is behind, so it must not be "done"
            result = EXE_CONDITION
            answer = replace(answer, detail=f"{answer.detail}: more than {sent} periods")
        if result is None:
            result = EXE_DONE if sent else EXE_NO_DATA
        self._reply("9012", "ExeRtn", result, message)
        self._finish(message, answer, result, now)

    def _finish(
        self, message: Hj212Message, answer: PlatformAnswer, result: int | None, now: Moment
    ) -> None:
        qn = message.qn or ""
        self._done[message.cn, qn] = (answer.qn_return, result)
        if len(self._done) > _REMEMBERED:
            del self._done[next(iter(self._done))]
        changes = message.cn in CONTROL
        self._events.append(
            PlatformCommand(message.cn, qn, changes, answer.qn_return, result, answer.detail)
        )
        if answer.settings is not None:
            self.settings = answer.settings
            self._reader.decrypt = self._cipher_in()
            self._events.append(SettingsChanged(self.settings, message.cn, qn))

    def _reply(self, cn: str, name: str, value: int, message: Hj212Message) -> None:
        body: Body = (((name, str(value)),),) if name else ()
        self._out += self._frames.frame(
            self.settings, cn, body, message.qn or "", wants_ack=False, is_answer=True
        )

    def _taken(self) -> list[Hj212Event]:
        events, self._events = self._events, []
        return events
