"""The gateway's end of the link: it asks for a session and takes it if the node proves its key."""

import struct

from micropython import const

from protocols.wire.errors import UNKNOWN, PeerError
from protocols.wire.hmac import HmacSha256, equal

from .clock import NodeClock
from .end import LinkEnd
from .frame import ANSWER, ASK, CONFIRM, HEADER, HELLO, MAX_FRAME
from .handshake import (
    GATEWAY,
    NODE,
    NONCE_BYTES,
    VERSION,
    WRONG_PROOF,
    WRONG_SIZE,
    WRONG_VERSION,
    Hello,
    pack_answer,
    parse_hello,
    proof,
    session_keys,
)
from .messages import CONFIG, EVENTS, FILE, LOG, REPLACED, SAMPLES, TO_NODE
from .outgoing import PACKETS
from .session import RIGHT, LinkSession

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable

    from protocols.wire.ports import TicksDiff

_QUEUES = {CONFIG: 4096, FILE: 4096}
_ASK_MS = const(2000)
_QUICK_MS = const(250)  # between the first exchanges of TIME, and ASKs of a node in a session
_QUICK = const(8)
_SLOW_MS = const(5000)
_ALIVE_MS = const(3000)


class GatewayEnd(LinkEnd):
    """The gateway's end.

    ``keys(hello)`` returns the key of the node (NO_KEY if it may come without one), or the reason
    to refuse it. ``held`` channels are taken over by :meth:`LinkEnd.taken`. ``hello`` is that of
    the session, ``clock`` what is known of the node's clock.
    """

    def __init__(
        self,
        keys: "Callable[[Hello], bytes | int]",
        random: "Callable[[int], bytes]",
        held: "tuple[int, ...]" = (SAMPLES, EVENTS),
        largest: int = MAX_FRAME,
        window: int = 16384,
        baud: int = 0,
        ticks_diff: "TicksDiff | None" = None,
    ) -> None:
        takes = (SAMPLES, EVENTS, CONFIG, FILE, LOG)
        super().__init__(TO_NODE, _QUEUES, takes, PACKETS, PACKETS, held, largest, baud, ticks_diff)
        self.hello: Hello | None = None
        self.clock = NodeClock()
        self._keys = keys
        self._random = random
        self._window = window
        self._asked = False
        self._strayed = False  # the node sends in a session that this end does not have
        self._asked_ms = 0
        self._offered = b""  # the last HELLO that was answered, until it became a session
        self._answer = b""
        self._proof = b""  # that the node has to give
        self._offer: Hello | None = None
        self._pending: LinkSession | None = None
        self._exchanges = 0
        self._timed_ms = 0
        self._t1 = -1

    def _opening_frame(self, kind: int, payload: bytes, now_ms: int) -> None:
        if kind == HELLO:
            if not self._too_many(kind, now_ms):
                self._offered_with(payload, now_ms)
        elif kind == CONFIRM:
            if self._pending is None:
                self.counters.late += 1
            elif not self._too_many(kind, now_ms):
                if equal(payload, self._proof):
                    self._open(now_ms)
                else:
                    self.counters.forged += 1
                    self._refuse(WRONG_PROOF)
        else:
            self.counters.malformed += 1

    def _offered_with(self, payload: bytes, now_ms: int) -> None:
        if payload and payload == self._offered:
            self._opening.put(ANSWER, self._answer)
            return
        try:
            hello = parse_hello(payload)
        except PeerError as error:
            self.counters.malformed += 1
            self._refuse(WRONG_VERSION if error.code == UNKNOWN else WRONG_SIZE)
            return
        current = self.hello
        if (
            self.is_open
            and current is not None
            and hello.same_boot(current)
            and self._diff(now_ms, self._heard_ms) < _ALIVE_MS
        ):
            # Its session lives. This one is a recording, or it answers an ASK that was not ours.
            self.counters.late += 1
            return
        key = self._keys(hello)
        if isinstance(key, int):
            self._refuse(key)
            return
        answer = pack_answer(hello.key_id, self._largest, self._window, self._random(NONCE_BYTES))
        mac = HmacSha256(key)
        self._offered = payload
        self._offer = hello
        self._answer = answer + proof(mac, GATEWAY, payload, answer)
        self._proof = proof(mac, NODE, payload, answer)
        nodes, mine = session_keys(key, payload, answer)
        self._pending = LinkSession(
            mine, nodes, min(self._largest, hello.largest), min(self._window, hello.window)
        )
        self._opening.put(ANSWER, self._answer)

    def _confirmed(self, content: bytearray, size: int, now_ms: int) -> bool:
        pending = self._pending
        if pending is None or pending.check(content, self._reader.view, size) != RIGHT:
            return False
        self._open(now_ms)
        return True

    def _open(self, now_ms: int) -> None:
        pending = self._pending
        hello = self._offer
        if pending is not None and hello is not None:
            self._end_session(REPLACED)
            former = self.hello
            if former is None or former.uid != hello.uid or former.boot_epoch != hello.boot_epoch:
                self.clock = NodeClock()
            self.hello = hello
            self._pending = None
            self._offered = b""
            self._opening.put(ANSWER, None)
            self._exchanges = 0
            self._t1 = -1
            self._begin_session(pending, now_ms)

    def _stray(self) -> None:
        self._strayed = True

    def _timers(self, now_ms: int) -> None:
        if not self.is_open and self._ask_wait(now_ms) == 0:
            self._asked = True
            self._strayed = False
            self._asked_ms = now_ms
            self._opening.put(ASK, bytes((VERSION,)))

    def _timer_ms(self, now_ms: int) -> int:
        if self._stopped:
            return -1
        if not self.is_open:
            return self._ask_wait(now_ms)
        return self._time_wait(now_ms)

    def _ask_wait(self, now_ms: int) -> int:
        if not self._asked:
            return 0
        pause = _QUICK_MS if self._strayed else _ASK_MS
        return max(0, pause - self._diff(now_ms, self._asked_ms))

    def _time_wait(self, now_ms: int) -> int:
        if not self._exchanges:
            return 0
        pause = _QUICK_MS if self._exchanges < _QUICK else _SLOW_MS
        return max(0, pause - self._diff(now_ms, self._timed_ms))

    def _write_time(self, content: bytearray, now_ms: int) -> int:
        if self._time_wait(now_ms):
            return 0
        self._exchanges += 1
        self._timed_ms = now_ms
        self._t1 = now_ms
        struct.pack_into(">BQ", content, HEADER, 0, now_ms)
        return 9

    def _time_frame(self, content: bytearray, length: int, now_ms: int) -> bool:
        if length != 17 or content[HEADER] != 1:
            return False
        t1, t2, t3 = struct.unpack(">QII", self._reader.view[HEADER + 1 : HEADER + 17])
        if t1 == self._t1:
            self._t1 = -1
            self.clock.exchanged(t1, t2, t3, now_ms)
            self._was_timed = True
        return True
