"""Brightness and contrast from DC coefficients, against pictures decoded by another library."""

from firmware.sensors.jpeg import DONE, MORE, JpegLuma
from protocols.wire.errors import BAD_VALUE, TOO_LONG, TRUNCATED, UNKNOWN
from tests.dual import vectors
from tests.unit.firmware.fakes import growth, heap_locked, noise

VECTORS = vectors("sensors_jpeg")
ROOT = __file__.replace("\\", "/").rsplit("/", 4)[0] if __file__.count("/") > 3 else "."


def frame(name: str) -> bytes:
    with open(ROOT + "/hil/sim/frames/" + name, "rb") as file:
        return file.read()


def walk(luma: JpegLuma, data: bytes, units: int = 1) -> int:
    luma.begin(data, len(data))
    result = luma.step(units)
    while result == MORE:
        result = luma.step(units)
    return result


def check(luma: JpegLuma, vector: "dict[str, object]") -> None:
    assert (luma.width, luma.height) == (vector["width"], vector["height"]), vector
    assert luma.blocks == vector["blocks"]
    for got, name in ((luma.mean, "mean"), (luma.contrast, "contrast")):
        expected = vector[name]
        assert isinstance(expected, float)
        # Percent, rounded; the other decoder rounds and clips each pixel.
        assert abs(got - expected) <= 0.6, (vector, got)


def segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2, "big") + body


def test_the_demo_frames() -> None:
    luma = JpegLuma()
    for vector in VECTORS["frames"]:
        data = frame(vector["file"])
        assert len(data) <= 3072
        assert walk(luma, data) == DONE
        check(luma, vector)


def test_every_sampling_and_restart_markers() -> None:
    luma = JpegLuma()
    for vector in VECTORS["good"]:
        data = bytes.fromhex(vector["jpeg"])
        for units in (1, 3, 10000):
            assert walk(luma, data, units) == DONE, vector["what"]
            check(luma, vector)
        assert luma.step(1) == DONE  # and stays so


def test_slices_are_bounded_by_units() -> None:
    luma = JpegLuma()
    data = frame("day.jpg")
    luma.begin(data, len(data))
    steps = 1
    while luma.step(2) == MORE:
        steps += 1
    assert steps >= 75  # 150 units of 16x8 and the header's segments, two at a time


def test_what_it_does_not_serve_is_an_error() -> None:
    luma = JpegLuma()
    for vector in VECTORS["bad"]:
        assert walk(luma, bytes.fromhex(vector["jpeg"])) == -vector["code"], vector["what"]
    good = bytes.fromhex(VECTORS["good"][0]["jpeg"])
    at = good.index(b"\xff\xc0")
    for offset, value, code in (
        (4, 12, UNKNOWN),  # 12 bit samples
        (9, 4, UNKNOWN),  # four components
        (11, 0x41, UNKNOWN),  # sampling 4
        (11, 0x01, UNKNOWN),  # sampling 0
        (14, 0x22, UNKNOWN),  # colour finer than brightness
        (5, 0xFF, TOO_LONG),  # 65xxx lines
    ):
        bad = bytearray(good)
        bad[at + offset] = value
        assert walk(luma, bytes(bad)) == -code, offset
    bad = bytearray(good)
    bad[at + 5 : at + 7] = b"\x00\x00"
    assert walk(luma, bytes(bad)) == -BAD_VALUE


def test_a_cut_picture_is_an_error_at_every_length() -> None:
    luma = JpegLuma()
    for vector in VECTORS["good"][:1] + VECTORS["good"][4:5]:
        data = bytes.fromhex(vector["jpeg"])
        for length in range(len(data) - 2):
            luma.begin(data, length)
            result = luma.step(1 << 20)
            # The last byte's bits may all be padding: then nothing of the picture is missing.
            assert result < 0 or length >= len(data) - 3, length


def test_a_missing_or_swapped_restart_marker_is_an_error() -> None:
    luma = JpegLuma()
    data = bytes.fromhex(VECTORS["good"][4]["jpeg"])
    at = data.index(b"\xff\xd1")
    assert walk(luma, data[:at] + data[at + 2 :]) < 0
    assert walk(luma, data[: at + 1] + b"\xd2" + data[at + 2 :]) == -BAD_VALUE
    # Fill bytes before a marker are allowed (T.81, B.1.1.2).
    assert walk(luma, data[:at] + b"\xff\xff" + data[at:]) == DONE


def test_damage_ends_in_a_result_and_never_raises() -> None:
    luma = JpegLuma()
    data = bytes.fromhex(VECTORS["good"][4]["jpeg"])
    seeds = noise(5, 2 * len(data))
    for index in range(len(data)):
        bad = bytearray(data)
        bad[index] ^= seeds[2 * index] | 1
        luma.begin(bad, len(bad))
        luma.step(1 << 20)
        assert luma.step(1) != MORE
        assert 0 <= luma.mean <= 100
        assert 0 <= luma.contrast <= 50


def test_64_kb_of_noise_behind_a_good_header() -> None:
    luma = JpegLuma()
    data = frame("day.jpg")
    at = data.index(b"\xff\xda") + 14
    walk(luma, data)
    seed = 0

    def one() -> None:
        nonlocal seed
        seed += 1
        picture = data[:at] + noise(seed, 11_000)
        assert walk(luma, picture, 1 << 20) != MORE
        assert walk(luma, noise(seed, 11_000), 1 << 20) == -BAD_VALUE
        assert walk(luma, b"\xff\xd8" + noise(seed, 11_000), 1 << 20) < 0
        luma.begin(b"", 0)

    assert growth(one) <= 0
    assert seed == 6


def test_endless_headers_are_capped() -> None:
    luma = JpegLuma()
    assert walk(luma, b"\xff\xd8" + segment(0xFE, b"x") * 1000) == -TOO_LONG
    table = b"\x00" + b"\x01" + bytes(15) + b"\x00"
    assert walk(luma, b"\xff\xd8" + segment(0xC4, table * 1000)) == -TOO_LONG
    assert walk(luma, b"\xff\xd8" + b"\xff" * 5000) == -TRUNCATED


def test_a_code_table_that_overflows_is_refused() -> None:
    luma = JpegLuma()
    table = b"\x00" + b"\x03" + bytes(15) + b"\x00\x01\x02"  # three codes of one bit
    assert walk(luma, b"\xff\xd8" + segment(0xC4, table) + segment(0xFE, b"more")) == -BAD_VALUE
    assert luma.offset == 2


def test_hand_made_blocks_and_those_that_break_a_rule() -> None:
    def picture(width: int, dc: int, ac: int, coded: bytes) -> bytes:
        """Grey, 8 lines; ``dc`` and ``ac`` are the only symbols, each with the code 0."""
        quant = b"\x00" + b"\x08" * 64
        size = b"\x08\x00\x08" + width.to_bytes(2, "big") + b"\x01\x01\x11\x00"
        one = b"\x01" + bytes(15)
        return (
            b"\xff\xd8"
            + segment(0xDB, quant)
            + segment(0xC0, size)
            + segment(0xC4, b"\x00" + one + bytes((dc,)) + b"\x10" + one + bytes((ac,)))
            + segment(0xDA, b"\x01\x01\x00\x00\x3f\x00")
            + coded
            + b"\xff\xd9"
        )

    luma = JpegLuma()
    # Size 6, +51: 128 + 51 is 70.2 percent. Then the end of the block, and ones to fill up.
    assert walk(luma, picture(8, 6, 0, bytes((0b01100110, 0b11111111, 0)))) == DONE
    assert (luma.mean, luma.contrast, luma.blocks) == (70, 0, 1)
    # 16 zeros, four times: 64 places after the first coefficient, one more than there are.
    assert walk(luma, picture(8, 0, 0xF0, bytes(2))) == -BAD_VALUE
    # +2047 twice: no sum of eight bit samples reaches that.
    assert walk(luma, picture(8, 11, 0, bytes((0x7F, 0xF7)))) == DONE
    assert walk(luma, picture(16, 11, 0, bytes((0x7F, 0xF3, 0xFF, 0, 0xBF)))) == -BAD_VALUE
    # Size 12 does not exist with 8 bit samples.
    assert walk(luma, picture(8, 12, 0, bytes(4))) == -BAD_VALUE


def test_an_error_says_where() -> None:
    luma = JpegLuma()
    data = b"\xff\xd8" + segment(0xFE, b"abc") + b"\xff\xc2\x00\x0b" + bytes(9)
    assert walk(luma, data) == -UNKNOWN
    assert luma.offset == 9


def test_walking_allocates_nothing() -> None:
    luma = JpegLuma()
    data = frame("day.jpg")

    def work() -> None:
        luma.begin(data, len(data))
        while luma.step(4) == MORE:
            pass

    work()
    heap_locked(work)
    assert luma.step(1) == DONE
