"""SHT3x: CRC, conversion, and what the driver makes of a bus."""

import asyncio

from firmware.sensors.crc8 import sensirion
from firmware.sensors.sht3x import Sht3x, centi_celsius, centi_percent, word
from protocols.wire.registers import CHECKSUM, NO_SAMPLE, OK, TIMEOUT
from tests.dual import vectors
from tests.unit.firmware.fakes import Clock, I2c, heap_locked, noise

GOOD = bytes.fromhex("BEEF92666693")


def read(bus: I2c) -> Sht3x:
    part = Sht3x(Clock(5), bus)
    asyncio.run(part.read(0))
    return part


def test_crc_vectors() -> None:
    for vector in vectors("sensors")["sht3x"]["crc"]:
        data = bytes.fromhex(vector["hex"])
        assert sensirion(data, 0, len(data)) == vector["crc"]


def test_answer_vectors() -> None:
    for vector in vectors("sensors")["sht3x"]["answers"]:
        part = read(I2c(bytes.fromhex(vector["hex"])))
        assert list(part.codes) == [OK, OK]
        assert part.values == [vector["centi_celsius"], vector["centi_percent"]]


def test_conversion_is_the_datasheets_over_the_whole_range() -> None:
    for raw in list(range(0, 65536, 13)) + [65535]:
        assert centi_celsius(raw) == (2 * 17500 * raw + 65535) // (2 * 65535) - 4500
        assert centi_percent(raw) == (2 * 10000 * raw + 65535) // (2 * 65535)


def test_command_is_single_shot_without_stretching() -> None:
    bus = I2c(GOOD)
    read(bus)
    assert bus.written == [(0x44, b"\x24\x00")]


def test_each_word_has_its_own_checksum() -> None:
    part = read(I2c(GOOD[:2] + b"\x93" + GOOD[3:]))
    assert list(part.codes) == [CHECKSUM, OK]
    assert part.values[1] == 4000
    part = read(I2c(GOOD[:5] + b"\x00"))
    assert list(part.codes) == [OK, CHECKSUM]


def test_refused_reads_while_measuring_are_waited_for() -> None:
    part = read(I2c(GOOD, busy=3))
    assert list(part.codes) == [OK, OK]


def test_a_part_that_never_answers_is_a_timeout() -> None:
    part = Sht3x(Clock(5), I2c(GOOD, busy=1000))
    assert list(part.codes) == [NO_SAMPLE, NO_SAMPLE]
    asyncio.run(part.read(0))
    assert list(part.codes) == [TIMEOUT, TIMEOUT]
    assert list(read(I2c(None)).codes) == [TIMEOUT, TIMEOUT]


def test_a_bus_that_hangs_is_asked_once() -> None:
    bus = I2c(GOOD)
    bus.hung = True
    assert list(read(bus).codes) == [TIMEOUT, TIMEOUT]
    assert bus.reads == 1


def test_noise_never_raises_and_rarely_passes() -> None:
    data = noise(7, 6 * 4000)
    sound = 0
    for at in range(0, len(data), 6):
        answer = data[at : at + 6]
        for index in range(2):
            raw = word(answer, index)
            assert -1 <= raw <= 0xFFFF
            sound += raw >= 0
    assert sound < 100  # 8000 words at 1 in 256: 31 expected


def test_decoding_allocates_nothing() -> None:
    def work() -> None:
        for index in range(2):
            centi_celsius(word(GOOD, index))
            centi_percent(word(GOOD, index))

    work()
    heap_locked(work)
