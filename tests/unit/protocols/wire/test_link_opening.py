"""Opening a session: lost, late, replayed, invented and endless frames, and every refusal."""

from protocols.wire.errors import BAD_VALUE, LocalError
from protocols.wire.link.end import CLOSED, NO_EVENT, OPENED, REFUSED
from protocols.wire.link.frame import ANSWER, ASK, BYE, CONFIRM, HELLO, REFUSE
from protocols.wire.link.handshake import (
    KEY_NEEDED,
    NO_KEY,
    NOT_CONFIGURED,
    WRONG_KEY_ID,
    WRONG_PROOF,
    WRONG_SIZE,
    WRONG_VERSION,
    Hello,
)
from protocols.wire.link.messages import (
    EXHAUSTED,
    REPLACED,
    RESTARTING,
    SAMPLES,
    SILENCE,
    STOPPING,
)
from protocols.wire.link.node import NodeEnd
from tests.dual import raises

from .link_support import BOOT_EPOCH, KEY, MAP_ID, UID, Wire, plain, sealed


def _types(wire: Wire) -> "list[int]":
    """The types of all frames so far; all of these are short, so COBS leaves byte 2 as it is."""
    return [frame[2] if frame[0] == 0 else frame[1] for _, frame in wire.frames]


def _open(wire: Wire) -> "tuple[bool, bool]":
    return wire.node.is_open, wire.gateway.is_open


class Without(Wire):
    """A wire that loses the first ``count`` frames of a type."""

    def lose(self, kind: int, count: int) -> "Without":
        self.kind = kind
        self.count = count
        return self

    def pass_on(self, to_node: bool, frame: bytes) -> bytes:
        if (frame[2] if frame[0] == 0 else frame[1]) == self.kind and self.count:
            self.count -= 1
            return b""
        return frame


def test_each_lost_frame_costs_no_more_than_a_repetition() -> None:
    for kind in (ASK, HELLO, ANSWER, CONFIRM):
        wire = Without().lose(kind, 2)
        wire.run(2100)
        assert _open(wire) == (True, True)
        assert wire.count == 0 or kind == ASK  # the node offers a session by itself
        assert wire.node.counters.sessions == wire.gateway.counters.sessions == 1


def test_the_first_session_frame_confirms_as_well() -> None:
    wire = Without().lose(CONFIRM, 1_000_000)
    wire.node.send(SAMPLES, b"taken before there was a session")
    wire.run(10)
    assert wire.gateway.is_open
    assert wire.at_gateway == [(SAMPLES, b"taken before there was a session")]
    wire.run(5000)
    assert wire.node.counters.sessions == wire.gateway.counters.sessions == 1


class Slow(Wire):
    """A wire on which every frame is ``delay_ms`` late."""

    delay_ms = 3000

    def __init__(self) -> None:
        super().__init__()
        self.late: list[tuple[int, bool, bytes]] = []

    def pass_on(self, to_node: bool, frame: bytes) -> bytes:
        self.late.append((self.now_ms + self.delay_ms, to_node, frame))
        return b""

    def deliver(self) -> None:
        while self.late and self.late[0][0] <= self.now_ms:
            _, to_node, frame = self.late.pop(0)
            (self.node if to_node else self.gateway).feed(frame, len(frame), self.now_ms)


def test_a_session_opens_on_a_line_slower_than_every_repetition() -> None:
    wire = Slow()
    wire.node.send(SAMPLES, b"1")
    for _ in range(400):
        wire.run(50)
        wire.deliver()
    assert _open(wire) == (True, True)
    assert wire.node.counters.sessions == wire.gateway.counters.sessions == 1
    assert wire.at_gateway == [(SAMPLES, b"1")]


def test_every_refusal_is_counted_and_told_and_opens_nothing() -> None:
    for reason in (NOT_CONFIGURED, WRONG_KEY_ID, KEY_NEEDED, 6, 8):
        wire = Wire(keys=lambda hello, reason=reason: reason)  # type: ignore[misc]
        wire.run(5000)
        assert _open(wire) == (False, False)
        assert wire.gateway.counters.refusals >= wire.node.counters.refused > 0
        assert ("node", REFUSED) in wire.events
        assert wire.node.reason == reason


def test_a_node_with_another_key_refuses_the_answer() -> None:
    wire = Wire(key=bytes(31) + b"\x01")
    wire.run(3000)
    assert _open(wire) == (False, False)
    assert wire.node.counters.forged == wire.node.counters.refusals > 0
    assert ("gateway", REFUSED) in wire.events
    assert wire.gateway.reason == WRONG_PROOF


def test_a_wrong_confirm_opens_nothing() -> None:
    wire = Without().lose(CONFIRM, 1_000_000)
    wire.run(100)
    frame = plain(CONFIRM, bytes(16))
    wire.gateway.feed(frame, len(frame), wire.now_ms)
    assert wire.gateway.counters.forged == wire.gateway.counters.refusals == 1
    assert not wire.gateway.is_open


def test_a_node_without_a_key_comes_in_only_where_that_is_allowed() -> None:
    def needed(hello: Hello) -> "bytes | int":
        return NO_KEY if hello.key_id == 0 and allowed else KEY_NEEDED

    allowed = False
    wire = Wire(keys=needed, key=None, key_id=0)
    wire.run(3000)
    assert _open(wire)[0] is False
    allowed = True
    wire.run(3000)
    assert _open(wire)[0]
    assert wire.gateway.hello is not None
    assert wire.gateway.hello.key_id == 0


def test_a_node_with_a_key_takes_no_answer_without_one() -> None:
    wire = Wire(keys=lambda hello: NO_KEY)
    wire.run(3000)
    assert _open(wire)[0] is False


def test_key_and_key_id_go_together() -> None:
    def node(key_id: int, key: "bytes | None", window: int = 4096) -> NodeEnd:
        return NodeEnd(UID, MAP_ID, BOOT_EPOCH, key_id, key, bytes, int, window=window)

    assert raises(LocalError, node, 0, KEY).code == BAD_VALUE
    assert raises(LocalError, node, 1, None).code == BAD_VALUE
    assert raises(LocalError, node, 1, KEY, window=255).code == BAD_VALUE


def test_other_versions_are_refused() -> None:
    wire = Wire()
    for kind, payload, end in (
        (ASK, b"\x02", wire.node),
        (ASK, b"", wire.node),
        (HELLO, b"\x02" + bytes(40), wire.gateway),
        (HELLO, b"", wire.gateway),
    ):
        end.feed(plain(kind, payload), len(plain(kind, payload)), 0)
        sent = b""
        while length := end.poll(0):
            sent += bytes(end.tx[:length])
        assert sent.endswith(plain(REFUSE, bytes((WRONG_VERSION,)))[1:])
    # The node's own HELLO is offered again all the same, and opens.
    wire.run(1000)
    assert _open(wire) == (True, True)


def test_sizes_out_of_range_are_refused() -> None:
    for largest, window in ((512, 0), (512, 255), (255, 4096), (513, 4096), (0, 4096)):
        hello = Hello(MAP_ID, UID, BOOT_EPOCH, 3, largest, window).pack(bytes(16))
        wire = Wire()
        frame = plain(HELLO, hello)
        wire.gateway.feed(frame, len(frame), 0)
        assert wire.gateway.counters.malformed == wire.gateway.counters.refusals == 1
        wire.gateway.poll(0)  # the ASK
        length = wire.gateway.poll(0)
        assert bytes(wire.gateway.tx[:length]) == plain(REFUSE, bytes((WRONG_SIZE,)))[1:]


def test_a_replayed_hello_ends_nothing() -> None:
    wire = Wire().opened()
    recorded = list(wire.frames)
    wire.run(1000)
    for at in (1000, 60_000):
        wire.run(at)
        for to_node, frame in recorded:
            end = wire.node if to_node else wire.gateway
            end.feed(frame, len(frame), wire.now_ms)
        wire.run(10_000)
        assert wire.node.counters.sessions == wire.gateway.counters.sessions == 1
        assert wire.events.count(("gateway", CLOSED)) == 0
    # Session frames of the record are repeats, not forged: they are of this very session.
    assert wire.node.counters.repeats > 0
    assert wire.gateway.counters.repeats > 0
    assert wire.gateway.counters.forged == 0
    # The ASK of the record got a new HELLO; the ANSWER of the record does not fit that.
    assert wire.node.counters.forged == 2


def test_a_record_of_another_session_opens_nothing_and_gives_nothing() -> None:
    first = Wire(seed=1).opened()
    first.node.send(SAMPLES, b"old")
    first.run(1000)
    second = Wire(seed=2)
    for to_node, frame in first.frames:
        end = second.node if to_node else second.gateway
        end.feed(frame, len(frame), 0)
        while end.poll(0):
            pass
    assert _open(second) == (False, False)
    # Even with an answer to the replayed HELLO pending, the real node gets its session.
    second.run(2500)
    assert _open(second) == (True, True)
    for to_node, frame in first.frames:
        end = second.node if to_node else second.gateway
        end.feed(frame, len(frame), second.now_ms)
    second.run(10)
    assert second.at_gateway == []
    assert second.gateway.counters.forged > 0
    assert second.gateway.counters.sessions == 1


def test_an_endless_hello_is_answered_four_times_a_second() -> None:
    wire = Wire().opened()
    wire.run(4000)
    already = len(wire.frames)
    answers = 0
    for number in range(2000):
        hello = Hello(MAP_ID, UID, BOOT_EPOCH + number, 3, 512, 4096).pack(bytes(16))
        frame = plain(HELLO, hello)
        wire.gateway.feed(frame, len(frame), wire.now_ms)
        wire.run(1)
    answers = _types(wire)[already:].count(ANSWER)
    assert 4 <= answers <= 12
    assert wire.gateway.counters.flooded == 2000 - answers - 1  # of the boot that has a session
    assert _open(wire) == (True, True)
    assert wire.gateway.counters.sessions == 1


def test_endless_asks_and_answers_are_flooded_too() -> None:
    wire = Wire().opened()
    already = len(wire.frames)
    for _ in range(1000):
        for frame in (plain(ASK, b"\x01"), plain(ANSWER, bytes(39))):
            wire.node.feed(frame, len(frame), wire.now_ms)
        wire.run(1)
    assert 4 <= _types(wire)[already:].count(HELLO) <= 8
    assert wire.node.counters.flooded > 1900
    assert wire.node.counters.sessions == 1


def test_what_only_the_other_side_may_send_is_counted() -> None:
    wire = Wire().opened()
    for kind in (HELLO, CONFIRM):
        wire.node.feed(plain(kind, bytes(16)), len(plain(kind, bytes(16))), wire.now_ms)
    for kind in (ASK, ANSWER):
        wire.gateway.feed(plain(kind, bytes(16)), len(plain(kind, bytes(16))), wire.now_ms)
    assert wire.node.counters.malformed == wire.gateway.counters.malformed == 2


def test_a_node_that_restarts_gets_a_new_session_at_once() -> None:
    wire = Wire().opened()
    wire.run(1000)
    clock = wire.gateway.clock
    restarted = Wire(seed=9)
    restarted.node._about.boot_epoch = BOOT_EPOCH + 1
    wire.node = restarted.node
    wire.run(100)
    assert _open(wire)[0]
    assert wire.gateway.counters.sessions == 2
    # Milliseconds since another boot say nothing about the former one.
    assert wire.gateway.clock is not clock
    changes = [event for event in wire.events if event[1] in (OPENED, CLOSED)]
    assert changes[2:] == [("node", OPENED), ("gateway", CLOSED), ("gateway", OPENED)]
    assert wire.gateway.hello is not None
    assert wire.gateway.hello.boot_epoch == BOOT_EPOCH + 1


def test_a_gateway_that_restarts_gets_a_new_session_at_once() -> None:
    wire = Wire().opened()
    wire.run(1000)
    wire.gateway = Wire(seed=9).gateway
    wire.run(100)
    assert wire.gateway.is_open
    assert wire.node.counters.sessions == 2
    assert wire.node.reason == REPLACED


def test_the_end_of_a_session_has_a_reason() -> None:
    for reason in (STOPPING, RESTARTING):
        wire = Wire().opened()
        wire.node.close(reason)
        wire.run(10)
        assert _open(wire) == (False, False)
        assert wire.gateway.reason == wire.node.reason == reason
        already = len([1 for to_node, _ in wire.frames if not to_node])
        wire.run(60_000)
        assert len([1 for to_node, _ in wire.frames if not to_node]) == already
        assert wire.node.wait_ms(wire.now_ms) == -1


def test_an_end_that_was_closed_before_it_had_a_session_is_silent() -> None:
    wire = Wire()
    ask = plain(ASK, b"\x01")
    wire.node.feed(ask, len(ask), 0)
    wire.node.close(STOPPING)
    assert wire.node.poll(0) == 0
    assert wire.node.wait_ms(0) == -1
    wire.node.feed(ask, len(ask), 0)
    assert wire.node.poll(5000) == 0


def test_a_session_that_ends_before_anybody_looked_was_never_open() -> None:
    wire = Wire()
    for end, other in ((wire.gateway, wire.node), (wire.node, wire.gateway)) * 3:
        while length := end.poll(0):
            other.feed(end.tx, length, 0)
    wire.gateway.close(STOPPING)
    length = wire.gateway.poll(0)
    wire.node.feed(wire.gateway.tx, length, 0)
    assert [wire.node.next_event(), wire.node.next_event()] == [CLOSED, NO_EVENT]


def test_a_gateway_asks_soon_when_the_node_is_in_a_session_that_it_does_not_have() -> None:
    wire = Cut()
    wire.opened()
    wire.run(3000)
    wire.gateway = Wire(seed=9).gateway
    wire.gateway.poll(wire.now_ms)  # its first ASK is lost
    wire.node.send(SAMPLES, b"1")
    wire.run(300)
    assert _open(wire) == (True, True)
    assert wire.node.counters.sessions == 2
    assert wire.at_gateway == [(SAMPLES, b"1")]


def test_each_stray_frame_brings_one_ask_forward() -> None:
    stray = sealed(Wire().opened().node, BYE, 0, 0, b"\x00")
    gateway = Wire(seed=9).gateway
    asked = []
    for now_ms in range(0, 5000, 10):
        if now_ms == 100:
            gateway.feed(stray, len(stray), now_ms)
        if gateway.poll(now_ms):
            asked.append(now_ms)
    assert asked == [0, 250, 2250, 4250]


class Cut(Wire):
    """A wire that can be cut."""

    cut = False

    def pass_on(self, to_node: bool, frame: bytes) -> bytes:
        return b"" if self.cut else frame


def test_silence_ends_the_session_after_15_s() -> None:
    wire = Cut()
    wire.opened()
    wire.cut = True
    wire.run(14_000)
    assert _open(wire) == (True, True)
    wire.run(2000)
    assert _open(wire) == (False, False)
    assert wire.node.reason == wire.gateway.reason == SILENCE
    wire.cut = False
    wire.run(2100)
    assert _open(wire) == (True, True)


def test_the_last_counter_ends_the_session() -> None:
    wire = Wire().opened()
    wire.run(3000)
    assert wire.node._session is not None
    wire.node._session.sent = 0xFFFFFFFE
    wire.node.send(SAMPLES, b"1")
    wire.run(10)
    assert ("node", CLOSED) in wire.events
    assert wire.node.reason == EXHAUSTED
    wire.run(20_000)
    assert _open(wire)[0]
    assert wire.at_gateway[:1] == [(SAMPLES, b"1")]
