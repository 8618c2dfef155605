"""What a profile must not have, what it inherits, and bounds that admit what is written as them."""

import struct
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway_agent.config import ProfileDevice, SerialBus
from gateway_agent.field.devices import open_devices
from gateway_agent.field.profile import ProfileDecoder, load_profile
from gateway_agent.tables import ConfigError

BUS = SerialBus(name="b", port="x", gap_words=8, device=())
HEAD = '[profile]\nname = "own"\ntitle = "Own"\nsource = "manual"\n'
POINT = '[[point]]\nname = "x"\nregister = 0\n'


def write(folder: Path, text: str, name: str = "own.toml") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_profile(write(folder, text))
    return [str(problem).partition(": ")[2] for problem in caught.value.problems]


def decode(folder: Path, keys: str) -> Callable[[bytes], object]:
    decoder = ProfileDecoder(load_profile(write(folder, HEAD + POINT + keys)), "g.d", BUS)
    return lambda data: decoder.values([data])[0]


@pytest.mark.parametrize(
    ("keys", "parts"),
    [
        # a code that can never match
        ('type = "u16"\ninvalid = [131071]', ["x.invalid", "131071", "never match"]),
        ('type = "i16"\ninvalid = [65536]', ["x.invalid", "-32768 to 32767"]),
        ('type = "i16"\ninvalid = [-32769]', ["x.invalid", "-32769"]),
        ('type = "u16"\ninvalid = [-1]', ["x.invalid", "0 to 65535"]),
        ('type = "u16"\ninvalid = [1.5]', ["x.invalid", "an integer"]),
        ('type = "u16"\ninvalid = ["0x10000"]', ["x.invalid", "0xffff"]),
        ('type = "u16"\ninvalid = ["0x8001&0x8000"]', ["x.invalid", "never match"]),
        ('type = "u16"\ninvalid = ["none"]', ["x.invalid", '"none"', "bits such as"]),
        ('type = "u16"\ninvalid = ["100"]', ["x.invalid", "bits such as"]),
        ('type = "u16"\ninvalid = ["0x1&3"]', ["x.invalid", "bits such as"]),
        ('type = "u16"\ninvalid = 5', ["x.invalid", "invalid = [-32768, '0x7FC00000']"]),
        ('type = "f32"\ninvalid = [1e300]', ["x.invalid", "finite"]),
        ('type = "bcd16"\ninvalid = [10000]', ["x.invalid", "0 to 9999"]),
        ('type = "u16"\nstatus = { register = 1, ok = [65536] }', ["x.status", "65535"]),
        # what cannot be written, or not within bounds
        ('type = "u16"\nwrite = {}', ["x.write.low", "a bound of what may be written"]),
        ('type = "u16"\nwrite = { low = 0 }', ["x.write.high", "a bound"]),
        ('type = "u16"\nwrite = { low = 5, high = 4 }', ["x.write.high", "at least low = 5"]),
        ('type = "u16"\nwrite = { low = 0, high = nan }', ["x.write.high", "a number up to"]),
        ('type = "u16"\nwrite = { low = 0, high = 9, step = 0 }', ["x.write.step", "above 0"]),
        ('type = "u16"\nwrite = { low = 0, high = 9, by = "05" }', ["x.write.by", "06, 10, 17"]),
        ('type = "u32"\nwrite = { low = 0, high = 9, by = "06" }', ["x.write.by", "10, 17"]),
        ('type = "u16"\nmask = 15\nwrite = { low = 0, high = 9, by = "06" }', ["one of 16"]),
        ('type = "u16"\nbit = 1\nwrite = { low = 0, high = 1 }', ["x.write.low", "no low"]),
        ('type = "datetime"\nwrite = { low = 0, high = 1 }', ["x.write.low", "no low"]),
        ('type = "u16"\ntable = "input"\nwrite = { low = 0, high = 1 }', ["holding register"]),
        ('type = "u8"\nwrite = { low = 0, high = 1 }', ["x.write", "alone in its register"]),
        ('type = "string"\nwords = 2\nwrite = {}', ["x.write", "alone in its register"]),
        ('type = "u16"\nscale_register = 1\nwrite = { low = 0, high = 1 }', ["x.write"]),
        ('type = "u16"\nwrite = { by = "99" }', ["x.write.by"]),
        ('type = "u16"\nwrite = { min = 1 }', ["x.write", "min"]),
        # bounds and scales
        ('type = "u16"\nhigh = -1', ["x.high", "a value of u16 can lie within"]),
        ('type = "u16"\nexp10 = -1\nlow = 6553.6', ["x.low", "u16"]),
        ('type = "u16"\nscale = 0', ["x.scale", "other than 0"]),
        ('type = "u16"\nscale = inf', ["x.scale"]),
        ('type = "f32"\nlow = nan', ["x.low"]),
        # keys that go with other types
        ('type = "u16"\nhalf = "high"', ["x.half", "u8"]),
        ('type = "u8"\norder = "BADC"', ["x.order", "8 bits"]),
        ('type = "f32"\nbit = 3', ["x.bit", "integer"]),
        ('type = "u16"\nbit = 16', ["x.bit", "0 to 15"]),
        ('type = "u16"\nmask = 0x10000', ["x.mask", "0xffff"]),
        ('type = "u16"\nmask = 1\nshift = 1', ["x.shift"]),
        ('type = "u16"\nmask = 1\nbit = 0', ["x.bit", "without a mask"]),
        ('type = "u16"\nshift = 1', ["x.shift", "with a mask"]),
        ('type = "string"', ["x.words", "registers"]),
        ('type = "u16"\nwords = 4', ["x.words", "string"]),
        ('type = "string"\nwords = 4\nhigh = 3', ["x.high", "a number"]),
        ('type = "u16"\ntable = "coil"', ["x.type", '"bool"']),
        ('type = "bool"\ntable = "coil"\ninvalid = [1]', ["x.invalid", "coil"]),
        ('type = "u16"\norder = "BADC"\nbyte_order = "big"', ["x.order", "word_order"]),
        ('type = "datetime"\nscale = 2', ["x.scale"]),
        ('type = "u16"\nutc_offset_min = 60', ["x.utc_offset_min", "date and time"]),
        ('type = "datetime"\nutc_offset_min = 8', ["x.utc_offset_min", "480", "multiple of 15"]),
        ('type = "u16"\nscale_register = 1\noffset = 3', ["x.offset", "scale_register"]),
        ('type = "u16"\nvalues = { 1 = "on" }\nbits = { 0 = "on" }', ["x.bits", "values or bits"]),
        ('type = "u16"\nvalues = { on = "on" }', ["x.values", "0 to 65535"]),
        ('type = "u16"\nbit = 1\nvalues = { 2 = "on" }', ["x.values", "0 to 1"]),
        ('type = "u16"\nbits = { 16 = "on" }', ["x.bits", "0 to 15"]),
        ('type = "u16"\ngroup = "slow"', ["x.group", "[[group]]"]),
        ('type = "u16"\nscale_register = 65536', ["x.scale_register", "65535"]),
        ('type = "u16"\nstatus = { register = 65536 }', ["x.status.register", "65535"]),
    ],
)
def test_a_key_that_cannot_be(tmp_path: Path, keys: str, parts: list[str]) -> None:
    lines = problems(tmp_path, HEAD + POINT + keys + "\n")
    wanted = [part.replace("x.", "point[0].", 1) for part in parts]
    assert any(all(part in line for part in wanted) for line in lines), lines


@pytest.mark.parametrize(
    ("head", "register", "parts"),
    [
        ("", "65536", ["point[0].register", "from 0 to 65535"]),
        ("base = 1\n", "0", ["point[0].register", "from 1 to 65536"]),
        ("", "400001", ["point[0].register", "register = 0"]),
        ("max_words = 1\n", '0\ntype = "f32"', ["point[0].type", "max_words = 1"]),
    ],
)
def test_a_register_that_cannot_be(
    tmp_path: Path, head: str, register: str, parts: list[str]
) -> None:
    type_key = "" if "type" in register else '\ntype = "u16"'
    text = f'{HEAD}{head}[[point]]\nname = "x"\nregister = {register}{type_key}\n'
    lines = problems(tmp_path, text)
    assert any(all(part in line for part in parts) for line in lines), lines


@pytest.mark.parametrize("exp10", [-1, -2, -3])
def test_every_bound_admits_the_value_that_is_written_as_it(tmp_path: Path, exp10: int) -> None:
    for raw in range(1, 3000, 29):
        edge = f"{raw}e{exp10}"
        high = decode(tmp_path, f'type = "u16"\nexp10 = {exp10}\nhigh = {edge}\n')
        low = decode(tmp_path, f'type = "u16"\nscale = 1e{exp10}\nlow = {edge}\n')
        own, above, below = (struct.pack(">H", raw + step) for step in (0, 1, -1))
        assert (high(own), high(above)) == (raw, "out-of-range")
        assert (low(own), low(below)) == (raw, "out-of-range")


@pytest.mark.parametrize("bound", [0.1, 0.3, 1 / 3, 7.3e-5, 16777217.0, -273.15])
def test_a_bound_of_a_float_admits_the_float_of_the_device(tmp_path: Path, bound: float) -> None:
    value = decode(tmp_path, f'type = "f32"\nlow = {bound!r}\nhigh = {bound!r}\n')
    own = struct.pack(">f", bound)
    assert value(own) == struct.unpack(">f", own)[0]
    bits = int.from_bytes(own, "big")
    assert value((bits + 1).to_bytes(4, "big")) == value((bits - 1).to_bytes(4, "big"))
    assert value((bits + 1).to_bytes(4, "big")) == "out-of-range"


def test_a_negative_scale_turns_the_bounds_round(tmp_path: Path) -> None:
    value = decode(tmp_path, 'type = "i16"\nscale = -0.1\nlow = -1\nhigh = 2\n')
    assert [value(struct.pack(">h", raw)) for raw in (-20, -21, 10, 11)] == [
        20, "out-of-range", -10, "out-of-range",
    ]  # fmt: skip


def test_a_product_beyond_63_bits_is_out_of_range(tmp_path: Path) -> None:
    value = decode(tmp_path, 'type = "u64"\nscale = 1000\n')
    most = (2**63 - 1) // 1000
    assert value(struct.pack(">Q", most)) == most * 1000
    assert value(struct.pack(">Q", most + 1)) == "out-of-range"


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ("00010001", (1, 1)),  # 1 * 10**1
        ("00010002", "out-of-range"),
        ("0001ffff", "out-of-range"),
        ("0001000b", "fault"),  # SunSpec: at most 10
    ],
)
def test_bounds_with_a_scale_register(tmp_path: Path, data: str, value: object) -> None:
    read = decode(tmp_path, 'type = "u16"\nscale_register = 1\nlow = 1\nhigh = 50\n')
    assert read(bytes.fromhex(data)) == value


FAMILY = """
base = 1
order = "CDAB"
[[group]]
name = "slow"
period_ms = 60000
[[point]]
name = "voltage"
unit = "V"
register = 1
type = "f32"
high = 400
[[point]]
name = "energy"
register = 11
type = "f64"
group = "slow"
"""


def test_a_profile_changes_adds_and_removes_points_of_another(tmp_path: Path) -> None:
    write(tmp_path, HEAD.replace("own", "family") + FAMILY, "family.toml")
    child = (
        HEAD + 'extends = "family.toml"\nremove = ["energy"]\n'
        '[[point]]\nname = "voltage"\nhigh = 800\n'
        '[[point]]\nname = "current"\nregister = 3\ntype = "f32"\n'
    )
    profile = load_profile(write(tmp_path, child))
    voltage, current = profile.points
    assert (voltage.spec.high, voltage.spec.unit, voltage.cell.address) == (800, "V", 0)
    assert (current.cell.address, current.cell.picks) == (2, (2, 3, 0, 1))
    assert profile.profile.name == "own"
    assert [path.name for path in profile.files] == ["own.toml", "family.toml"]


@pytest.mark.parametrize(
    ("child", "parts"),
    [
        ('extends = "own.toml"\n', ["profile.extends", "circle"]),
        ('extends = "none.toml"\n', ["none.toml", "readable"]),
        ('extends = "no-such-device"\n', ["profile.extends", "eastron-sdm630"]),
        ('extends = "family.toml"\nremove = ["power"]\n', ["profile.remove", "voltage, energy"]),
        (
            'extends = "family.toml"\n[[point]]\nname = "voltage"\nhigh = "x"\n',
            ["own.toml: point[0].high", '"x"'],
        ),
        (
            'extends = "family.toml"\n' + 2 * '[[point]]\nname = "a"\nregister = 1\ntype = "u16"\n',
            ["point[1].name", "point[0]"],
        ),
    ],
)
def test_a_mistake_in_what_is_inherited(tmp_path: Path, child: str, parts: list[str]) -> None:
    write(tmp_path, HEAD.replace("own", "family") + FAMILY, "family.toml")
    with pytest.raises(ConfigError) as caught:
        load_profile(write(tmp_path, HEAD + child))
    lines = [str(problem) for problem in caught.value.problems]
    assert any(all(part in line for part in parts) for line in lines), lines


def test_names_of_groups_are_unique(tmp_path: Path) -> None:
    group = '[[group]]\nname = "slow"\nperiod_ms = 1000\n'
    (found,) = problems(tmp_path, HEAD + 2 * group + POINT + 'type = "u16"\n')
    assert found.startswith("group[1].name: expected a name no other group has")


def test_nothing_is_removed_from_a_profile_that_extends_none(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, HEAD + 'remove = ["y"]\n' + POINT + 'type = "u16"\n')
    assert found.startswith("profile.remove: expected nothing, because this profile extends no")


def test_a_bus_that_allows_fewer_registers_than_a_value_has(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD + POINT + 'type = "f64"\n')
    device = ProfileDevice(name="m", unit=1, profile=path)
    expected = "x: expected at most max_words = 3 registers of bus b, got 4; raise max_words"
    with pytest.raises(ConfigError, match=expected):
        open_devices(SerialBus(name="b", port="x", max_words=3, device=(device,)))
    open_devices(SerialBus(name="b", port="x", max_words=4, device=(device,)))


def test_a_shipped_profile_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'profile: sdm630: expected one of .*got "sdm630"'):
        load_profile("sdm630")


@pytest.mark.parametrize(
    ("type_name", "data"),
    # Signalling not-a-numbers: a processor that converts them sets their highest bit but one.
    [("f16", "ffff"), ("f16", "7d00"), ("f32", "7fa00000"), ("f64", "7ff4000000000001")],
)
def test_bits_of_a_float_that_is_no_number_mean_no_value(
    tmp_path: Path, type_name: str, data: str
) -> None:
    one = {"f16": "3c00", "f32": "3f800000", "f64": "3ff0000000000000"}[type_name]
    value = decode(tmp_path, f'type = "{type_name}"\nscale = 2\ninvalid = ["0x{data}"]')
    assert value(bytes.fromhex(data)) == "no-value"
    assert value(bytes.fromhex(one)) == 2.0


@pytest.mark.parametrize(
    ("keys", "behind"),
    [
        ("scale = 7", b""),
        ("offset = 273.15", b""),
        ("exp10 = 3", b""),
        ("scale = -7.3\nscale_register = 4", b"\0\0"),
    ],
)
def test_the_largest_float_is_out_of_range_where_it_is_scaled(
    tmp_path: Path, keys: str, behind: bytes
) -> None:
    largest = struct.pack(">d", sys.float_info.max)
    assert decode(tmp_path, f'type = "f64"\n{keys}')(largest + behind) == "out-of-range"


@pytest.mark.parametrize("type_name", ["u48", "i48"])
def test_bits_of_an_integer_in_three_registers(tmp_path: Path, type_name: str) -> None:
    data = bytes.fromhex("8100 0000 00f5")
    assert decode(tmp_path, f'type = "{type_name}"\nbit = 47')(data) == 1
    assert decode(tmp_path, f'type = "{type_name}"\nbit = 46')(data) == 0
    assert decode(tmp_path, f'type = "{type_name}"\nmask = 0xFF00000000F0')(data) == 0x08100000000F


def test_a_mistake_of_the_other_file_is_reported_there(tmp_path: Path) -> None:
    family = write(tmp_path, HEAD + FAMILY.replace('"f64"', '"f65"'), "family.toml")
    with pytest.raises(ConfigError) as caught:
        load_profile(write(tmp_path, HEAD + 'extends = "family.toml"\n'))
    assert any("point[1].type" in str(problem) for problem in caught.value.problems), family


def test_a_scale_register_scales_a_float_within_its_bounds(tmp_path: Path) -> None:
    """A float stays one; a register outside of -10 to 10 is no scale (SunSpec)."""
    keys = 'type = "f32"\nscale_register = 2\nlow = -50\nhigh = 50\n'
    value = decode(tmp_path, keys)
    cases = [
        (1.25, 0, 1.25),
        (1.25, 1, 12.5),
        (125.0, -1, 12.5),
        (1.25, 2, "out-of-range"),
        (-1.25, 2, "out-of-range"),
        (1.25, 11, "fault"),
        (1.25, -32768, "fault"),
    ]
    found = [(raw, power, value(struct.pack(">fh", raw, power))) for raw, power, _ in cases]
    assert found == cases
