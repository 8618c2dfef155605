"""Times of characters and silences on a line, against figures worked out by hand."""

from protocols.wire.modbus.timing import chars_us, t15_us, t35_us


def test_silences_are_rounded_up() -> None:
    # Bits of 1 / baud: 16.5 of them are t1.5, 38.5 are t3.5 with characters of 11 bits.
    for baud, t15, t35 in (
        (300, 55_000, 128_334),
        (1200, 13_750, 32_084),
        (9600, 1719, 4011),
        (19200, 860, 2006),
    ):
        assert (t15_us(baud), t35_us(baud)) == (t15, t35), baud


def test_silences_are_fixed_above_19200_baud() -> None:
    for baud in (19201, 38400, 57600, 115200, 1_000_000):
        assert (t15_us(baud), t35_us(baud)) == (750, 1750), baud
        assert (t15_us(baud, 10), t35_us(baud, 10)) == (750, 1750), baud


def test_characters_without_parity_are_shorter() -> None:
    # 8N1: 15 and 35 bits at 9600 baud are 1562.5 and 3645.8 us; 8E2: 18 and 42 bits.
    assert (t15_us(9600, 10), t35_us(9600, 10)) == (1563, 3646)
    assert (t15_us(9600, 12), t35_us(9600, 12)) == (1875, 4375)


def test_characters_are_rounded_down_all_together() -> None:
    assert chars_us(9600) == 1145
    assert chars_us(9600, 256) == 293_333
    assert chars_us(115200, 8) == 763
    assert chars_us(9600, 8, 10) == 8333
    assert chars_us(9600, 0) == 0
