"""DS18B20: CRC, temperatures, the power-on value, and a wire that misbehaves."""

import asyncio

from firmware.sensors.crc8 import dallas
from firmware.sensors.ds18b20 import (
    Ds18b20,
    centi_celsius,
    rom_code,
    scratchpad_code,
    sixteenths,
)
from protocols.wire.registers import CHECKSUM, FAULT, NO_SAMPLE, OK, TIMEOUT
from tests.dual import vectors
from tests.unit.firmware.fakes import Clock, OneWire, heap_locked, noise


def with_crc(body: bytes) -> bytes:
    """The bitwise definition of application note 27, written from the polynomial."""
    crc = 0
    for byte in body:
        for bit in range(8):
            feedback = (crc ^ (byte >> bit)) & 1
            crc >>= 1
            if feedback:
                crc ^= 0x8C
    return body + bytes((crc,))


def pad(raw: int, configuration: int = 0x7F) -> bytes:
    return with_crc(bytes((raw & 0xFF, raw >> 8, 0x4B, 0x46, configuration, 0xFF, 0x0C, 0x10)))


ROM = with_crc(bytes.fromhex("281CB801000000"))


def reading(part: Ds18b20) -> "tuple[int, int]":
    asyncio.run(part.read(0))
    return part.codes[0], part.values[0]


def test_crc_vectors() -> None:
    for name in ("roms", "scratchpads"):
        for text in vectors("sensors")["ds18b20"][name]:
            data = bytes.fromhex(text)
            assert dallas(data, len(data) - 1) == data[-1]
            assert dallas(data, len(data)) == 0


def test_temperature_vectors_of_the_datasheet() -> None:
    for vector in vectors("sensors")["ds18b20"]["temperatures"]:
        data = pad(vector["raw"])
        assert scratchpad_code(data) == OK
        assert centi_celsius(sixteenths(data)) == vector["centi_celsius"], vector["raw"]


def test_driver_reads_negative_temperatures() -> None:
    part = Ds18b20(Clock(5), OneWire(ROM, [pad(0xFE6F)]))
    assert reading(part) == (OK, -2506)
    assert bytes(part.rom) == ROM


def test_undefined_bits_of_a_coarse_resolution_are_dropped() -> None:
    assert sixteenths(pad(0x0197, 0x1F)) == 0x0190  # 9 bit: steps of half a degree
    assert sixteenths(pad(0xFF5F, 0x3F)) == 0xFF5C - 0x10000


def test_the_power_on_value_is_refused_once() -> None:
    wire = OneWire(ROM, [pad(0x0550), pad(0x0550), pad(0x0191), pad(0x0550)])
    part = Ds18b20(Clock(5), wire)
    assert reading(part)[0] == NO_SAMPLE
    assert reading(part) == (OK, 8500)
    assert reading(part) == (OK, 2506)
    assert reading(part)[0] == NO_SAMPLE


def test_a_damaged_scratchpad_or_rom_is_a_checksum_error() -> None:
    good = pad(0x0191)
    for index in range(9):
        bad = bytearray(good)
        bad[index] ^= 0x04
        assert scratchpad_code(bad) == CHECKSUM
    assert reading(Ds18b20(Clock(5), OneWire(ROM, [good[:8] + b"\x00"])))[0] == CHECKSUM
    assert reading(Ds18b20(Clock(5), OneWire(ROM[:7] + b"\x00", [good])))[0] == CHECKSUM


def test_a_shorted_wire_is_not_zero_degrees() -> None:
    # Nine zeros have a sound CRC, and a shorted wire even looks like a presence pulse.
    assert dallas(bytes(9), 9) == 0
    assert scratchpad_code(bytes(9)) == CHECKSUM
    assert rom_code(bytes(8)) == CHECKSUM
    assert reading(Ds18b20(Clock(5), OneWire(bytes(8), [bytes(9)])))[0] == CHECKSUM


def test_a_part_of_another_family_is_a_fault() -> None:
    rom = bytes.fromhex(vectors("sensors")["ds18b20"]["roms"][0])
    assert reading(Ds18b20(Clock(5), OneWire(rom, [pad(0x0191)])))[0] == FAULT


def test_absence_is_a_timeout_and_return_is_noticed() -> None:
    wire = OneWire(ROM, [pad(0x0191)])
    part = Ds18b20(Clock(5), wire)
    wire.present = False
    assert reading(part)[0] == TIMEOUT
    wire.present = True
    assert reading(part) == (OK, 2506)
    # Another part may have been put in its place: the ROM is read again after an absence.
    wire.present = False
    assert reading(part)[0] == TIMEOUT
    wire.present = True
    wire.sent = []
    assert reading(part) == (OK, 2506)
    assert 0x33 in wire.sent


def test_the_conversion_is_waited_for_but_not_for_ever() -> None:
    wire = OneWire(ROM, [pad(0x0191)], convert_reads=5)
    assert reading(Ds18b20(Clock(5), wire)) == (OK, 2506)
    wire = OneWire(ROM, [pad(0x0191)], convert_reads=100000)
    assert reading(Ds18b20(Clock(100), wire)) == (OK, 2506)


def test_noise_never_passes_for_a_value_often() -> None:
    data = noise(3, 9 * 2000)
    sound = 0
    for at in range(0, len(data), 9):
        sound += scratchpad_code(data[at : at + 9]) == OK
    assert sound < 10  # 2000 at 1 in 256 * 32: less than one expected


def test_decoding_allocates_nothing() -> None:
    data = pad(0xFE6F)

    def work() -> None:
        scratchpad_code(data)
        centi_celsius(sixteenths(data))

    work()
    heap_locked(work)
