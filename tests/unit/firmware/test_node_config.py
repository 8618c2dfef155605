"""Settings: ranges, persistence, damage."""

from array import array

from firmware.node.config import FILE, NO_SETTING, OUT_OF_RANGE, SET, Config, decode, encode
from protocols.wire.registers import (
    SETTINGS,
    STATUS_CONFIG_DEFAULTED,
    STATUS_IMAGE_EXPORT,
    setting_address,
)
from tests.unit.firmware.node_fakes import MemoryStore

DEFAULTS = [setting.default for setting in SETTINGS]


def values(config: Config) -> "list[int]":
    return [config.value(address) for address in range(len(SETTINGS))]


def test_file_format() -> None:
    # CRC-32 as zlib gives it for the ten bytes before it.
    data = b"TFc1\x00\x02\x00\x01\x12\x34\x8c\xcf\x80\x46"
    assert bytes(encode(array("H", [1, 0x1234]))) == data
    assert decode(data) == [1, 0x1234]


def test_nothing_stored_means_defaults_and_says_so() -> None:
    config = Config(MemoryStore(), {})
    assert values(config) == DEFAULTS
    assert config.status() & STATUS_CONFIG_DEFAULTED


def test_written_settings_survive_and_clear_the_bit() -> None:
    store = MemoryStore()
    config = Config(store, {})
    assert config.set_many(setting_address("sample_period_ds"), [7, 30]) == SET
    assert not config.status() & STATUS_CONFIG_DEFAULTED
    again = Config(store, {})
    assert again.get("sample_period_ds") == 7
    assert again.get("warmup_limit_s") == 30
    assert again.get("unit_id") == SETTINGS[0].default
    assert not again.status() & STATUS_CONFIG_DEFAULTED


def test_all_or_nothing() -> None:
    store = MemoryStore()
    config = Config(store, {})
    seen: list[int] = []
    config.on_change = lambda address, before: seen.append(address)
    assert config.set_many(0, [5, 96, 0]) == OUT_OF_RANGE  # a period of 0 is below its range
    assert config.set_many(0, [0, 96, 50]) == OUT_OF_RANGE
    assert config.set_many(0, [248]) == OUT_OF_RANGE
    assert config.set_many(len(SETTINGS) - 1, [5, 5]) == NO_SETTING
    assert config.set_many(len(SETTINGS), [5]) == NO_SETTING
    assert config.set_many(-1, [5]) == NO_SETTING
    assert config.set_many(0, []) == NO_SETTING
    assert values(config) == DEFAULTS
    assert store.writes == 0
    assert seen == []


def test_every_limit_of_every_setting() -> None:
    for address in range(len(SETTINGS)):
        setting = SETTINGS[address]
        config = Config(MemoryStore(), {})
        assert config.set_many(address, [setting.low]) == SET
        assert config.set_many(address, [setting.high]) == SET
        if setting.low > 0:
            assert config.set_many(address, [setting.low - 1]) == OUT_OF_RANGE
        if setting.high < 0xFFFF:
            assert config.set_many(address, [setting.high + 1]) == OUT_OF_RANGE
        assert config.value(address) == setting.high


def test_any_damage_means_defaults_and_says_so() -> None:
    store = MemoryStore()
    assert Config(store, {}).set_many(setting_address("sample_period_ds"), [7]) == SET
    content = store.files[FILE]
    damaged = [content[:length] for length in range(len(content))] + [content + b"\x00"]
    for index in range(len(content)):
        for bit in (0x01, 0x80, 0xFF):
            flipped = bytearray(content)
            flipped[index] ^= bit
            damaged.append(bytes(flipped))
    for data in damaged:
        store.files[FILE] = data
        config = Config(store, {})
        assert values(config) == DEFAULTS, data
        assert config.status() & STATUS_CONFIG_DEFAULTED


def test_fewer_and_more_values_than_this_firmware_knows() -> None:
    store = MemoryStore()
    store.files[FILE] = bytes(encode(array("H", [9, 192])))
    config = Config(store, {})
    assert config.get("unit_id") == 9
    assert config.get("baud_div_100") == 192
    assert values(config)[2:] == DEFAULTS[2:]
    assert not config.status() & STATUS_CONFIG_DEFAULTED
    store.files[FILE] = bytes(encode(array("H", [9] + DEFAULTS[1:] + [1, 2, 3])))
    config = Config(store, {})
    assert values(config) == [9] + DEFAULTS[1:]
    assert not config.status() & STATUS_CONFIG_DEFAULTED


def test_a_stored_value_out_of_range_falls_back_alone() -> None:
    store = MemoryStore()
    store.files[FILE] = bytes(encode(array("H", [0, 192])))
    config = Config(store, {})
    assert config.get("unit_id") == SETTINGS[0].default
    assert config.get("baud_div_100") == 192
    assert config.status() & STATUS_CONFIG_DEFAULTED


def test_a_store_that_cannot_be_written_does_not_stop_a_setting() -> None:
    store = MemoryStore()
    config = Config(store, {})
    store.broken = True
    export = setting_address("image_export")
    assert config.set_many(export, [1]) == SET
    assert config.status() & STATUS_IMAGE_EXPORT
    assert not config.stored
    assert not config.persist()
    store.broken = False
    assert config.persist()
    assert Config(store, {}).value(export) == 1


def test_writing_what_is_there_wears_no_flash() -> None:
    store = MemoryStore()
    config = Config(store, {})
    assert config.set_many(0, [4]) == SET
    writes = store.writes
    seen: list[int] = []
    config.on_change = lambda address, before: seen.append(address)
    assert config.set_many(0, [4]) == SET
    assert store.writes == writes
    assert seen == []


def test_commissioned_defaults_stand_in_until_something_is_stored() -> None:
    store = MemoryStore()
    config = Config(store, {"unit_id": 12})
    assert config.get("unit_id") == 12
    assert config.set_many(0, [13]) == SET
    assert Config(store, {"unit_id": 12}).get("unit_id") == 13
