"""The register bank: addresses, commands, the image switch, and no heap per poll."""

import hashlib

from firmware.node.bank import Bank
from protocols.wire.registers import (
    COMMAND_ADDRESS,
    COMMAND_MEMORY,
    COMMAND_RESTART,
    EVENT_ADDRESS,
    EVENT_WORDS,
    IMAGE_INFO_ADDRESS,
    IMAGE_PAGE_ADDRESS,
    IMAGE_WINDOW_ADDRESS,
    RAW_ADDRESS,
    SETTINGS,
    setting_address,
)
from tests.unit.firmware.fakes import heap_locked
from tests.unit.firmware.node_fakes import make_bank

EXPORT = setting_address("image_export")


def read(bank: Bank, address: int, count: int) -> bytes | int:
    out = bytearray(260)
    code = bank.read_input(address, count, out, 3)
    assert out[:3] == bytes(3), "wrote before its place"
    assert len(out) == 260, "changed the buffer's length"
    return code or bytes(out[3 : 3 + 2 * count])


def read_holding(bank: Bank, address: int, count: int) -> bytes | int:
    out = bytearray(260)
    code = bank.read_holding(address, count, out, 2)
    assert out[:2] == bytes(2)
    return code or bytes(out[2 : 2 + 2 * count])


def write(bank: Bank, address: int, *values: int) -> int:
    data = bytearray(b"\xee\xee\xee")
    for value in values:
        data.append(value >> 8)
        data.append(value & 0xFF)
    return bank.write_holding(address, len(values), data, 3)


def test_frames_whole_and_in_part() -> None:
    bank = make_bank()
    words = bank.sample.map.words
    frame = bytes(bank.sample.shown())
    assert read(bank, 0, words) == frame
    for address in range(words):
        assert read(bank, address, 1) == frame[2 * address : 2 * address + 2]
        assert read(bank, address, words - address) == frame[2 * address :]
        assert read(bank, address, words - address + 1) == 2
    assert read(bank, words, 1) == 2
    assert read(bank, 0, 0) == 2
    events = bytes(bank.events.shown())
    assert read(bank, EVENT_ADDRESS, EVENT_WORDS) == events
    assert read(bank, EVENT_ADDRESS + 10, 4) == events[20:28]
    assert read(bank, EVENT_ADDRESS, EVENT_WORDS + 1) == 2
    assert read(bank, EVENT_ADDRESS - 1, 2) == 2
    assert read(bank, 0xFFFF, 1) == 2


def test_settings() -> None:
    bank = make_bank()
    everything = read_holding(bank, 0, len(SETTINGS))
    expected = bytearray()
    for setting in SETTINGS:
        expected.append(setting.default >> 8)
        expected.append(setting.default & 0xFF)
    assert everything == bytes(expected)
    assert read_holding(bank, 0, len(SETTINGS) + 1) == 2
    assert read_holding(bank, len(SETTINGS), 1) == 2
    assert write(bank, 2, 20, 60) == 0
    assert read_holding(bank, 2, 2) == b"\x00\x14\x00\x3c"
    assert write(bank, 2, 21, 3601) == 3
    assert read_holding(bank, 2, 2) == b"\x00\x14\x00\x3c", "half a write went through"
    assert write(bank, len(SETTINGS) - 1, 5, 5) == 2
    assert write(bank, 0x00A0, 1) == 2
    assert write(bank, 0xFFFF, 1) == 2


def test_raw_readings() -> None:
    bank = make_bank("water")
    for index in range(4):
        bank.role.raw[index] = 0x1100 * index + 7
    assert read(bank, RAW_ADDRESS, 4) == b"\x00\x07\x11\x07\x22\x07\x33\x07"
    assert read(bank, RAW_ADDRESS + 2, 1) == b"\x22\x07"
    assert read(bank, RAW_ADDRESS, 5) == 2
    assert read(bank, RAW_ADDRESS - 1, 1) == 2
    assert write(bank, RAW_ADDRESS, 1) == 2


def test_commands() -> None:
    bank = make_bank()
    assert bank.command == 0
    for value in (0, 1, 0x5A5B, 0xFFFF):
        assert write(bank, COMMAND_ADDRESS, value) == 3
    assert bank.command == 0
    assert write(bank, COMMAND_ADDRESS, COMMAND_MEMORY) == 0
    assert bank.command == COMMAND_MEMORY
    assert write(bank, COMMAND_ADDRESS, COMMAND_RESTART) == 0
    assert bank.command == COMMAND_RESTART
    assert read_holding(bank, COMMAND_ADDRESS, 1) == b"\x00\x00"
    assert write(bank, COMMAND_ADDRESS, COMMAND_RESTART, 1) == 2


def test_images_are_not_addressable_until_switched_on() -> None:
    bank = make_bank("camera")
    for address in (IMAGE_INFO_ADDRESS, IMAGE_WINDOW_ADDRESS):
        assert read(bank, address, 1) == 2
        assert read(bank, address, 22) == 2
    assert write(bank, EXPORT, 1) == 0
    assert read(bank, IMAGE_INFO_ADDRESS, 22) != 2
    assert write(bank, EXPORT, 0) == 0
    assert read(bank, IMAGE_INFO_ADDRESS, 22) == 2
    assert read(bank, IMAGE_WINDOW_ADDRESS, 120) == 2


def test_a_role_without_images_has_no_image_blocks() -> None:
    bank = make_bank("air")
    assert write(bank, EXPORT, 1) == 0
    assert read(bank, IMAGE_INFO_ADDRESS, 22) == 2
    assert read(bank, IMAGE_WINDOW_ADDRESS, 1) == 2


def test_the_image_page_by_page() -> None:
    bank = make_bank("camera")
    assert write(bank, EXPORT, 1) == 0
    data = bytes([(7 * index + 1) & 0xFF for index in range(500)])
    image = b""
    for page in range(3):
        assert write(bank, IMAGE_PAGE_ADDRESS, page) == 0
        assert read_holding(bank, IMAGE_PAGE_ADDRESS, 1) == bytes((0, page))
        info = read(bank, IMAGE_INFO_ADDRESS, 22)
        window = read(bank, IMAGE_WINDOW_ADDRESS, 120)
        assert isinstance(info, bytes)
        assert isinstance(window, bytes)
        assert info[:8] == b"\x00\x00\x00\x03\x00\x00\x01\xf4"
        assert info[8:40] == hashlib.sha256(data).digest()
        assert info[40:] == (240 * page).to_bytes(4, "big")
        assert read(bank, IMAGE_WINDOW_ADDRESS + 7, 2) == window[14:18]
        image += window
    assert image[:500] == data
    assert image[500:] == bytes(220), "bytes behind the image's end left the node"
    assert write(bank, IMAGE_PAGE_ADDRESS, 273) == 0
    assert read(bank, IMAGE_WINDOW_ADDRESS, 120) == bytes(240)
    assert write(bank, IMAGE_PAGE_ADDRESS, 274) == 3
    assert read(bank, IMAGE_WINDOW_ADDRESS, 121) == 2


def test_reading_takes_no_heap() -> None:
    bank = make_bank("camera")
    assert write(bank, EXPORT, 1) == 0
    out = bytearray(256)
    words = bank.sample.map.words

    def reads() -> None:
        bank.read_input(0, words, out, 3)
        bank.read_input(3, 4, out, 3)
        bank.read_input(EVENT_ADDRESS, EVENT_WORDS, out, 3)
        bank.read_input(IMAGE_INFO_ADDRESS, 22, out, 3)
        bank.read_input(IMAGE_WINDOW_ADDRESS, 120, out, 3)
        bank.read_holding(0, 19, out, 3)
        bank.read_input(0x5000, 1, out, 3)

    reads()
    heap_locked(reads)
