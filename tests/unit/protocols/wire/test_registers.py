"""The register maps are a contract: what is written down in registers.json must not move."""

from protocols.wire import register_names, registers
from protocols.wire.errors import UNKNOWN, PeerError
from protocols.wire.modbus.pdu import MAX_READ
from tests.dual import raises, vectors

_KINDS = {registers.U16: "U16", registers.I16: "I16", registers.U32: "U32"}
_BOUNDS = {"U16": (0, 0xFFFF), "I16": (-0x8000, 0x7FFF), "U32": (0, 0xFFFFFFFF)}


def test_maps_are_as_written_down() -> None:
    contract = vectors("registers")["maps"]
    assert len(contract) == len(registers.MAPS)
    for expected, map in zip(contract, registers.MAPS):
        assert map.role == expected["role"]
        assert map.map_id == expected["map_id"]
        assert map.version == expected["version"]
        assert map.product == expected["product"]
        assert map.words == expected["words"]
        assert len(map.points) == len(expected["points"])
        for index in range(len(map.points)):
            point = map.points[index]
            wanted = expected["points"][index]
            assert point.name == wanted["name"]
            assert point.unit == wanted["unit"], point.name
            assert _KINDS[point.kind] == wanted["kind"], point.name
            assert point.exp10 == wanted["exp10"], point.name
            assert (point.low, point.high) == (wanted["low"], wanted["high"]), point.name
            assert map.offsets[index] == wanted["register"], point.name


def test_addresses_and_names_are_as_written_down() -> None:
    contract = vectors("registers")
    for name, value in contract["envelope"].items():
        assert getattr(registers, name.upper()) == value, name
    assert [setting.name for setting in registers.SETTINGS] == contract["settings"]
    assert list(register_names.QUALITY_NAMES) == contract["qualities"]
    assert list(register_names.STATUS_NAMES) == contract["status_bits"]
    assert len(register_names.EVENT_NAMES) == 1 + len(contract["events"])
    for code, name in contract["events"].items():
        assert register_names.EVENT_NAMES[int(code)] == name


def test_a_frame_fits_one_request_and_its_range_the_registers() -> None:
    assert registers.EVENT_WORDS <= MAX_READ
    for map in registers.MAPS:
        assert map.words <= MAX_READ
        assert registers.SAMPLE_ADDRESS + map.words <= registers.EVENT_ADDRESS
        for point in map.points:
            low, high = _BOUNDS[_KINDS[point.kind]]
            assert low <= point.low < point.high <= high, point.name


def test_blocks_do_not_overlap() -> None:
    assert registers.EVENT_ADDRESS + registers.EVENT_WORDS <= registers.IMAGE_INFO_ADDRESS
    info_end = registers.IMAGE_INFO_ADDRESS + registers.IMAGE_INFO_WORDS
    assert info_end <= registers.IMAGE_WINDOW_ADDRESS
    assert registers.IMAGE_WINDOW_WORDS <= MAX_READ
    assert 2 * registers.IMAGE_WINDOW_WORDS == registers.IMAGE_WINDOW_BYTES
    assert registers.CONFIG_ADDRESS + len(registers.SETTINGS) <= registers.COMMAND_ADDRESS
    assert registers.COMMAND_ADDRESS != registers.IMAGE_PAGE_ADDRESS


def test_names_are_unique_and_senml() -> None:
    # RFC 8428 section 4.5.1: A-Z a-z 0-9 - : . / _ ; "/" parts a device's points here
    allowed = "abcdefghijklmnopqrstuvwxyz0123456789_"
    for map in registers.MAPS:
        names = [point.name for point in map.points]
        assert len(set(names)) == len(names)
        for name in names:
            assert name and all(char in allowed for char in name), name
    names = [setting.name for setting in registers.SETTINGS]
    assert len(set(names)) == len(names)


def test_defaults_are_within_their_bounds() -> None:
    for setting in registers.SETTINGS:
        assert 0 <= setting.low <= setting.default <= setting.high <= 0xFFFF, setting.name


def test_maps_are_found_by_id_and_role() -> None:
    for map in registers.MAPS:
        assert registers.map_of(map.map_id, map.version) is map
        assert registers.map_of_role(map.role) is map
    error = raises(PeerError, registers.map_of, 0x0199, 1)
    assert (error.code, error.offset, error.got) == (UNKNOWN, 0, 0x0199)
    error = raises(PeerError, registers.map_of, 0x0101, 9)
    assert (error.code, error.offset, error.expected, error.got) == (UNKNOWN, 2, 1, 9)
    error = raises(PeerError, registers.map_of_role, "soil")
    assert (error.code, error.got) == (UNKNOWN, "soil")


def test_settings_are_found_by_name() -> None:
    assert registers.setting_address("unit_id") == 0
    assert registers.setting_address("frozen_count") == 18
    error = raises(PeerError, registers.setting_address, "colour")
    assert (error.code, error.got) == (UNKNOWN, "colour")


def test_status_bits_have_names_in_order() -> None:
    bits = [
        registers.STATUS_CONFIG_DEFAULTED,
        registers.STATUS_STORE_VOLATILE,
        registers.STATUS_SELFTEST_FAILED,
        registers.STATUS_WARMUP,
        registers.STATUS_SENSOR_FAULT,
        registers.STATUS_WATCHDOG_RESET,
        registers.STATUS_KEY_MISSING,
        registers.STATUS_EVENTS_LOST,
        registers.STATUS_MOTION,
        registers.STATUS_TAMPER,
        registers.STATUS_IMAGE_EXPORT,
        registers.STATUS_WRITE_REFUSED,
        registers.STATUS_CALIBRATION,
    ]
    assert bits == [1 << index for index in range(len(register_names.STATUS_NAMES))]
