"""A reading is graded once: whatever a role left in it, the frame can carry it afterwards."""

from firmware.node.reading import Reading
from protocols.wire.registers import (
    CHECKSUM,
    MAPS,
    NO_SAMPLE,
    NOT_FITTED,
    OK,
    RANGE,
    WATER,
)
from protocols.wire.sample import decode, pack_header, pack_values, seal
from tests.unit.firmware.fakes import noise


def test_nothing_is_sampled_at_first() -> None:
    assert list(Reading(WATER).quality) == [NO_SAMPLE] * 4
    assert Reading(WATER).raw == [0] * 4


def test_absent_and_out_of_range_points_become_what_they_are() -> None:
    reading = Reading(WATER)
    reading.quality[:] = bytes((OK, OK, CHECKSUM, OK))
    reading.raw[:] = [29, 1250, 700, 120]  # the A02YYUW measures from 30 mm on
    reading.grade(0b0111)
    assert list(reading.quality) == [RANGE, OK, CHECKSUM, NOT_FITTED]
    assert reading.raw == [0, 1250, 0, 0]
    assert reading.valid == 1


def test_grading_twice_changes_nothing() -> None:
    reading = Reading(WATER)
    reading.all(OK)
    reading.grade(0b0110)
    before = (list(reading.quality), list(reading.raw), reading.valid)
    reading.grade(0b0110)
    assert before == (list(reading.quality), list(reading.raw), reading.valid)


def test_whatever_a_role_leaves_is_a_frame_that_decodes() -> None:
    for map in MAPS:
        count = len(map.points)
        data = noise(7 + map.map_id, 200 * count * 3)
        at = 0
        for fitted in range(200):
            reading = Reading(map)
            for index in range(count):
                reading.quality[index] = data[at] % 8 if data[at] & 0x80 else OK
                reading.raw[index] = (data[at + 1] << 8 | data[at + 2]) - 0x4000
                at += 3
            reading.grade(fitted)
            buf = bytearray(2 * map.words)
            pack_header(buf, map.map_id, map.version, 1, 1, 1, 0, 0)
            pack_values(map, buf, reading.quality, reading.raw)
            seal(buf, 0, None, b"")
            sample = decode(buf)
            assert list(sample.quality) == list(reading.quality)
            assert list(sample.raw) == reading.raw
            assert reading.valid == sum([1 for code in sample.quality if code == OK])
