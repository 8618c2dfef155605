"""Sample and event frames against frames and tags made by other means."""

from protocols.wire.errors import BAD_TAG, BAD_VALUE, TRUNCATED, LocalError, PeerError
from protocols.wire.hmac import HmacSha256
from protocols.wire.registers import AIR, CAMERA, EVENT_WORDS, MAPS, map_of_role
from protocols.wire.sample import (
    Header,
    decode,
    decode_events,
    pack_events,
    pack_header,
    pack_values,
    read_header,
    seal,
    verify,
)
from tests.dual import raises, vectors

from .support import Lcg

_UID = bytes.fromhex("0123456789abcdef01234567")


def _mac(case: "dict[str, str]") -> "HmacSha256 | None":
    return HmacSha256(bytes.fromhex(case["key"])) if case["key"] else None


def _check_header(header: Header, expected: "dict[str, int]", name: str) -> None:
    for field, value in expected.items():
        assert getattr(header, field) == value, (name, field)


def test_samples_decode() -> None:
    for case in vectors("sample")["samples"]:
        data = bytes.fromhex(case["frame"])
        for frame in (data, bytearray(data), memoryview(data)):
            sample = decode(frame)
            assert sample.map is map_of_role(case["role"])
            _check_header(sample.header, case["header"], case["name"])
            assert sample.header.map_id == sample.map.map_id
            assert sample.header.map_version == sample.map.version
            assert sample.header.key_id == case["key_id"]
            assert list(sample.quality) == case["quality"], case["name"]
            assert list(sample.raw) == case["raw"], case["name"]
            mac = _mac(case)
            if mac is not None:
                verify(frame, mac, bytes.fromhex(case["uid"]))


def test_samples_encode() -> None:
    for case in vectors("sample")["samples"]:
        map = map_of_role(case["role"])
        # What a former sample left in the buffer must not show.
        buf = bytearray(b"\xff" * (2 * map.words))
        header = case["header"]
        pack_header(
            buf,
            map.map_id,
            map.version,
            header["boot_epoch"],
            header["seq"],
            header["t_boot_ms"],
            header["status"],
            header["event_seq"],
        )
        pack_values(map, buf, bytearray(case["quality"]), case["raw"])
        seal(buf, case["key_id"], _mac(case), bytes.fromhex(case["uid"]))
        assert buf == bytes.fromhex(case["frame"]), case["name"]


def test_events_decode() -> None:
    for case in vectors("sample")["events"]:
        data = bytes.fromhex(case["frame"])
        for frame in (data, bytearray(data), memoryview(data)):
            header, events = decode_events(frame)
            _check_header(header, case["header"], case["name"])
            assert [event.number for event in events] == case["numbers"], case["name"]
            slots = [[event.code, event.arg, event.t_boot_ms] for event in events]
            assert slots == case["slots"], case["name"]
            verify(frame, HmacSha256(bytes.fromhex(case["key"])), bytes.fromhex(case["uid"]))


def test_events_encode() -> None:
    for case in vectors("sample")["events"]:
        buf = bytearray(b"\xff" * (2 * EVENT_WORDS))
        header = case["header"]
        pack_header(
            buf,
            0x01FF,
            1,
            header["boot_epoch"],
            header["seq"],
            header["t_boot_ms"],
            header["status"],
            header["event_seq"],
        )
        slots = [(code, arg, t_boot_ms) for code, arg, t_boot_ms in case["slots"]]
        pack_events(buf, header["seq"], slots)
        seal(buf, case["key_id"], _mac(case), bytes.fromhex(case["uid"]))
        assert buf == bytes.fromhex(case["frame"]), case["name"]


def test_bad_frames_say_what_and_where() -> None:
    for case in vectors("sample")["bad"]:
        frame = bytes.fromhex(case["frame"])
        # Its tag is good: the decoder itself has to refuse it.
        verify(frame, HmacSha256(bytes.fromhex(case["key"])), bytes.fromhex(case["uid"]))
        call = decode if case["decoder"] == "sample" else decode_events
        error = raises(PeerError, call, frame)
        assert (error.code, error.offset) == (case["error"], case["offset"]), case["name"]
        assert "expected" in str(error) and "at byte" in str(error), case["name"]


def test_bad_tags_are_refused() -> None:
    for case in vectors("sample")["bad_tags"]:
        frame = bytes.fromhex(case["frame"])
        mac = HmacSha256(bytes.fromhex(case["key"]))
        error = raises(PeerError, verify, frame, mac, bytes.fromhex(case["uid"]))
        assert (error.code, error.offset) == (BAD_TAG, len(frame) - 16), case["name"]


def test_every_flipped_bit_breaks_the_tag() -> None:
    case = vectors("sample")["samples"][0]
    frame = bytearray(bytes.fromhex(case["frame"]))
    mac = HmacSha256(bytes.fromhex(case["key"]))
    for bit in range(8 * len(frame)):
        frame[bit // 8] ^= 1 << bit % 8
        assert raises(PeerError, verify, frame, mac, _UID).code == BAD_TAG
        frame[bit // 8] ^= 1 << bit % 8
    verify(frame, mac, _UID)


def test_every_truncation_is_refused() -> None:
    mac = HmacSha256(bytes(32))
    for case in (vectors("sample")["samples"][0], vectors("sample")["events"][1]):
        frame = bytes.fromhex(case["frame"])
        for length in range(len(frame)):
            raises(PeerError, decode, frame[:length])
            raises(PeerError, decode_events, frame[:length])
            raises(PeerError, verify, frame[:length], mac, _UID)
            if length < 38:
                error = raises(PeerError, read_header, frame[:length])
                assert (error.code, error.offset, error.got) == (TRUNCATED, length, length)


def test_any_bytes_decode_or_are_refused() -> None:
    random = Lcg(20150601)
    good = [bytes.fromhex(case["frame"]) for case in vectors("sample")["samples"]]
    good += [bytes.fromhex(case["frame"]) for case in vectors("sample")["events"]]
    decoded = 0
    for turn in range(1500):
        if turn % 3:
            frame = bytearray(good[random.below(len(good))])
            for _ in range(random.below(4)):
                frame[random.below(len(frame))] = random.below(256)
            frame = frame[: len(frame) - random.below(3) * random.below(2)]
        else:
            frame = random.bytes(random.below(200))
        for call in (decode, decode_events):
            try:
                call(frame)
                decoded += 1
            except PeerError as error:
                assert -1 <= error.offset <= len(frame)
    assert decoded > 100  # or the mutations are too wild to test anything


def test_values_that_do_not_fit_are_our_error() -> None:
    buf = bytearray(2 * AIR.words)
    for index in range(len(AIR.points)):
        point = AIR.points[index]
        for value in (point.low - 1, point.high + 1):
            raw = [0] * len(AIR.points)
            raw[index] = value
            raises(AssertionError, pack_values, AIR, buf, bytes(7), raw)
        # A value beside a quality other than OK has to be 0 by then.
        quality = bytearray(7)
        quality[index] = 2
        raw = [0] * len(AIR.points)
        raw[index] = 1
        raises(AssertionError, pack_values, AIR, buf, quality, raw)
        raw[index] = 0
        pack_values(AIR, buf, quality, raw)
        assert not any(buf[24:38])


def test_wrong_shapes_are_our_error() -> None:
    good = bytearray(2 * AIR.words)
    zeros = [0] * 7
    raises(AssertionError, pack_values, AIR, bytearray(55), bytes(7), zeros)
    raises(AssertionError, pack_values, AIR, bytearray(58), bytes(7), zeros)
    raises(AssertionError, pack_values, AIR, good, bytes(6), zeros)
    raises(AssertionError, pack_values, AIR, good, bytes(7), [0] * 8)
    raises(AssertionError, pack_values, AIR, good, bytes([8, 0, 0, 0, 0, 0, 0]), zeros)
    raises(AssertionError, pack_values, CAMERA, good, bytes(6), [0] * 6)
    raises(LocalError, seal, bytearray(37), 1, None, b"")
    raises(LocalError, seal, good, 0x10000, HmacSha256(b"k"), b"")
    raises(LocalError, seal, good, -1, None, b"")


def test_event_slots_that_do_not_fit_are_our_error() -> None:
    buf = bytearray(2 * EVENT_WORDS)
    raises(LocalError, pack_events, buf, 17, [(1, 0, 0)] * 17)
    raises(LocalError, pack_events, buf, 1, [(1, 0, 0)] * 2)
    raises(LocalError, pack_events, buf, 2, [(1, 0, 0)])
    raises(LocalError, pack_events, buf, 1, [(0, 0, 0)])
    raises(LocalError, pack_events, buf, 1, [(0x10000, 0, 0)])
    raises(LocalError, pack_events, bytearray(164), 1, [(1, 0, 0)])


def test_an_envelope_alone_has_a_header_and_a_tag() -> None:
    buf = bytearray(38)
    pack_header(buf, 1, 2, 3, 4, 5, 6, 7)
    mac = HmacSha256(b"key")
    seal(buf, 8, mac, _UID)
    verify(buf, mac, _UID)
    assert read_header(buf).key_id == 8


def test_a_quality_of_no_point_is_refused() -> None:
    for map in MAPS:
        buf = bytearray(2 * map.words)
        pack_header(buf, map.map_id, map.version, 1, 1, 1, 0, 0)
        pack_values(map, buf, bytes([6] * len(map.points)), [0] * len(map.points))
        decode(buf)
        for index in range(len(map.points), 4 * map.quality_words):
            at = 20 + 2 * (index // 4) + (1 if index % 4 < 2 else 0)
            buf[at] ^= 0x10 if index % 2 else 0x01
            error = raises(PeerError, decode, buf)
            assert (error.code, error.offset, error.got) == (BAD_VALUE, at, 1)
            buf[at] ^= 0x10 if index % 2 else 0x01


def test_counters_wrap_in_the_header() -> None:
    buf = bytearray(2 * AIR.words)
    pack_header(buf, 0x0101, 1, 0x100000001, 0x100000002, 0x100000003, 0x10004, 0x10005)
    header = read_header(buf)
    assert (header.boot_epoch, header.seq, header.t_boot_ms) == (1, 2, 3)
    assert (header.status, header.event_seq) == (4, 5)


def test_without_a_key_the_tag_is_zero_and_proves_nothing() -> None:
    buf = bytearray(b"\xff" * (2 * AIR.words))
    seal(buf, 7, None, _UID)
    assert buf[-18:] == bytes(18)
    assert raises(PeerError, verify, buf, HmacSha256(b""), _UID).code == BAD_TAG
