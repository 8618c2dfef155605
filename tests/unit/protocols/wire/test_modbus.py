"""The Modbus RTU server against the frames of modbus.json, in every shape in which they arrive."""

from protocols.wire.errors import BAD_VALUE, LocalError
from protocols.wire.modbus.adu import answer_length, request_length
from protocols.wire.modbus.pdu import (
    BUSY,
    DEVICE_FAILURE,
    ILLEGAL_ADDRESS,
    ILLEGAL_FUNCTION,
    ILLEGAL_VALUE,
    NAK,
)
from protocols.wire.modbus.server import NEED_DATA, SILENT, RtuServer
from tests.dual import raises, vectors

from .support import IDENTITY, Bank, Line, unhex, with_crc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_VECTORS = vectors("modbus")
_IDENTITY = {int(number): bytes.fromhex(text) for number, text in _VECTORS["identity"].items()}
_CASES = _VECTORS["cases"]


def _bank() -> Bank:
    return Bank(bytes.fromhex(_VECTORS["input"]), bytes.fromhex(_VECTORS["holding"]))


def _line(case: "dict[str, Any]", strict: bool = True) -> Line:
    return Line(_bank(), case["unit"], _IDENTITY, 9600, strict)


def _check_holding(case: "dict[str, Any]", bank: Bank) -> None:
    expected = bytearray(bytes.fromhex(_VECTORS["holding"]))
    for address, value in case.get("holding", []):
        expected[2 * address] = value >> 8
        expected[2 * address + 1] = value & 0xFF
    assert bank.holding == expected, case["name"]


def test_whole_frames_as_bytes_bytearray_and_memoryview() -> None:
    for case in _CASES:
        data = bytes.fromhex(case["request"])
        for strict in (True, False):
            for frame in (data, bytearray(data), memoryview(data)):
                line = _line(case, strict)
                assert line.whole(frame) == unhex(case["answer"]), case["name"]
                _check_holding(case, line.bank)


def test_byte_by_byte() -> None:
    for case in _CASES:
        for strict in (True, False):
            line = _line(case, strict)
            data = bytes.fromhex(case["request"])
            assert line.by_bytes(data) == unhex(case["answer"]), case["name"]
            _check_holding(case, line.bank)


def test_in_pieces_as_an_operating_system_hands_them_over() -> None:
    for case in _CASES:
        data = bytes.fromhex(case["request"])
        for size, pause_us in ((1, 4000), (3, 0), (7, 3000), (64, 4000)):
            line = _line(case, False)
            assert line.pieces(data, size, pause_us) == unhex(case["answer"]), case["name"]
            _check_holding(case, line.bank)


def test_one_after_the_other_on_one_server() -> None:
    random = bytes.fromhex("5502FFAA00")
    for strict in (True, False):
        line = _line(_CASES[0], strict)
        for case in _CASES:
            if case["unit"] != 1:
                continue
            line.bank.inputs[:] = bytes.fromhex(_VECTORS["input"])
            line.bank.holding[:] = bytes.fromhex(_VECTORS["holding"])
            assert line.whole(random) is None
            assert line.whole(with_crc(b"\x02\x04\x02\x01\x02")) is None
            line.server.counters.clear()
            assert line.whole(bytes.fromhex(case["request"])) == unhex(case["answer"]), case["name"]
            _check_holding(case, line.bank)


def test_behind_another_servers_dialogue_without_a_gap() -> None:
    others = with_crc(b"\x21\x04\x00\x00\x00\x01") + with_crc(b"\x21\x04\x02\x01\x02")
    for case in _CASES:
        if case["name"][:7] in ("FC 08 0", "255 byt"):
            continue  # their answers count the frames before them
        line = _line(case, False)
        data = others + bytes.fromhex(case["request"])
        assert line.whole(data) == unhex(case["answer"]), case["name"]
        _check_holding(case, line.bank)


def test_bursts() -> None:
    for case in _VECTORS["bursts"]:
        data = bytes.fromhex(case["data"])
        for size in (len(data), 256, 64, 1):
            line = _line(case, False)
            assert line.pieces(data, size, 0) == unhex(case["answer"]), (case["name"], size)
            _check_holding(case, line.bank)
            # Whatever it was, the next request is heard.
            answer = line.whole(with_crc(b"\x01\x04\x00\x08\x00\x01"))
            assert answer == with_crc(b"\x01\x04\x02\x00\x0a"), case["name"]


def test_noise_behind_frames_is_one_error() -> None:
    line = _line(_CASES[0], False)
    other = with_crc(b"\x02\x04\x00\x00\x00\x01")
    for noise in (b"\x55", b"\x55\xaa", b"\x01\x04\x00", b"\x01\x04\x00\x08\x00"):
        line.server.counters.clear()
        assert line.whole(other + other + noise) is None
        assert line.server.counters.bus_message == 2
        assert line.server.counters.bus_error == 1


def test_bursts_are_noise_where_gaps_can_be_seen() -> None:
    for case in _VECTORS["bursts"]:
        line = _line(case)
        data = bytes.fromhex(case["data"])
        if len(data) > 256 or request_length(bytearray(data), len(data)) != len(data):
            assert line.whole(data) is None, case["name"]
            assert line.bank.writes == 0


def test_torn_frames_of_others_are_not_requests() -> None:
    for case in _VECTORS["torn"]:
        for strict in (True, False):
            line = _line(case, strict)
            assert line.whole(bytes.fromhex(case["first"])) is None
            assert line.whole(bytes.fromhex(case["second"])) is None, case["name"]
            assert line.bank.writes == 0
            assert line.server.counters.bus_error == 2
            # Without the first half before it, the same bytes are a frame.
            line.whole(bytes.fromhex(case["second"]))
            assert line.server.counters.bus_error == 2


def test_every_truncation_is_silent_and_harms_nothing() -> None:
    for case in _CASES:
        if "behind it" in case["name"]:
            continue  # a whole frame is among its beginnings
        data = bytes.fromhex(case["request"])
        lengths = range(1, len(data)) if len(data) < 40 else range(1, len(data), 37)
        line = _line(case)
        for length in lengths:
            assert line.whole(data[:length]) is None, (case["name"], length)
        _check_holding({"name": case["name"]}, line.bank)
        assert line.bank.reads == line.bank.writes == 0
        line.server.counters.clear()
        assert line.whole(data) == unhex(case["answer"]), case["name"]


def test_every_flipped_bit_is_silent() -> None:
    for case in _CASES:
        if case["answer"] is None or len(case["request"]) > 40:
            continue
        line = _line(case)
        data = bytearray(bytes.fromhex(case["request"]))
        for bit in range(8 * len(data)):
            data[bit // 8] ^= 1 << bit % 8
            assert line.whole(data) is None, (case["name"], bit)
            data[bit // 8] ^= 1 << bit % 8
        assert line.bank.reads == line.bank.writes == 0
        assert line.server.counters.bus_error == 8 * len(data)


def test_no_frame_for_others_is_answered() -> None:
    for unit_id in range(256):
        line = Line(_bank())
        answer = line.whole(with_crc(bytes([unit_id]) + b"\x04\x00\x00\x00\x01"))
        assert (answer is not None) == (unit_id == 1), unit_id


def test_every_unit_id_is_served() -> None:
    for unit_id in range(1, 248):
        line = Line(_bank(), unit_id)
        answer = line.whole(with_crc(bytes([unit_id]) + b"\x04\x00\x08\x00\x01"))
        assert answer == with_crc(bytes([unit_id]) + b"\x04\x02\x00\x0a")


def test_every_function_is_answered_or_refused() -> None:
    ours = (3, 4, 6, 8, 0x10, 0x17, 0x2B)
    for function in range(128):
        line = Line(_bank())
        if function in (0x07, 0x0B, 0x0C, 0x11):
            data = b""
        elif function in (0x0F, 0x10):
            data = b"\x00\x00\x00\x01\x02\x00\x01"
        else:
            data = b"\x00\x00\x00\x01"
        answer = line.whole(with_crc(bytes([1, function]) + data))
        assert answer is not None, function
        if function in ours:
            assert answer[1:3] != bytes([function | 0x80, 1]) or function == 0x2B
        else:
            assert answer == with_crc(bytes([1, function | 0x80, 1])), function


def test_the_code_that_the_bank_returns_is_passed_on() -> None:
    requests = [
        b"\x01\x03\x00\x00\x00\x01",
        b"\x01\x04\x00\x00\x00\x01",
        b"\x01\x06\x00\x00\x00\x01",
        b"\x01\x10\x00\x00\x00\x01\x02\x00\x01",
        b"\x01\x17\x00\x00\x00\x01\x00\x00\x00\x01\x02\x00\x01",
    ]
    for request in requests:
        for code in (ILLEGAL_ADDRESS, 3, DEVICE_FAILURE, BUSY, 7):
            line = Line(_bank())
            line.bank.code = code
            refused = with_crc(bytes([1, request[1] | 0x80, code]))
            assert line.whole(with_crc(request)) == refused
            counters = line.server.counters
            assert counters.bus_exception == 1
            assert counters.server_busy == (1 if code == BUSY else 0)
            assert counters.server_nak == (1 if code == 7 else 0)


class _Anything:
    """A bank that has every register and remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    def read_input(self, address: int, count: int, out: bytearray, at: int) -> int:
        self.asked.append((address, count))
        return 0

    def read_holding(self, address: int, count: int, out: bytearray, at: int) -> int:
        self.asked.append((address, count))
        return 0

    def write_holding(self, address: int, count: int, data: bytearray, at: int) -> int:
        self.asked.append((address, count))
        return 0


def _asked(pdu: bytes) -> "list[tuple[int, int]]":
    bank = _Anything()
    server = RtuServer(1, bank, IDENTITY)
    frame = with_crc(b"\x01" + pdu)
    server.feed(frame, len(frame), 0)
    length = server.poll(10_000)
    if not bank.asked:
        assert bytes(server.tx[:length]) == with_crc(bytes([1, pdu[0] | 0x80, 2]))
    return bank.asked


def test_the_bank_is_asked_up_to_register_65535_and_not_beyond() -> None:
    for function in (3, 4):
        assert _asked(bytes([function]) + b"\x12\x34\x00\x7d") == [(0x1234, 125)]
        assert _asked(bytes([function]) + b"\xff\xff\x00\x01") == [(0xFFFF, 1)]
        assert _asked(bytes([function]) + b"\xff\xff\x00\x02") == []
    assert _asked(b"\x06\x12\x34\x00\x01") == [(0x1234, 1)]
    assert _asked(b"\x06\xff\xff\x00\x01") == [(0xFFFF, 1)]
    assert _asked(b"\x10\x12\x34\x00\x02\x04" + bytes(4)) == [(0x1234, 2)]
    assert _asked(b"\x10\xff\xfe\x00\x02\x04" + bytes(4)) == [(0xFFFE, 2)]
    assert _asked(b"\x10\xff\xff\x00\x02\x04" + bytes(4)) == []
    last = [(0xFFFF, 1), (0x1234, 1), (0xFFFF, 1)]
    assert _asked(b"\x17\xff\xff\x00\x01\x12\x34\x00\x01\x02\x00\x00") == last
    last = [(0x1234, 1), (0xFFFF, 1), (0x1234, 1)]
    assert _asked(b"\x17\x12\x34\x00\x01\xff\xff\x00\x01\x02\x00\x00") == last
    assert _asked(b"\x17\xff\xff\x00\x02\x12\x34\x00\x01\x02\x00\x00") == []
    assert _asked(b"\x17\x12\x34\x00\x01\xff\xff\x00\x02\x04" + bytes(4)) == []


def test_a_refused_write_of_fc_17_reads_nothing_afterwards() -> None:
    line = Line(_bank())
    request = b"\x01\x17\x00\x00\x00\x01\x00\x00\x00\x01\x02\xff\xff"
    assert line.whole(with_crc(request)) == with_crc(b"\x01\x97\x03")
    assert (line.bank.reads, line.bank.writes) == (1, 1)


def _ask(line: Line, sub_function: int) -> int:
    request = with_crc(bytes([1, 8, 0, sub_function, 0, 0]))
    answer = line.whole(request)
    assert answer is not None
    assert answer[:4] == request[:4]
    return answer[4] << 8 | answer[5]


def test_counters_count_what_the_specification_says() -> None:
    line = Line(_bank())
    read = with_crc(b"\x01\x04\x00\x00\x00\x01")
    assert line.whole(with_crc(b"\x01\x04\x00\x00\x00\x00")) is not None  # an exception
    assert line.whole(read) is not None
    assert line.whole(with_crc(b"\x02\x04\x00\x00\x00\x01")) is None  # for another
    assert line.whole(with_crc(b"\x00\x06\x00\x80\x00\x00")) is None  # a hidden exception
    assert line.whole(with_crc(b"\x00\x06\x00\x00\x00\x00")) is None
    assert line.whole(read[:-1]) is None
    assert line.whole(b"\x01") is None
    line.bank.code = BUSY
    assert line.whole(read) is not None
    line.bank.code = 7
    assert line.whole(read) is not None
    line.bank.code = 0
    line.server.counters.overrun += 3
    assert _ask(line, 0x0B) == 8
    assert _ask(line, 0x0C) == 2
    assert _ask(line, 0x0D) == 4
    assert _ask(line, 0x0E) == 10
    assert _ask(line, 0x0F) == 2
    assert _ask(line, 0x10) == 1
    assert _ask(line, 0x11) == 1
    assert _ask(line, 0x12) == 3
    assert _ask(line, 0x0A) == 0
    assert _ask(line, 0x0B) == 1
    for sub_function in (0x0C, 0x0D, 0x0F, 0x10, 0x11, 0x12):
        assert _ask(line, sub_function) == 0
    assert _ask(line, 0x0E) == 8


def test_counters_show_their_low_16_bits() -> None:
    line = Line(_bank())
    line.server.counters.bus_message = 0x1FFFF
    assert _ask(line, 0x0B) == 0
    line.server.counters.bus_error = 0x51234
    assert _ask(line, 0x0C) == 0x1234


def test_a_request_with_a_zero_byte_behind_it_is_an_error_of_the_line() -> None:
    line = Line(_bank())
    assert line.whole(with_crc(b"\x01\x04\x00\x00\x00\x01") + b"\x00") is None
    assert line.server.counters.bus_error == 1
    assert line.server.counters.server_message == 0


def test_identification_in_several_answers() -> None:
    identity = dict(IDENTITY)
    for number in range(0x80, 0x88):
        identity[number] = bytes([number]) * (number - 60)
    identity[3] = b"x" * 17
    identity[0x7F] = b"y"
    identity[0x90] = b"x" * 244
    identity[0x91] = b""
    line = Line(_bank(), 1, identity)
    for kind, last in ((1, 2), (2, 0x7F), (3, 0x91)):
        found: dict[int, bytes] = {}
        object_id = 0
        for _ in range(20):
            answer = line.whole(with_crc(bytes([1, 0x2B, 0x0E, kind, object_id])))
            assert answer is not None
            assert answer[:5] == bytes([1, 0x2B, 0x0E, kind, 0x83])
            at = 8
            for _ in range(answer[7]):
                length = answer[at + 1]
                assert answer[at] not in found
                found[answer[at]] = answer[at + 2 : at + 2 + length]
                at += 2 + length
            assert at == len(answer) - 2
            assert answer[7] > 0
            if answer[5] == 0:
                assert answer[6] == 0
                break
            assert answer[5] == 0xFF
            object_id = answer[6]
        assert found == {key: value for key, value in identity.items() if key <= last}


def test_identification_fills_the_longest_frame() -> None:
    for size, number in ((0, 4), (1, 3)):
        identity = {0: b"vendor", 1: b"product", 2: b"1", 3: b"x" * (224 + size)}
        answer = Line(_bank(), 1, identity).whole(with_crc(b"\x01\x2b\x0e\x02\x00"))
        assert answer is not None
        assert answer[7] == number
        assert number == 3 or len(answer) == 256


def test_conformity_shows_which_objects_there_are() -> None:
    for extra, conformity in (
        ({}, 0x81),
        ({3: b"url"}, 0x82),
        ({0x7F: b"last"}, 0x82),
        ({0x80: b"id"}, 0x83),
    ):
        identity = dict(IDENTITY)
        identity.update(extra)
        answer = Line(_bank(), 1, identity).whole(with_crc(b"\x01\x2b\x0e\x01\x00"))
        assert answer is not None
        assert answer[4] == conformity
        assert answer[7] == 3  # basic: the extra object is not among them


def test_without_identity_there_is_no_identification() -> None:
    answer = Line(_bank(), 1, {}).whole(with_crc(b"\x01\x2b\x0e\x01\x00"))
    assert answer == with_crc(b"\x01\xab\x01")


def test_settings_that_cannot_be_are_our_error() -> None:
    bank = _bank()
    for unit_id in (-1, 0, 248, 256):
        error = raises(LocalError, RtuServer, unit_id, bank, IDENTITY)
        assert (error.code, error.got) == (BAD_VALUE, unit_id)
    for baud in (0, -9600, 299, 1_000_001):
        assert raises(LocalError, RtuServer, 1, bank, IDENTITY, baud).got == baud
    for baud in (300, 1_000_000):
        RtuServer(1, bank, IDENTITY, baud)
    for number in (0, 1, 2):
        missing = dict(IDENTITY)
        del missing[number]
        assert raises(LocalError, RtuServer, 1, bank, missing).expected == number
    RtuServer(247, bank, {0: b"", 1: b"", 2: b"", 255: b""})
    for number in (-1, 256):
        identity = dict(IDENTITY)
        identity[number] = b""
        assert raises(LocalError, RtuServer, 1, bank, identity).got == number
    identity = dict(IDENTITY)
    identity[4] = b"x" * 245
    assert raises(LocalError, RtuServer, 1, bank, identity).got == 245


def test_lengths_that_cannot_be_are_our_error() -> None:
    line = Line(_bank())
    for length in (-1, 3):
        raises(LocalError, line.server.feed, b"\x01\x04", length, 0)
    line.server.feed(b"", 0, 0)
    assert line.server.poll(10_000_000) == NEED_DATA


def test_only_length_bytes_are_taken() -> None:
    line = Line(_bank())
    request = with_crc(b"\x01\x04\x00\x08\x00\x01")
    line.server.feed(request + b"old bytes of the buffer", len(request), line.now_us)
    assert line.end() == with_crc(b"\x01\x04\x02\x00\x0a")


def test_the_length_of_a_frame_is_read_from_it() -> None:
    # Requests and answers of every case: the right one of the two functions gives its length.
    for case in _CASES:
        if case["answer"] is None:
            continue
        request = bytearray(bytes.fromhex(case["request"]))
        answer = bytearray(bytes.fromhex(case["answer"]))
        known = answer_length(answer, len(answer))
        # Only FC 08 00 may be of any length, and nothing in the frame gives it.
        assert known == len(answer) or request[1:4] == b"\x08\x00\x00", case["name"]
        if answer[1] < 0x80:
            length = request_length(request, len(request))
            assert length == len(request) or request[1:4] == b"\x08\x00\x00", case["name"]
        for frame, function in ((request, request_length), (answer, answer_length)):
            for fill in range(len(frame)):
                length = function(frame, fill)
                assert length == 0 or 4 <= length <= fill, case["name"]


def test_lengths_of_other_functions_are_unknown() -> None:
    for function in (0x00, 0x09, 0x19, 0x2A, 0x2C, 0x41, 0x7F):
        frame = bytearray(bytes([1, function]) + b"\x0e\x01\x83\x00\x00\x00\x00\x00\x00")
        assert request_length(frame, len(frame)) == 0, function
        assert answer_length(frame, len(frame)) == 0, function
    frame = bytearray(b"\x01\x2b\x0d\x01\x83\x00\x00\x00\x00\x00\x00")
    assert request_length(frame, len(frame)) == answer_length(frame, len(frame)) == 0


def test_results_and_codes_differ() -> None:
    assert (NEED_DATA, SILENT) == (0, -1)
    assert (ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE) == (1, 2, 3)
    assert (DEVICE_FAILURE, BUSY, NAK) == (4, 6, 7)
