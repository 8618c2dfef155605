"""Profiles of third-party devices: shipped ones, decoding, and files that are wrong."""

import math
import struct
from pathlib import Path

import pytest

from gateway_agent.config import SerialBus
from gateway_agent.field.planner import NO_CUTS
from gateway_agent.field.profile import ProfileDecoder, decoder_of, load_profile, shipped
from gateway_agent.tables import ConfigError
from protocols.modbus_client import Read
from protocols.uplink import Stamp, decode_record

BUS = SerialBus(name="b", port="x", gap_words=8, device=())
STAMP = Stamp(1000, 1010, None, 0, 0)
HEAD = '[profile]\nname = "own"\ntitle = "Own"\nsource = "manual"\n'


def point(**fields: object) -> str:
    lines = ["[[point]]"]
    for key, value in fields.items():
        lines.append(f"{key} = " + (f'"{value}"' if isinstance(value, str) else str(value)))
    return "\n".join(lines) + "\n"


def write(folder: Path, *points: str, head: str = HEAD) -> str:
    path = folder / "own.toml"
    path.write_text(head + "".join(points), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_profile_is_good_and_names_its_source(name: str) -> None:
    profile = load_profile(name)
    assert profile.profile.name == name
    assert len(profile.profile.source) > 10
    assert ProfileDecoder(profile, "g.d", BUS).reads


def test_shipped_profiles() -> None:
    assert {"senseair-s8", "xylem-odo-rtu"} < set(shipped())
    assert load_profile("xylem-odo-rtu").profile.example


def test_senseair_s8() -> None:
    decoder = ProfileDecoder(load_profile("senseair-s8"), "g.co2", BUS)
    assert decoder.reads == (Read(4, 0, 4),)  # one request, the two registers between read along
    values = decoder.values([struct.pack(">HHHh", 0, 9, 9, 415)])
    record = decode_record(decoder.record(values, STAMP).data)
    assert [(item.name, item.unit, item.value) for item in record.values] == [
        ("meter_status", "", 0),
        ("co2", "ppm", 415),
    ]


def test_xylem_odo() -> None:
    decoder = ProfileDecoder(load_profile("xylem-odo-rtu"), "g.do", BUS)
    assert decoder.reads == (Read(4, 0, 8),)
    values = decoder.values([struct.pack(">ffff", 95.5, 8.25, 0.0, math.nan)])
    record = decode_record(decoder.record(values, STAMP).data)
    assert [(item.name, item.value) for item in record.values] == [
        ("oxygen_saturation", 95.5),
        ("oxygen", 8.25),
    ]
    assert [(item.name, item.quality) for item in record.failures] == [("temperature", "fault")]


@pytest.mark.parametrize(
    ("fields", "data", "value"),
    [
        ({"type": "u16"}, "ffff", 65535),
        ({"type": "i16"}, "ffff", -1),
        ({"type": "i16", "exp10": -1}, "ff38", -200),
        ({"type": "u32"}, "00010002", 65538),
        ({"type": "u32", "word_order": "little"}, "00020001", 65538),
        ({"type": "i32"}, "fffffffe", -2),
        ({"type": "i32", "word_order": "little"}, "fffeffff", -2),
        ({"type": "f32"}, "3fc00000", 1.5),
        ({"type": "f32", "word_order": "little"}, "00003fc0", 1.5),
        ({"type": "f32", "exp10": -1}, "41200000", 1.0),
        ({"type": "u16", "exp10": -1, "low": 1, "high": 2}, "0014", 20),
        ({"type": "u16", "exp10": -1, "low": 1, "high": 2}, "0015", "out-of-range"),
        ({"type": "u16", "exp10": -1, "low": 1, "high": 2}, "0009", "out-of-range"),
        ({"type": "i16", "low": 0}, "ffff", "out-of-range"),
        ({"type": "f32", "high": 2}, "40200000", "out-of-range"),
        ({"type": "u16", "invalid": [65535]}, "ffff", "no-value"),
        ({"type": "u16", "invalid": [65535], "high": 9}, "ffff", "no-value"),
        ({"type": "f32"}, "7fc00000", "fault"),
        ({"type": "f32", "low": 0, "high": 2}, "7fc00000", "fault"),
        ({"type": "f32"}, "7f800000", "fault"),
        ({"type": "f32", "high": 2}, "7f800000", "fault"),
    ],
)
def test_types(tmp_path: Path, fields: dict[str, object], data: str, value: float | str) -> None:
    name = write(tmp_path, point(name="x", register=5, table="input", **fields))
    decoder = ProfileDecoder(load_profile(name), "g.d", BUS)
    (got,) = values = decoder.values([bytes.fromhex(data)])
    assert got == value
    record = decode_record(decoder.record(values, STAMP).data)
    failures = [("x", value)] if isinstance(value, str) else []
    assert [(item.name, item.quality) for item in record.failures] == failures


def test_a_block_that_failed_costs_its_own_points_only(tmp_path: Path) -> None:
    name = write(
        tmp_path,
        point(name="a", register=0, type="u16"),
        point(name="b", register=100, type="u16", exp10=-2, unit="Cel"),
        point(name="c", register=1, type="u16"),
    )
    decoder = ProfileDecoder(load_profile(name), "g.d", BUS)
    assert decoder.reads == (Read(3, 0, 2), Read(3, 100, 1))
    assert decoder.values([b"\x00\x01\x00\x02", b"\x08\x34"]) == (1, 2100, 2)
    values = decoder.values([None, b"\x08\x34"])
    assert values == (None, 2100, None)
    record = decode_record(decoder.record(values, STAMP).data)
    assert [(item.name, item.unit, item.value) for item in record.values] == [("b", "Cel", 21)]
    assert [(item.name, item.quality) for item in record.failures] == [
        ("a", "timeout"),
        ("c", "timeout"),
    ]


def test_a_block_that_was_refused_is_a_fault_and_no_silence(tmp_path: Path) -> None:
    points = [point(name=name, register=at, type="u16") for name, at in (("a", 0), ("b", 100))]
    decoder = ProfileDecoder(load_profile(write(tmp_path, *points)), "g.d", BUS)
    assert decoder.values(["fault", b"\0\7"]) == ("fault", 7)
    plain = ProfileDecoder(load_profile(write(tmp_path, points[0])), "g.d", BUS)
    assert plain.values(["fault"]) == ("fault",)
    assert plain.values([None]) == (None,)


def test_plain_registers_take_the_short_way_with_the_same_result(tmp_path: Path) -> None:
    points = [point(name=f"r{i}", register=i, type="u16", exp10=-1) for i in range(10)]
    plain = ProfileDecoder(load_profile(write(tmp_path, *points)), "g.d", BUS)
    data = struct.pack(">10H", *range(0, 60000, 6000))
    bounded = [line.replace("exp10", "high = 7000\nexp10") for line in points]
    long = ProfileDecoder(load_profile(write(tmp_path, *bounded)), "g.d", BUS)
    assert plain.values([data]) == long.values([data]) == tuple(range(0, 60000, 6000))


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (HEAD, ["point", "array of tables"]),
        ("point = []\n" + HEAD, ["point", "array of tables"]),
        (point(name="x", register=0, type="u16"), ["profile", "a table"]),
        (HEAD + point(name="x", register="0", type="u16"), ["point[0].register", '"0"']),
        (HEAD + point(name="x", register=0, type="u65"), ["point[0].type", '"f32"']),
        (HEAD + point(name="a b", register=0, type="u16"), ["point[0].name", "SenML name"]),
        (HEAD + point(name="status", register=0, type="u16"), ["point", "status"]),
        (HEAD + point(name="x", register=65535, type="u32"), ["point[0].register", "65535"]),
        (HEAD + point(name="x", register=0, type="u16", low=2, high=1), ["point[0].high", "low"]),
        (HEAD + point(name="x", register=0, type="u16", exp10=10), ["point[0].exp10", "-9 to 9"]),
        (HEAD + point(name="x", register=0, type="u16", scal=1), ["point[0].scal"]),
        (HEAD + 2 * point(name="x", register=0, type="u16"), ["point[1].name", "point[0]"]),
    ],
)  # fmt: skip
def test_a_profile_that_is_wrong(tmp_path: Path, content: str, parts: list[str]) -> None:
    path = tmp_path / "own.toml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_profile(str(path))
    lines = [str(problem) for problem in caught.value.problems]
    assert any(all(part in line for part in [str(path), *parts]) for line in lines), lines


def test_an_unknown_name_lists_the_shipped_ones() -> None:
    names = "site-dust-noise, waveshare-relay-8ch, xy-md02, xy-md02-corrections, xylem-odo-rtu"
    with pytest.raises(ConfigError, match=f"senseair-s8, {names}"):
        load_profile("senseair-s9")


def test_bits_of_registers_and_coils_among_other_values(tmp_path: Path) -> None:
    """Every bit of three registers, in both orders of the bytes, and coils across two bytes."""
    points = [
        point(name="first", register=0, type="u16", bit=0),
        point(name="w", register=0, type="u16"),
    ]
    for bit in range(16):
        points.append(point(name=f"a{bit}", register=1, type="i16", bit=bit))
        points.append(point(name=f"b{bit}", register=2, type="u16", bit=bit, order="BADC"))
    points += [
        point(name=f"c{bit}", register=3, type="u32", bit=bit, order="CDAB") for bit in range(32)
    ]
    coils = range(5, 16)
    points += [point(name=f"k{at}", register=at, type="bool", table="coil") for at in coils]
    decoder = ProfileDecoder(load_profile(write(tmp_path, *points)), "g.d", BUS)
    assert decoder.reads == (Read(3, 0, 5), Read(1, 5, 11))
    words, states = (0x1235, 0xC3A1, 0x0FB4, 0x5678, 0x9ABC), 0b101_1001_0110
    values = decoder.values([struct.pack(">5H", *words), states.to_bytes(2, "little")])
    found = {item.spec.name: value for item, value in zip(decoder.points, values, strict=True)}
    assert (found["first"], found["w"]) == (1, 0x1235)
    for bit in range(16):
        assert found[f"a{bit}"] == 0xC3A1 >> bit & 1
        assert found[f"b{bit}"] == 0xB40F >> bit & 1
    for bit in range(32):
        assert found[f"c{bit}"] == 0x9ABC5678 >> bit & 1
    for at in coils:
        assert found[f"k{at}"] == states >> (at - 5) & 1
    partly = decoder.values([None, states.to_bytes(2, "little")])
    assert partly[0] is None
    assert partly[-1] == states >> 10 & 1


def test_devices_of_one_profile_share_all_but_the_writer_of_their_records() -> None:
    profile = load_profile("senseair-s8")
    first = decoder_of(profile, "g.a", BUS, None, NO_CUTS)
    other = decoder_of(profile, "g.b", BUS, None, NO_CUTS)
    alone = ProfileDecoder(profile, "g.b", BUS)
    own = {name for name, value in vars(first).items() if value is not vars(other)[name]}
    assert own == {"_template"}
    answers = [bytes(range(read.data_bytes)) for read in alone.reads]
    values = other.values(answers)
    assert values == alone.values(answers)
    assert other.record(values, STAMP) == alone.record(values, STAMP)
    assert first.record(values, STAMP) != other.record(values, STAMP)
    tight = SerialBus(name="c", port="x", gap_words=0, device=())
    apart = decoder_of(profile, "g.c", tight, None, NO_CUTS)
    assert apart.reads == ProfileDecoder(profile, "g.c", tight).reads != first.reads
