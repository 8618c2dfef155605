"""t1.5 and t3.5: what is one frame, and when it is answered."""

from protocols.wire.modbus.server import NEED_DATA, SILENT, RtuServer

from .support import CHAR_US, IDENTITY, Bank, Line, with_crc

_READ = with_crc(b"\x01\x04\x00\x08\x00\x01")
_ANSWER = with_crc(b"\x01\x04\x02\x00\x0a")
_WRITE = with_crc(b"\x01\x06\x00\x0a\x12\x34")
_ALL_WRITE = with_crc(b"\x00\x06\x00\x0a\x12\x34")


def _bank() -> Bank:
    return Bank(bytes(17) + b"\x0a" + bytes(14), bytes(64))


def _server(baud: int = 9600, strict: bool = True) -> RtuServer:
    return RtuServer(1, _bank(), IDENTITY, baud, strict)


def test_the_answer_comes_after_t35() -> None:
    # 3.5 characters of 11 bits, rounded up; fixed above 19200 baud (section 2.5.1.1)
    for baud, t35_us in (
        (1200, 32084),
        (9600, 4011),
        (19200, 2006),
        (19201, 1750),
        (38400, 1750),
        (115200, 1750),
    ):
        for strict in (True, False):
            server = _server(baud, strict)
            assert server.wait_us(5) == -1
            assert server.poll(5) == NEED_DATA
            server.feed(_READ, len(_READ), 70_000)
            assert server.wait_us(70_000) == t35_us
            assert server.poll(70_000) == NEED_DATA
            assert server.wait_us(70_000 + t35_us - 1) == 1
            assert server.poll(70_000 + t35_us - 1) == NEED_DATA, baud
            assert server.wait_us(70_000 + t35_us) == 0
            assert server.wait_us(99_000_000) == 0
            assert server.poll(70_000 + t35_us) == len(_ANSWER), baud
            assert bytes(server.tx[: len(_ANSWER)]) == _ANSWER
            assert server.poll(70_000 + t35_us) == NEED_DATA
            assert server.wait_us(70_000 + t35_us) == -1


def _with_gap(baud: int, char_us: int, gap_us: int, at: int) -> int:
    """The request byte by byte, a silence of ``gap_us`` before byte ``at``."""
    server = _server(baud)
    now_us = 1000
    for index in range(len(_READ)):
        now_us += char_us + (gap_us if index == at else 0)
        server.feed(_READ[index : index + 1], 1, now_us)
    return server.poll(now_us + 50_000)


def test_a_gap_of_t15_is_the_longest_inside_a_frame() -> None:
    # 1.5 characters: 1718.75 us at 9600 baud, 750 us above 19200
    for baud, char_us, t15_us in ((9600, 1145, 1719), (19200, 572, 860), (57600, 190, 750)):
        for at in range(1, len(_READ)):
            assert _with_gap(baud, char_us, t15_us, at) == len(_ANSWER), (baud, at)
            assert _with_gap(baud, char_us, t15_us + 1, at) == SILENT, (baud, at)


def test_without_strict_only_a_poll_ends_a_frame() -> None:
    for at in range(1, len(_READ)):
        for quiet_us, answered in ((4010, True), (4011, False)):
            server = _server(9600, False)
            server.feed(_READ, at, 1000)
            before = server.poll(1000 + quiet_us)
            assert before == (NEED_DATA if answered else SILENT), at
            server.feed(_READ[at:], len(_READ) - at, 6000)
            assert server.poll(6000 + 4011) == (len(_ANSWER) if answered else SILENT), at


def test_without_strict_a_pause_between_two_feeds_means_nothing() -> None:
    for at in range(1, len(_READ)):
        server = _server(9600, False)
        server.feed(_READ, at, 1000)
        server.feed(_READ[at:], len(_READ) - at, 2_000_000)
        assert server.poll(2_004_010) == NEED_DATA, at
        assert server.poll(2_004_011) == len(_ANSWER), at


def test_a_spoiled_frame_lasts_to_the_next_silence() -> None:
    line = Line(_bank())
    line.server.feed(b"\x02", 1, line.now_us)
    line.now_us += len(_WRITE) * CHAR_US + 3000  # over t1.5, below t3.5
    assert line.whole(_WRITE) is None
    assert line.bank.writes == 0
    assert line.server.counters.bus_error == 1
    assert line.whole(_READ) == _ANSWER


def test_bytes_handed_over_together_took_their_time() -> None:
    # Eight bytes that ended at this moment began eight characters ago: no gap before them.
    line = Line(_bank())
    long = with_crc(b"\x01\x10\x00\x00\x00\x04\x08" + bytes(8))
    line.server.feed(long, 9, line.now_us)
    line.now_us += 8 * CHAR_US
    assert line.whole(long[9:]) == with_crc(b"\x01\x10\x00\x00\x00\x04")


def test_a_request_nobody_polled_for_gets_no_answer() -> None:
    for strict in (True, False):
        line = Line(_bank(), strict=strict)
        for frame in (_READ, _WRITE):
            line.server.feed(frame, len(frame), line.now_us)
            line.now_us += 100_000
        line.server.feed(_ALL_WRITE, len(_ALL_WRITE), line.now_us)
        # Without strict only a poll ends a frame, so all of them are still together.
        assert line.server.wait_us(line.now_us) == (0 if strict else 4011)
        assert line.server.poll(line.now_us) == (SILENT if strict else NEED_DATA)
        assert line.bank.writes == line.bank.reads == 0
        line.now_us += 100_000
        assert line.whole(_READ) == _ANSWER
        assert line.bank.writes == 1  # the broadcast is executed, late or not
        assert line.server.counters.server_no_response == 3
        assert line.server.counters.server_message == 4


def test_frames_that_make_room_are_reported_at_once() -> None:
    server = _server(strict=False)
    others = with_crc(b"\x02\x04\x00\x00\x00\x01") + with_crc(b"\x02\x04\x02\x00\x00")
    server.feed(others * 20, len(others) * 20, 0)
    assert server.poll(0) == SILENT
    assert server.poll(0) == NEED_DATA
    assert server.poll(5000) == SILENT
    assert server.counters.bus_message == 40


def test_silence_is_reported_before_the_answer() -> None:
    server = _server()
    server.feed(b"\x01\x02", 2, 0)
    server.feed(_READ, len(_READ), 100_000)
    assert server.poll(100_000) == SILENT
    assert server.poll(100_000) == NEED_DATA
    assert server.poll(104_011) == len(_ANSWER)


def test_an_answer_swallows_the_silence_before_it() -> None:
    server = _server()
    server.feed(b"\x01\x02", 2, 0)
    server.feed(_READ, len(_READ), 100_000)
    assert server.poll(104_011) == len(_ANSWER)
    assert server.poll(200_000) == NEED_DATA
    assert server.wait_us(200_000) == -1


def test_nothing_is_too_long_to_survive() -> None:
    for strict in (True, False):
        for length in (257, 512, 10_000):
            line = Line(_bank(), strict=strict)
            assert line.whole(b"\x55" * length) is None
            assert line.server.counters.bus_error == 1
            assert line.whole(_READ) == _ANSWER
            assert line.by_bytes(b"\x01" * 300) is None
            assert line.whole(_READ) == _ANSWER


def test_a_frame_of_256_bytes_is_the_longest() -> None:
    for strict in (True, False):
        frame = with_crc(b"\x01\x08\x00\x00" + bytes(250))
        assert len(frame) == 256
        assert Line(_bank(), strict=strict).whole(frame) == frame
        assert Line(_bank(), strict=strict).by_bytes(frame) == frame
        longer = with_crc(b"\x01\x08\x00\x00" + bytes(252))
        assert Line(_bank(), strict=strict).whole(longer) is None


def test_ticks_that_wrap() -> None:
    period = 1 << 30

    def diff(a: int, b: int) -> int:
        return (a - b + period // 2) % period - period // 2

    for start in (period - 5000, period - 1200, period - 2, 0):
        server = RtuServer(1, _bank(), IDENTITY, 9600, True, diff)
        now_us = start
        for byte in _READ:
            now_us = (now_us + CHAR_US) % period
            server.feed(bytes([byte]), 1, now_us)
        assert server.poll((now_us + 4010) % period) == NEED_DATA
        assert server.wait_us((now_us + 4010) % period) == 1
        assert server.poll((now_us + 4011) % period) == len(_ANSWER), start


def test_a_clock_read_too_early_waits() -> None:
    server = _server()
    server.feed(_READ, len(_READ), 10_000)
    assert server.poll(9_000) == NEED_DATA
    assert server.wait_us(9_000) == 5011
    assert server.poll(14_011) == len(_ANSWER)


def test_the_speed_of_requests_has_no_memory() -> None:
    line = Line(_bank())
    for _ in range(50):
        assert line.whole(_READ) == _ANSWER
        assert line.by_bytes(_READ) == _ANSWER
        assert line.whole(_READ[:5]) is None
