"""What comes in a session and is wrong: forged, repeated, against the definition, out of range."""

import struct

from protocols.wire.errors import BAD_VALUE, TOO_LONG, LocalError
from protocols.wire.link.frame import ACK, BYE, DATA, TIME, FrameReader, FrameWriter
from protocols.wire.link.incoming import Incoming
from protocols.wire.link.messages import CONFIG, EVENTS, FILE, LOG, SAMPLES
from protocols.wire.link.outgoing import MAX_KEPT_MESSAGE
from protocols.wire.link.session import FORGED, REPEATED, RIGHT, LinkSession
from tests.dual import raises

from .link_support import BOOTED_MS, Wire, sealed


def incoming_of(wire: Wire, channel: int) -> Incoming:
    """The gateway's half of a channel."""
    incoming = wire.gateway._in[channel]
    assert incoming is not None
    return incoming


def _session_frame(session: LinkSession, payload: bytes) -> bytes:
    writer = FrameWriter()
    writer.content[6 : 6 + len(payload)] = payload
    end = session.seal(writer.content, writer.view, writer.header(DATA, 1, 0, len(payload)))
    return bytes(writer.content[:end])


def _check(session: LinkSession, frame: bytes) -> int:
    content = bytearray(frame)
    return session.check(content, memoryview(content), len(content))


def test_a_counter_is_taken_once_and_31_below_the_highest_are_taken_late() -> None:
    sender = LinkSession(b"a" * 32, b"b" * 32, 512, 4096)
    receiver = LinkSession(b"b" * 32, b"a" * 32, 512, 4096)
    frames = [_session_frame(sender, bytes((number,))) for number in range(100)]
    assert _check(receiver, frames[40]) == RIGHT
    assert _check(receiver, frames[40]) == REPEATED
    assert _check(receiver, frames[8]) == REPEATED  # 32 below
    assert _check(receiver, frames[9]) == RIGHT
    assert _check(receiver, frames[9]) == REPEATED
    assert [_check(receiver, frames[number]) for number in range(39, 9, -1)] == [RIGHT] * 30
    assert _check(receiver, frames[99]) == RIGHT
    assert _check(receiver, frames[67]) == REPEATED
    assert _check(receiver, frames[66]) == REPEATED  # new, and too old
    assert [_check(receiver, frames[number]) for number in range(68, 99)] == [RIGHT] * 31
    assert [_check(receiver, frame) for frame in frames] == [REPEATED] * 100


def test_no_flipped_bit_and_no_other_direction_is_right() -> None:
    sender = LinkSession(b"a" * 32, b"b" * 32, 512, 4096)
    receiver = LinkSession(b"b" * 32, b"a" * 32, 512, 4096)
    frame = _session_frame(sender, b"payload")
    for at in range(len(frame)):
        damaged = bytearray(frame)
        damaged[at] ^= 0x04
        assert _check(receiver, bytes(damaged)) == FORGED
    # What an end sent itself does not come back to it.
    assert _check(sender, frame) == FORGED
    assert _check(receiver, frame) == RIGHT


def test_forged_and_repeated_frames_are_counted_and_change_nothing() -> None:
    wire = Wire().opened()
    wire.node.send(SAMPLES, b"one")
    wire.run(10)
    frame = [frame for to_node, frame in wire.frames if not to_node][-1]
    repeats = wire.gateway.counters.repeats
    for _ in range(5):
        wire.gateway.feed(frame, len(frame), wire.now_ms)
    assert wire.gateway.counters.repeats == repeats + 5
    other = sealed(Wire(seed=5).opened().node, DATA, SAMPLES, 1, b"\x03two")
    wire.gateway.feed(other, len(other), wire.now_ms)
    assert wire.gateway.counters.forged == 1
    wire.run(1000)
    assert wire.at_gateway == [(SAMPLES, b"one")]


def test_frames_without_a_session_are_late() -> None:
    frame = sealed(Wire().opened().node, DATA, SAMPLES, 0, b"\x03one")
    wire = Wire(seed=3)
    wire.gateway.feed(frame, len(frame), 0)
    assert wire.gateway.counters.late == 1


# Right by their tags, and against the definition all the same: kind, channel, sequence, payload.
MALFORMED = (
    (DATA, 0, 0, b"\x01a"),
    (DATA, 4, 0, b"\x01a"),
    (DATA, 7, 0, b"\x01a"),
    (DATA, 255, 0, b"\x01a"),
    (ACK, SAMPLES, 0, bytes(6)),  # the gateway sends no samples
    (ACK, 0, 0, bytes(6)),
    (ACK, 200, 0, bytes(6)),
    (ACK, CONFIG, 0, bytes(5)),
    (ACK, CONFIG, 0, bytes(7)),
    (ACK, CONFIG, 1, bytes(6)),  # nothing was sent that it could take over
    (ACK, CONFIG, 65535, bytes(6)),
    (TIME, 0, 0, b""),
    (TIME, 0, 0, bytes(9)),  # a question, and to the gateway
    (TIME, 0, 0, b"\x01" + bytes(15)),
    (BYE, 0, 0, b""),
    (BYE, 0, 0, bytes(2)),
)


def test_what_breaks_the_definition_is_counted_and_the_session_goes_on() -> None:
    wire = Wire().opened()
    for number, (kind, channel, sequence, payload) in enumerate(MALFORMED):
        frame = sealed(wire.node, kind, channel, sequence, payload)
        wire.gateway.feed(frame, len(frame), wire.now_ms)
        assert wire.gateway.counters.malformed == number + 1
    wire.node.send(SAMPLES, b"still here")
    wire.run(1000)
    assert wire.at_gateway == [(SAMPLES, b"still here")]
    assert wire.gateway.counters.sessions == 1


def test_a_packet_that_is_not_whole_messages_gives_those_before_the_break() -> None:
    for payload, expected, malformed in (
        (b"", [], 1),
        (b"\x00", [], 1),
        (b"\x03abc\x00\x01d", [b"abc"], 1),
        (b"\x03abc\x05de", [b"abc"], 1),
        (b"\x03abc\x80", [b"abc"], 1),
        (b"\x03abc\x81\x00" + bytes(255), [b"abc"], 1),
        (b"\x80\x03abc", [b"abc"], 0),
        (b"\x03abc\x81\x00" + b"x" * 256, [b"abc", b"x" * 256], 0),
    ):
        wire = Wire().opened()
        frame = sealed(wire.node, DATA, LOG, 0, payload)
        wire.gateway.feed(frame, len(frame), wire.now_ms)
        frame = sealed(wire.node, DATA, LOG, 1, b"\x04next")
        wire.gateway.feed(frame, len(frame), wire.now_ms)
        wire.step()
        assert [message for _, message in wire.at_gateway] == expected + [b"next"]
        assert incoming_of(wire, LOG).malformed == malformed


def test_packets_out_of_range_are_dropped_and_memory_stays() -> None:
    wire = Wire().opened()
    incoming = incoming_of(wire, SAMPLES)
    for sequence in (32, 33, 1000, 32767):
        frame = sealed(wire.node, DATA, SAMPLES, sequence, b"\x01a")
        wire.gateway.feed(frame, len(frame), wire.now_ms)
    assert incoming.dropped == 4
    for sequence in (32768, 65535):
        frame = sealed(wire.node, DATA, SAMPLES, sequence, b"\x01a")
        wire.gateway.feed(frame, len(frame), wire.now_ms)
    assert incoming.repeats == 2
    for sequence in range(31, -1, -1):
        frame = sealed(wire.node, DATA, SAMPLES, sequence, bytes((1, sequence)))
        wire.gateway.feed(frame, len(frame), wire.now_ms)
    wire.step()
    assert wire.at_gateway == [(SAMPLES, bytes((sequence,))) for sequence in range(32)]


def _ack(wire: Wire, sequence: int, window: int, arrived: int = 0) -> None:
    payload = struct.pack(">HI", window, arrived)
    frame = sealed(wire.gateway, ACK, SAMPLES, sequence, payload)
    wire.node.feed(frame, len(frame), wire.now_ms)


def _packets(wire: Wire, ms: int) -> "list[tuple[int, int]]":
    """Let the node alone send; return when it sent which packet of samples."""
    sent = []
    reader = FrameReader()
    end_ms = wire.now_ms + ms
    while wire.now_ms < end_ms:
        length = wire.node.poll(wire.now_ms)
        if not length:
            wait = wire.node.wait_ms(wire.now_ms)
            wire.now_ms += min(wait, end_ms - wire.now_ms) if wait > 0 else 1
            continue
        reader.feed(wire.node.tx, 0, length)
        if reader.size and reader.content[0] == DATA and reader.content[1] == SAMPLES:
            sent.append((wire.now_ms, reader.content[2] << 8 | reader.content[3]))
    return sent


def test_a_window_of_zero_is_asked_about_and_ends() -> None:
    wire = Wire().opened()
    wire.node.send(SAMPLES, bytes(100))
    wire.run(3000)
    _ack(wire, 1, 0)
    wire.node.send(SAMPLES, bytes(100))
    begun_ms = wire.now_ms
    sent = _packets(wire, 12_000)
    # The question is the packet that does not fit: at once, for the window is 3 s old.
    assert [sequence for _, sequence in sent] == [1] * len(sent)
    assert [at - begun_ms for at, _ in sent] == [0, 2000, 6000, 10_000]
    wire = Wire().opened()
    wire.run(3000)
    wire.node.send(SAMPLES, bytes(100))
    assert len(_packets(wire, 10)) == 1
    _ack(wire, 1, 0)
    wire.node.send(SAMPLES, bytes(100))
    assert _packets(wire, 900) == []
    assert len(_packets(wire, 200)) == 1
    _ack(wire, 1, 1000)
    wire.node.send(SAMPLES, bytes(100))
    assert sorted(sequence for _, sequence in _packets(wire, 10)) == [1, 2]


def test_a_packet_that_others_overtook_is_sent_again_at_once() -> None:
    wire = Wire().opened()
    for _ in range(4):
        wire.node.send(SAMPLES, bytes(200))
    assert [sequence for _, sequence in _packets(wire, 5)] == [0, 1, 2, 3]
    _ack(wire, 0, 4096, arrived=0b0100)
    assert [sequence for _, sequence in _packets(wire, 5)] == [0, 1]
    # They were sent after packet 3: that it arrives now says nothing about them.
    _ack(wire, 0, 4096, arrived=0b1100)
    assert _packets(wire, 5) == []
    _ack(wire, 1, 4096, arrived=0b0110)
    assert _packets(wire, 5) == []


def test_only_what_was_sent_once_is_measured() -> None:
    wire = Wire().opened()
    wire.node.send(SAMPLES, bytes(100))
    _packets(wire, 40)
    _ack(wire, 1, 4096)
    assert wire.node.trip.smoothed_ms() == 40
    wire.node.send(SAMPLES, bytes(100))
    begun_ms = wire.now_ms
    assert [at - begun_ms for at, _ in _packets(wire, 125)] == [0, 120]
    _ack(wire, 2, 4096)  # 5 ms after it was sent again, and maybe for the first one
    assert wire.node.trip.smoothed_ms() == 40
    # Two were sent, and the ACK for the first was lost: only the second is measured.
    wire.node.send(SAMPLES, bytes(200))
    _packets(wire, 30)
    wire.node.send(SAMPLES, bytes(200))
    _packets(wire, 40)
    _ack(wire, 4, 4096)
    assert wire.node.trip.smoothed_ms() == 40


def test_what_arrives_ends_the_longer_timeout() -> None:
    wire = Wire().opened()
    wire.node.send(SAMPLES, bytes(200))
    begun_ms = wire.now_ms
    assert [at - begun_ms for at, _ in _packets(wire, 3500)] == [0, 1000, 3000]
    _ack(wire, 0, 4096, arrived=1)  # not taken over
    wire.node.send(SAMPLES, bytes(200))
    begun_ms = wire.now_ms
    assert [at - begun_ms for at, _ in _packets(wire, 1500)] == [0, 1000]


def test_no_more_is_on_its_way_than_both_windows_allow() -> None:
    for session, announced, expected in ((512, 60_000, 2), (60_000, 512, 2), (256, 60_000, 1)):
        wire = Wire()
        wire.node._about.window = session
        wire.opened()
        _ack(wire, 0, announced)
        for _ in range(10):
            wire.node.send(SAMPLES, bytes(200))
        assert len(_packets(wire, 5)) == expected


def test_no_more_than_32_packets_are_on_their_way() -> None:
    wire = Wire().opened()
    sent = []
    for _ in range(40):
        wire.node.send(SAMPLES, bytes(10))
        sent += [sequence for _, sequence in _packets(wire, 1)]
    assert sent == list(range(32))


def test_only_after_silence_a_zero_byte_goes_before_a_frame() -> None:
    wire = Wire().opened()
    wire.run(3000)
    for _ in range(2):
        for channel in (SAMPLES, EVENTS, LOG):
            wire.node.send(channel, bytes(10))
        first_bytes = []
        while wire.node.poll(wire.now_ms):
            first_bytes.append(wire.node.tx[0])
        assert [byte == 0 for byte in first_bytes] == [True, False, False]


def test_an_ack_is_due_at_once() -> None:
    wire = Wire().opened()
    wire.run(3000)
    frame = sealed(wire.node, DATA, LOG, 0, b"\x03one")
    assert wire.gateway.wait_ms(wire.now_ms) > 0
    wire.gateway.feed(frame, len(frame), wire.now_ms)
    assert wire.gateway.wait_ms(wire.now_ms) == 0


def test_a_packet_longer_than_a_slot_is_dropped() -> None:
    wire = Wire(largest=256).opened()
    wire.run(3000)
    incoming = wire.node._in[CONFIG]
    assert incoming is not None
    for payload in (b"\x81\x90" + bytes(400), b"\x01a"):
        frame = sealed(wire.gateway, DATA, CONFIG, 0, payload)
        wire.node.feed(frame, len(frame), wire.now_ms)
    assert incoming.dropped == 1
    wire.step()
    assert wire.at_node == [(CONFIG, b"a")]


def test_an_answer_to_another_question_of_time_changes_nothing() -> None:
    wire = Wire().opened()
    wire.run(3000)
    for asked_ms in (0, wire.now_ms, 2**63):
        payload = struct.pack(">BQII", 1, asked_ms, 5, 6)
        frame = sealed(wire.node, TIME, 0, 0, payload)
        wire.gateway.feed(frame, len(frame), wire.now_ms)
    assert wire.gateway.clock.offset_ms == BOOTED_MS
    assert wire.gateway.counters.malformed == 0


def test_what_arrived_and_is_not_taken_over_is_asked_about() -> None:
    wire = Wire().opened()
    wire.run(3000)
    wire.node.send(SAMPLES, bytes(100))
    begun_ms = wire.now_ms
    _packets(wire, 10)
    _ack(wire, 0, 4096, arrived=1)
    asked = [at - begun_ms for at, _ in _packets(wire, 12_000)]
    assert asked == [1000, 3000, 7000, 11_000]
    assert wire.node.waiting(SAMPLES) == 101
    _ack(wire, 1, 4096)
    assert wire.node.waiting(SAMPLES) == 0
    assert _packets(wire, 2000) == []


def test_an_ack_that_was_overtaken_changes_nothing() -> None:
    wire = Wire().opened()
    old = sealed(wire.gateway, ACK, SAMPLES, 0, struct.pack(">HI", 0, 0))
    _ack(wire, 0, 4096)
    wire.node.feed(old, len(old), wire.now_ms)
    wire.node.send(SAMPLES, bytes(100))
    assert len(_packets(wire, 5)) == 1


def test_sequences_go_round_after_65536_packets() -> None:
    wire = Wire().opened()
    out = wire.node._out[SAMPLES]
    assert out is not None
    out._first = incoming_of(wire, SAMPLES).taken = 65_530
    for number in range(100):
        wire.node.send(SAMPLES, bytes((number,)) + bytes(100))
        if number % 3 == 0:
            wire.run(10)
    wire.run(1000)
    assert [message[0] for _, message in wire.at_gateway] == list(range(100))
    assert incoming_of(wire, SAMPLES).taken < 100
    assert wire.node.waiting(SAMPLES) == 0


def test_a_message_that_never_fits_is_a_mistake_of_ours() -> None:
    wire = Wire()
    for channel in (SAMPLES, EVENTS, LOG):
        message = bytes(MAX_KEPT_MESSAGE + 1)
        assert raises(LocalError, wire.node.send, channel, message).code == TOO_LONG
        assert wire.node.send(channel, message, MAX_KEPT_MESSAGE)
    assert not wire.node.send(FILE, b"no session")
    wire.opened()
    assert raises(LocalError, wire.node.send, FILE, bytes(500)).code == TOO_LONG
    assert raises(LocalError, wire.gateway.send, SAMPLES, b"1").code == BAD_VALUE
    assert raises(LocalError, wire.gateway.taken, LOG, 1).code == BAD_VALUE
    assert raises(LocalError, wire.node.taken, CONFIG, 1).code == BAD_VALUE
    assert raises(LocalError, wire.node.feed, b"12", 3, 0).code == BAD_VALUE


def test_a_kept_channel_fills_drops_its_oldest_and_goes_on_in_the_next_session() -> None:
    wire = Wire()
    sent = 0
    while wire.node.send(SAMPLES, struct.pack(">I", sent) + bytes(56)):
        sent += 1
    assert sent == 4096 // 61
    for _ in range(10):
        assert wire.node.drop_oldest(SAMPLES)
        assert wire.node.send(SAMPLES, struct.pack(">I", sent) + bytes(56))
        sent += 1
    wire.takes_over = False
    wire.opened()
    wire.run(1000)
    numbers = [struct.unpack(">I", message[:4])[0] for _, message in wire.at_gateway]
    assert numbers == list(range(10, sent))
    # Nothing was committed, and the gateway starts again: it gets all of it once more.
    wire.at_gateway.clear()
    wire.takes_over = True
    wire.gateway = Wire(seed=8).gateway
    wire.run(3000)
    assert [struct.unpack(">I", message[:4])[0] for _, message in wire.at_gateway] == numbers
    assert wire.node.waiting(SAMPLES) == 0


def test_dropping_leaves_alone_what_is_on_its_way() -> None:
    wire = Wire().opened()
    wire.takes_over = False
    for number in range(200):
        wire.node.send(SAMPLES, bytes((number,)) * 60) or wire.node.drop_oldest(SAMPLES)
        if number % 7 == 0:
            wire.run(3)
    wire.takes_over = True
    wire.gateway.taken(SAMPLES, wire.gateway.mark)
    wire.run(5000)
    numbers = [message[0] for _, message in wire.at_gateway]
    assert numbers == sorted(set(numbers))
    assert all(message == bytes((message[0],)) * 60 for _, message in wire.at_gateway)
    assert wire.node.waiting(SAMPLES) == 0
    assert not wire.node.drop_oldest(SAMPLES)


def test_marks_of_an_old_session_take_nothing_over() -> None:
    wire = Wire().opened()
    wire.takes_over = False
    wire.node.send(SAMPLES, b"one")
    wire.run(10)
    old = wire.gateway.mark
    wire.node._end_session(0)
    wire.run(30_000)
    assert wire.gateway.counters.sessions == 2
    assert wire.at_gateway == [(SAMPLES, b"one")] * 2
    wire.gateway.taken(SAMPLES, old)
    wire.gateway.taken(SAMPLES, old + 100)
    wire.run(10)
    assert wire.node.waiting(SAMPLES) == 4
    wire.gateway.taken(SAMPLES, wire.gateway.mark)
    wire.run(10)
    assert wire.node.waiting(SAMPLES) == 0
