"""Frames, events and identity: what is shown is whole, sealed and true."""

from firmware.node.events import Events
from firmware.node.frames import EventFrame, SampleFrame
from firmware.node.identity import NodeKey, identification
from firmware.node.reading import Reading
from protocols.wire import registers
from protocols.wire.errors import LocalError, PeerError
from protocols.wire.hmac import HmacSha256
from protocols.wire.registers import AIR, WATER, RegisterMap
from protocols.wire.sample import decode, decode_events, verify
from tests.dual import raises
from tests.unit.firmware.node_fakes import KEY, KEY_BYTES, UID, MemoryStore

MAC = HmacSha256(KEY_BYTES)


def node_key(content: bytes | None = KEY) -> NodeKey:
    store = MemoryStore()
    if content is not None:
        store.files["node.key"] = content
    return NodeKey(store)


def reading(
    quality: "list[int]", raw: "list[int]", fitted: int = 0xFFFF, map: RegisterMap = WATER
) -> Reading:
    """A graded reading of what a role found."""
    made = Reading(map)
    made.quality[:] = bytes(quality)
    made.raw[:] = raw
    made.grade(fitted)
    return made


def test_before_the_first_sample() -> None:
    frame = SampleFrame(WATER, 9, UID, node_key())
    empty = Reading(WATER)
    empty.grade(0b1101)
    frame.show_empty(empty, 1, 2)
    frame.show_empty(empty, 1, 2)
    verify(frame.shown(), MAC, UID)
    sample = decode(frame.shown())
    assert sample.header.seq == 0
    assert sample.header.boot_epoch == 9
    assert sample.quality == (6, 5, 6, 6)  # no sample, and one point that is not fitted
    assert sample.raw == (0, 0, 0, 0)
    assert frame.seq == 0
    assert frame.readings == 0


def test_samples_count_and_carry_their_figures() -> None:
    frame = SampleFrame(WATER, 1, UID, node_key())
    frame.show_empty(Reading(frame.map), 0, 0)
    frame.show(reading([0] * 4, [100, -550, 700, 5]), 1000, 0x18, 3)
    verify(frame.shown(), MAC, UID)
    sample = decode(frame.shown())
    assert (sample.header.seq, sample.header.t_boot_ms) == (1, 1000)
    assert (sample.header.status, sample.header.event_seq, sample.header.key_id) == (0x18, 3, 7)
    assert sample.raw == (100, -550, 700, 5)
    frame.show(reading([0, 2, 0, 3], [101, 1, 701, 1]), 2000, 0, 3)
    sample = decode(frame.shown())
    assert sample.header.seq == 2
    assert sample.quality == (0, 2, 0, 3)
    assert sample.raw == (101, 0, 701, 0)
    assert frame.seq == 2
    assert frame.readings == 6


def test_values_out_of_range_are_not_shown_as_readings() -> None:
    frame = SampleFrame(WATER, 1, UID, node_key())
    frame.show(reading([0] * 4, [29, 12501, 1401, 40000]), 0, 0, 0)
    sample = decode(frame.shown())
    assert sample.quality == (4, 4, 4, 0)
    assert sample.raw == (0, 0, 0, 40000)
    assert frame.readings == 1
    frame.show(reading([0] * 4, [30, -5500, 0, -1], 0b0110), 0, 0, 0)
    assert decode(frame.shown()).quality == (5, 0, 0, 5)


def test_the_hidden_buffer_is_never_seen() -> None:
    frame = SampleFrame(AIR, 1, UID, node_key())
    frame.show_empty(Reading(frame.map), 0, 0)
    for number in range(1, 6):
        before = frame.shown()
        content = bytes(before)
        hidden = frame.buffers[1 - frame.front]
        assert hidden is not before
        for index in range(len(hidden)):  # half a frame, as an interrupted writer leaves it
            hidden[index] = 0xA5
            assert bytes(frame.shown()) == content
        frame.show(reading([0] * 7, [number] * 7, map=AIR), number, 0, 0)
        assert frame.shown() is hidden
        assert bytes(before) == content, "who still holds the old frame holds a whole one"
        verify(frame.shown(), MAC, UID)
        assert decode(frame.shown()).raw == (number,) * 7


def test_a_writer_that_fails_shows_nothing() -> None:
    frame = SampleFrame(WATER, 1, UID, node_key())
    frame.show(reading([0] * 4, [100, 1, 1, 1]), 5, 0, 0)
    content = bytes(frame.shown())
    broken = reading([0] * 4, [100, 1, 1, 1])
    broken.raw.pop()
    raises(AssertionError, frame.show, broken, 6, 0, 0)
    assert bytes(frame.shown()) == content
    assert (frame.seq, frame.readings) == (1, 4)
    frame.show(reading([0] * 4, [101, 1, 1, 1]), 7, 0, 0)
    assert decode(frame.shown()).header.seq == 2


def test_events_in_order_and_the_oldest_go() -> None:
    events = Events()
    frame = EventFrame(4, UID, node_key())
    counts: list[int] = []
    events.on_push = lambda: counts.append(events.count)
    frame.show(events, 0, 0)
    assert decode_events(frame.shown())[1] == ()
    for number in range(1, 41):
        events.push(registers.EVENT_SENSOR, number, 1000 * number)
        frame.show(events, 1000 * number, events.status())
        verify(frame.shown(), MAC, UID)
        header, held = decode_events(frame.shown())
        assert header.seq == number
        assert header.boot_epoch == 4
        assert header.status == (registers.STATUS_EVENTS_LOST if number > 16 else 0)
        first = max(1, number - 15)
        assert [event.number for event in held] == list(range(first, number + 1))
        assert [event.arg for event in held] == list(range(first, number + 1))
        assert [event.t_boot_ms for event in held] == [1000 * n for n in range(first, number + 1)]
    assert counts == list(range(1, 41))


def test_an_event_that_does_not_fit_is_our_bug() -> None:
    events = Events()
    raises(LocalError, events.push, 0, 0, 0)
    raises(LocalError, events.push, 65536, 0, 0)
    raises(LocalError, events.push, 1, -1, 0)
    raises(LocalError, events.push, 1, 65536, 0)
    assert events.count == 0
    events.push(1, 65535, 1 << 32)
    assert events.slots() == [(1, 65535, 0)]


def test_without_a_key_nothing_is_proved() -> None:
    frame = SampleFrame(WATER, 1, UID, node_key(None))
    frame.show(reading([0] * 4, [100, 1, 1, 1]), 0, 0, 0)
    assert frame.shown()[-18:] == bytes(18)
    raises(PeerError, verify, frame.shown(), MAC, UID)


def test_keys() -> None:
    key = node_key()
    assert key.key_id == 7
    assert key.problem == ""
    assert key.mac is not None
    assert key.mac.digest(b"x") == MAC.digest(b"x")
    bad = [
        None,
        b"",
        b"{",
        b"[]",
        b"7",
        b"\xff\xfe",
        b'{"key_id": 1}',
        b'{"key_id": "1", "key": "' + b"5a" * 32 + b'"}',
        b'{"key_id": -1, "key": "' + b"5a" * 32 + b'"}',
        b'{"key_id": 65536, "key": "' + b"5a" * 32 + b'"}',
        b'{"key_id": 1, "key": "' + b"5a" * 31 + b'"}',
        b'{"key_id": 1, "key": "' + b"5a" * 33 + b'"}',
        b'{"key_id": 1, "key": "' + b"zz" * 32 + b'"}',
        b'{"key_id": 1, "key": 5}',
    ]
    for content in bad:
        key = node_key(content)
        assert key.mac is None, content
        assert "memory/node.key" in key.problem, content
        assert "5a5a" not in key.problem, "half a key on the console is a key lost"


def test_identification() -> None:
    objects = identification(AIR, UID)
    assert objects[0x00] == b"tianfu-edge"
    assert objects[0x01] == b"TF-AIR"
    assert objects[0x02] == b"0.1.0"
    assert objects[0x05] == b"air"
    assert objects[0x80] == b"000102030405060708090a0b"
    assert objects[0x81] == b"0101.1"
    assert 0x82 not in objects, "a board that runs files has no image"
    assert identification(AIR, UID, bytes(range(32)))[0x82] == bytes(range(32))
