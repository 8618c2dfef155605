"""The small parts of the link: the queue of a channel, the timeout, the pace of a line."""

from protocols.wire.link.opening import OpeningFrames
from protocols.wire.link.pace import LinePace
from protocols.wire.link.ring import MessageRing
from protocols.wire.link.round_trip import RoundTrip


def _diff(a: int, b: int) -> int:
    return a - b


def _content(ring: MessageRing) -> "list[bytes]":
    """All messages, without their lengths."""
    messages = []
    at = 0
    while ring.length(at):
        length = ring.length(at)
        out = bytearray(length + 1)
        ring.copy(at, length, out, 1)
        messages.append(bytes(out[3 if length > 128 else 2 :]))
        at += length
    assert at == ring.used
    return messages


def test_messages_of_every_length_stand_at_every_place_of_the_ring() -> None:
    for size in (1, 2, 126, 127, 128, 129, 229):
        ring = MessageRing(240)
        message = bytes((index + size) & 0xFF for index in range(size))
        for _ in range(260):
            ring.put(message, size)
            assert _content(ring) == [message]
            ring.put(b"x", 1)
            ring.release(ring.length(0))
            assert _content(ring) == [b"x"]
            ring.release(2)
        assert ring.used == 0


def test_lengths_stand_as_they_do_in_a_packet() -> None:
    ring = MessageRing(600)
    for size, head in ((1, b"\x01"), (127, b"\x7f"), (128, b"\x80\x80"), (484, b"\x81\xe4")):
        ring.put(bytes(size), size)
        out = bytearray(2)
        ring.copy(0, len(head), out, 0)
        assert bytes(out[: len(head)]) == head
        assert ring.length(0) == len(head) + size
        ring.clear()
        assert ring.length(0) == 0


def test_room_is_what_fits_whatever_its_length_takes() -> None:
    ring = MessageRing(131)
    assert ring.room() == ring.longest() == 129
    ring.put(bytes(129), 129)
    assert ring.used == 131
    assert ring.room() == 0
    ring.release(131)
    ring.put(bytes(100), 100)
    assert ring.room() == 28


def test_a_message_in_the_middle_is_forgotten_and_all_others_stay() -> None:
    for shift in range(70):
        for place in range(4):
            ring = MessageRing(64)
            ring.put(bytes(shift % 60), shift % 60)
            ring.release(ring.used)
            messages = [bytes((number,)) * (5 + number) for number in range(4)]
            for message in messages:
                ring.put(message, len(message))
            offset = sum(1 + len(message) for message in messages[:place])
            assert ring.remove(offset)
            assert _content(ring) == messages[:place] + messages[place + 1 :]
            assert not ring.remove(ring.used)


def test_the_timeout_is_that_of_rfc_6298() -> None:
    trip = RoundTrip()
    trip.start(0)
    assert trip.smoothed_ms() == -1
    assert [trip.timeout_ms(tries) for tries in (0, 1, 2)] == [1000, 2000, 4000]
    trip.measured(200)
    # R = 200: SRTT = 200, RTTVAR = 100, RTO = 600; then doubled once and no more.
    assert trip.smoothed_ms() == 200
    assert [trip.timeout_ms(tries) for tries in (0, 1, 2)] == [600, 1200, 1200]
    trip.measured(280)
    # RTTVAR = 3/4 x 100 + 1/4 x 80 = 95, SRTT = 7/8 x 200 + 1/8 x 280 = 210, RTO = 210 + 380.
    assert trip.smoothed_ms() == 210
    assert trip.timeout_ms(0) == 590
    for _ in range(100):
        trip.measured(10)
    assert trip.smoothed_ms() == 10
    assert trip.timeout_ms(0) == 50
    trip.start(44)
    assert trip.timeout_ms(0) == 94
    for _ in range(100):
        trip.measured(9000)
    assert trip.timeout_ms(1) == 4000


def test_a_line_has_its_next_frame_4_ms_before_it_is_idle() -> None:
    pace = LinePace(115_200, _diff)
    assert pace.frame_ms(512) == 44
    assert pace.wait_ms(100) == 0
    pace.sent(512)  # 44.44 ms
    assert pace.wait_ms(100) == 41
    assert pace.wait_ms(120) == 21
    assert pace.wait_ms(140) == 1
    assert pace.wait_ms(141) == 0
    pace.sent(512)
    # What was left of the first one is not forgotten: 3.4 ms more.
    assert pace.wait_ms(141) == 44
    assert pace.wait_ms(10_000_000) == 0
    for baud in (300, 9600, 1_000_000):
        pace = LinePace(baud, _diff)
        pace.wait_ms(0)
        pace.sent(100)
        assert abs(pace.wait_ms(0) - max(0, 1_000_000 // baud - 4)) <= 1
    free = LinePace(0, _diff)
    free.sent(512)
    assert free.wait_ms(0) == free.frame_ms(512) == 0


def test_the_newest_of_each_type_is_sent_and_four_a_second_are_answered() -> None:
    frames = OpeningFrames(_diff)
    assert frames.due() == 0
    frames.put(4, b"confirm")
    frames.put(2, b"hello")
    frames.put(2, b"newer")
    assert (frames.due(), frames.take(2)) == (2, b"newer")
    frames.put(4, None)
    assert frames.due() == 0
    assert [frames.too_many(1, at) for at in (0, 1, 2, 3, 4, 999)] == [False] * 4 + [True] * 2
    assert not frames.too_many(3, 999)
    assert [frames.too_many(1, at) for at in (1000, 1001)] == [False] * 2
