"""The node's end of the link: it offers a session until a gateway answers with the right proof."""

from micropython import const

from protocols.wire.errors import BAD_VALUE, UNKNOWN, LocalError, PeerError
from protocols.wire.hmac import HmacSha256, equal

from .end import LinkEnd, sooner
from .frame import ANSWER, ASK, CONFIRM, HEADER, HELLO, MAX_FRAME
from .handshake import (
    ANSWER_BYTES,
    GATEWAY,
    MIN_WINDOW,
    NO_KEY,
    NODE,
    NONCE_BYTES,
    VERSION,
    WRONG_KEY_ID,
    WRONG_PROOF,
    WRONG_SIZE,
    WRONG_VERSION,
    Hello,
    parse_answer,
    proof,
    session_keys,
)
from .messages import CONFIG, EVENTS, FILE, LOG, REPLACED, SAMPLES, TO_NODE
from .outgoing import PACKETS
from .session import LinkSession

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable

    from protocols.wire.ports import TicksDiff

# Bytes of the queues by channel: messages that are not taken over, with their lengths.
QUEUES = {SAMPLES: 4096, EVENTS: 512, CONFIG: 512, FILE: 2048, LOG: 512}

_SLOTS = const(2)
_REPEAT_MS = const(1000)  # HELLO without a session, CONFIRM without a frame of the new one


class NodeEnd(LinkEnd):
    """The node's end.

    ``key`` is None for a node without one, whose ``key_id`` is 0; ``random(n)`` gives n bytes that
    nobody can foresee, ``boot_ms()`` the milliseconds since boot that frames carry. ``window`` caps
    what either end sends without an answer; ``slots`` and ``packets`` (powers of two, at most 32)
    are how many packets of a channel wait here, and how many are on their way to the gateway.
    """

    def __init__(
        self,
        uid: bytes,
        map_id: int,
        boot_epoch: int,
        key_id: int,
        key: "bytes | None",
        random: "Callable[[int], bytes]",
        boot_ms: "Callable[[], int]",
        queues: "dict[int, int] | None" = None,
        largest: int = MAX_FRAME,
        window: int = 4096,
        baud: int = 0,
        ticks_diff: "TicksDiff | None" = None,
        slots: int = _SLOTS,
        packets: int = PACKETS,
    ) -> None:
        if (key_id == 0) != (key is None):
            raise LocalError(BAD_VALUE, "key id", -1, "0 without a key, else 1 to 65535", key_id)
        if not MIN_WINDOW <= window <= 0xFFFF:
            raise LocalError(BAD_VALUE, "window", -1, "256 to 65535", window)
        sends = (SAMPLES, EVENTS, CONFIG, FILE, LOG)
        queues = queues or QUEUES
        super().__init__(sends, queues, TO_NODE, slots, packets, (), largest, baud, ticks_diff)
        self._about = Hello(map_id, uid, boot_epoch, key_id, largest, window)
        self._key = key or NO_KEY
        self._mac = HmacSha256(self._key)
        self._random = random
        self._boot_ms = boot_ms
        self._hello = b""  # the last one, until it has become a session
        self._confirm: bytes | None = None  # repeated until the gateway's first frame comes
        self._offered_ms = 0
        self._offered = False
        self._confirmed_ms = 0
        self._echo = bytearray(8)
        self._asked_ms = -1  # t2 of a TIME to answer

    def _opening_frame(self, kind: int, payload: bytes, now_ms: int) -> None:
        if kind == ASK:
            if self._too_many(kind, now_ms):
                return
            if payload[:1] != bytes((VERSION,)):
                self._refuse(WRONG_VERSION)
            else:
                self._offer(now_ms)
        elif kind == ANSWER:
            if not self._too_many(kind, now_ms):
                self._answered_with(payload, now_ms)
        else:
            self.counters.malformed += 1

    def _offer(self, now_ms: int) -> None:
        if not self._hello:
            self._hello = self._about.pack(self._random(NONCE_BYTES))
        self._opening.put(HELLO, self._hello)
        self._offered = True
        self._offered_ms = now_ms

    def _answered_with(self, payload: bytes, now_ms: int) -> None:
        if not self._hello:
            self.counters.late += 1
            return
        try:
            key_id, largest, window = parse_answer(payload)
        except PeerError as error:
            self.counters.malformed += 1
            self._refuse(WRONG_VERSION if error.code == UNKNOWN else WRONG_SIZE)
            return
        about = self._about
        answer = payload[:ANSWER_BYTES]
        if key_id != about.key_id:
            self._refuse(WRONG_KEY_ID)
        elif not equal(proof(self._mac, GATEWAY, self._hello, answer), payload[ANSWER_BYTES:]):
            self.counters.forged += 1
            self._refuse(WRONG_PROOF)
        else:
            self._end_session(REPLACED)
            mine, others = session_keys(self._key, self._hello, answer)
            self._confirm = proof(self._mac, NODE, self._hello, answer)
            self._opening.put(CONFIRM, self._confirm)
            self._confirmed_ms = now_ms
            self._hello = b""
            self._asked_ms = -1
            largest = min(largest, about.largest)
            window = min(window, about.window)
            self._begin_session(LinkSession(mine, others, largest, window), now_ms)

    def _heard(self, kind: int) -> None:
        self._confirm = None

    def _timers(self, now_ms: int) -> None:
        if not self.is_open:
            if not self._offered or self._diff(now_ms, self._offered_ms) >= _REPEAT_MS:
                self._offer(now_ms)
        elif self._confirm and self._diff(now_ms, self._confirmed_ms) >= _REPEAT_MS:
            self._opening.put(CONFIRM, self._confirm)
            self._confirmed_ms = now_ms

    def _timer_ms(self, now_ms: int) -> int:
        if self._stopped:
            return -1
        if not self.is_open:
            if not self._offered:
                return 0
            return max(0, _REPEAT_MS - self._diff(now_ms, self._offered_ms))
        wait = 0 if self._asked_ms >= 0 else -1
        if self._confirm:
            wait = sooner(wait, max(0, _REPEAT_MS - self._diff(now_ms, self._confirmed_ms)))
        return wait

    def _time_frame(self, content: bytearray, length: int, now_ms: int) -> bool:
        if length != 9 or content[HEADER]:
            return False
        for index in range(8):
            self._echo[index] = content[HEADER + 1 + index]
        self._asked_ms = self._boot_ms()
        return True

    def _write_time(self, content: bytearray, now_ms: int) -> int:
        t2 = self._asked_ms
        if t2 < 0:
            return 0
        self._asked_ms = -1
        content[HEADER] = 1
        for index in range(8):
            content[HEADER + 1 + index] = self._echo[index]
        t3 = self._boot_ms()
        for index in range(4):
            shift = 24 - 8 * index
            content[HEADER + 9 + index] = t2 >> shift & 0xFF
            content[HEADER + 13 + index] = t3 >> shift & 0xFF
        return 17
