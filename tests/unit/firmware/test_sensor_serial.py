"""Parsers of PMS5003, MH-Z19B and A02YYUW against the vectors; how they find the next frame."""

from firmware.sensors.a02yyuw import A02Parser
from firmware.sensors.mhz19b import Mhz19bParser
from firmware.sensors.mhz19b import command as mhz_command
from firmware.sensors.pms5003 import PmsParser
from firmware.sensors.pms5003 import command as pms_command
from firmware.sensors.stream import DAMAGED, FRAME, NEED_DATA, OTHER, Parser
from tests.dual import vectors
from tests.unit.firmware.fakes import growth, heap_locked, noise, outcomes

PARTS = ("pms5003", "mhz19b", "a02yyuw")
_SIXTH = 11_008  # of 64 KB, rounded up to whole pieces


def make(part: str) -> Parser:
    if part == "pms5003":
        return PmsParser()
    return Mhz19bParser() if part == "mhz19b" else A02Parser()


def frame_of(part: str) -> bytes:
    return bytes.fromhex(vectors("sensors")[part]["frames"][0]["hex"])


def check(parser: Parser, vector: "dict[str, object]") -> None:
    if isinstance(parser, PmsParser):
        assert parser.words == vector["words"]
        assert (parser.version, parser.error) == (vector["version"], vector["error"])
    elif isinstance(parser, Mhz19bParser):
        assert parser.ppm == vector["ppm"]
    elif isinstance(parser, A02Parser):
        assert parser.mm == vector["mm"]


def test_vectors_whole_and_byte_by_byte() -> None:
    for part in PARTS:
        for vector in vectors("sensors")[part]["frames"]:
            data = bytes.fromhex(vector["hex"])
            for piece in (len(data), 1, 3):
                parser = make(part)
                assert outcomes(parser, data, piece) == [FRAME], (part, piece)
                check(parser, vector)
                assert (parser.frames, parser.damaged, parser.noise) == (1, 0, 0)


def test_every_buffer_type_is_taken() -> None:
    for part in PARTS:
        data = frame_of(part)
        for form in (data, bytearray(data), memoryview(data)):
            parser = make(part)
            assert parser.feed(form, len(data)) == len(data)
            assert parser.poll() == FRAME
            assert parser.poll() == NEED_DATA


def test_frames_back_to_back() -> None:
    for part in PARTS:
        parser = make(part)
        assert outcomes(parser, frame_of(part) * 40, 64) == [FRAME] * 40
        assert parser.noise == 0


def test_noise_before_a_frame_is_skipped_and_counted() -> None:
    for part in PARTS:
        parser = make(part)
        assert outcomes(parser, b"\x00\x31\xaa\x10" + frame_of(part), 1) == [FRAME], part
        assert parser.noise == 4


def test_a_false_header_does_not_cost_the_frame_behind_it() -> None:
    headers = {
        "pms5003": b"\x42\x4d\x00\x1c\x42",
        "mhz19b": b"\xff\x86\x02",
        "a02yyuw": b"\xff\x01",
    }
    for part in PARTS:
        parser = make(part)
        assert outcomes(parser, headers[part] + frame_of(part), 64)[-1:] == [FRAME], part
        assert parser.damaged == 1


def test_a_flipped_bit_anywhere_never_gives_a_frame_with_another_value() -> None:
    for part in PARTS:
        vector = vectors("sensors")[part]["frames"][0]
        data = frame_of(part)
        for index in range(len(data)):
            for bit in range(8):
                bad = bytearray(data)
                bad[index] ^= 1 << bit
                parser = make(part)
                assert FRAME not in outcomes(parser, bytes(bad), 64), (part, index, bit)
                # The line stays usable: the next whole frames come through.
                assert FRAME in outcomes(parser, data * 3, 64), (part, index, bit)
                check(parser, vector)


def test_a_wrong_checksum_is_told_from_nothing() -> None:
    for part in PARTS:
        data = frame_of(part)
        parser = make(part)
        assert outcomes(parser, data[:-1] + bytes((data[-1] ^ 0x55,)), 64) == [DAMAGED], part
        assert parser.damaged == 1
        assert parser.frames == 0


def test_a_cut_frame_waits_and_reset_forgets_it() -> None:
    for part in PARTS:
        data = frame_of(part)
        for cut in range(1, len(data)):
            parser = make(part)
            assert outcomes(parser, data[:cut], 64) == []
            parser.reset()
            assert outcomes(parser, data, 64) == [FRAME], (part, cut)


def test_an_acknowledgement_is_no_measurement() -> None:
    parser = PmsParser()
    data = bytes.fromhex(vectors("sensors")["pms5003"]["acknowledgement"])
    assert outcomes(parser, data + frame_of("pms5003"), 1) == [OTHER, FRAME]
    other = Mhz19bParser()
    assert outcomes(other, bytes.fromhex("FF7901000000000086"), 64) == [OTHER]


def test_other_plantower_lengths_are_noise() -> None:
    # PMS3003: 24 bytes, length 20. Its words stand elsewhere.
    body = b"\x42\x4d\x00\x14" + bytes(18)
    data = body + sum(body).to_bytes(2, "big")
    parser = PmsParser()
    assert outcomes(parser, data, 64) == []
    assert parser.noise == len(data)


def test_commands() -> None:
    known = vectors("sensors")["pms5003"]["commands"]
    made = {
        "passive": pms_command(0xE1, 0),
        "active": pms_command(0xE1, 1),
        "read": pms_command(0xE2, 0),
        "sleep": pms_command(0xE4, 0),
        "wake": pms_command(0xE4, 1),
    }
    for name in known:
        assert made[name] == bytes.fromhex(known[name]), name
    known = vectors("sensors")["mhz19b"]["commands"]
    made = {
        "read": mhz_command(0x86),
        "baseline_on": mhz_command(0x79, 0xA0),
        "baseline_off": mhz_command(0x79),
        "zero": mhz_command(0x87),
    }
    for name in known:
        assert made[name] == bytes.fromhex(known[name]), name


def survive(part: str, data: bytes) -> None:
    parser = make(part)
    at = 0

    def sixth() -> None:
        nonlocal at
        end = at + _SIXTH
        while at < end:
            at += parser.feed(data, min(64, end - at), at)
            while parser.poll():
                pass

    assert growth(sixth) <= 0, part
    assert at == len(data)
    assert parser.noise > 30000
    # Noise may have left the beginning of a frame; what follows is found all the same.
    assert FRAME in outcomes(parser, frame_of(part) * 3, 64), part


def test_64_kb_of_noise_is_survived_without_growth() -> None:
    data = noise(20150101, 6 * _SIXTH)
    for part in PARTS:
        survive(part, data)


def test_steady_state_allocates_nothing() -> None:
    for part in PARTS:
        parser = make(part)
        data = b"\x00\xff" + frame_of(part) + b"\x42\x42"
        pieces = (data, frame_of(part)[:-1] + b"\x00")

        def work(parser: Parser = parser, pieces: "tuple[bytes, ...]" = pieces) -> None:
            for _ in range(20):
                for piece in pieces:
                    parser.feed(piece, len(piece))
                    while parser.poll():
                        pass

        work()
        heap_locked(work)
