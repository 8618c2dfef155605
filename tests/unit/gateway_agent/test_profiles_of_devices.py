"""The profiles of real devices, each with registers as its manual describes them."""

import struct

import pytest

from gateway_agent.config import SerialBus
from gateway_agent.field.planner import JoinRules
from gateway_agent.field.profile import ProfileDecoder, find_profile, load_profile, shipped
from protocols.modbus_client import Read
from protocols.uplink import Stamp, decode_record

BUS = SerialBus(name="b", port="x", gap_words=8, device=())
STAMP = Stamp(1000, 1010, None, 0, 0)


class Registers:
    """A device's registers: floats and words at their addresses, 0 elsewhere."""

    def __init__(self) -> None:
        self.words: dict[int, int] = {}

    def put(self, address: int, format: str, *values: object) -> None:
        """Write values in big-endian order, as ``struct`` formats them."""
        data = struct.pack(">" + format, *values)
        for index in range(0, len(data), 2):
            self.words[address + index // 2] = int.from_bytes(data[index : index + 2], "big")

    def put_low_first(self, address: int, format: str, value: object) -> None:
        """Write a value of two words, the low word first."""
        high, low = struct.unpack(">2H", struct.pack(">" + format, value))
        self.words |= {address: low, address + 1: high}

    def answer(self, read: Read) -> bytes:
        """Return the data of the answer to a read."""
        words = [self.words.get(read.address + i, 0) for i in range(read.words)]
        return struct.pack(f">{read.words}H", *words)


def read(name: str, registers: Registers) -> tuple[dict[str, float], dict[str, str]]:
    """Return what the records hold: values and failures by name."""
    decoder = ProfileDecoder(load_profile(name), "g.d", BUS)
    values = decoder.values([registers.answer(read) for read in decoder.reads])
    record = decode_record(decoder.record(values, STAMP).data)
    return (
        {item.name: item.value for item in record.values},
        {item.name: item.quality for item in record.failures},
    )


@pytest.mark.parametrize("name", shipped())
def test_a_profile_says_that_nobody_has_tried_it_on_a_device(name: str) -> None:
    text = find_profile(name).read_text(encoding="utf-8")
    assert ("not tried on the device" in text) != bool(load_profile(name).profile.tried)


@pytest.mark.parametrize("name", shipped())
def test_every_value_of_a_shipped_profile_is_read_within_its_limits(name: str) -> None:
    profile = load_profile(name)
    for item in profile.reads(JoinRules(8)):
        assert item.words <= profile.profile.max_words
    assert all(point.spec.what for point in profile.points)


def test_sdm630() -> None:
    registers = Registers()
    registers.put(0, "f", 230.5)
    registers.put(6, "f", 1.25)
    registers.put(52, "f", -1500.0)
    registers.put(70, "f", 50.0)
    registers.put(72, "f", 1234.5)
    registers.put(342, "f", 1240.25)
    values, failures = read("eastron-sdm630", registers)
    assert (values["voltage_l1"], values["current_l1"]) == (230.5, 1.25)
    assert (values["power_total"], values["frequency"]) == (-1500, 50)
    assert (values["energy_import"], values["energy_total"]) == (1234.5, 1240.25)
    assert failures == {}


def test_the_single_phase_meter_of_the_family_is_a_few_lines() -> None:
    three, one = load_profile("eastron-sdm630"), load_profile("eastron-sdm230")
    names = [point.spec.name for point in one.points]
    assert "voltage_l1" in names
    assert "voltage_l2" not in names
    known = {point.spec.name: point.spec for point in three.points}
    assert [point.spec for point in one.points] == [known[name] for name in names]
    assert (one.profile.name, one.profile.max_words) == ("eastron-sdm230", 80)


def test_xy_md02() -> None:
    registers = Registers()
    registers.put(1, "hH", -55, 613)
    assert read("xy-md02", registers) == ({"temperature": -5.5, "humidity": 61.3}, {})


def test_rs_fsxcs() -> None:
    registers = Registers()
    registers.put(500, "HHHHHhHHHHI", 34, 3, 5, 227, 657, -41, 553, 33, 48, 961, 123456)
    values, failures = read("renke-rs-fsxcs", registers)
    assert failures == {}
    assert values == {
        "wind_speed": 3.4, "wind_octant": 5, "wind_direction": 227, "humidity": 65.7,
        "temperature": -4.1, "noise": 55.3, "pm2_5": 33, "pm10": 48, "pressure": 961,
        "light": 123456,
    }  # fmt: skip


def test_dust_and_noise_of_a_building_site() -> None:
    registers = Registers()
    registers.put(500, "HHHHHhHHHH", 34, 3, 5, 227, 657, 241, 1200, 1001, 148, 961)
    values, failures = read("site-dust-noise", registers)
    assert (values["noise"], values["pm10"], values["wind_direction"]) == (120, 148, 227)
    assert failures == {"pm2_5": "out-of-range"}  # beyond what the element measures
    assert "light" not in values


def test_jxbs_3001() -> None:
    registers = Registers()
    registers.put(0x06, "H", 655)
    registers.put(0x12, "Hh", 312, -25)
    registers.put(0x15, "H", 1000)
    registers.put(0x1E, "HHH", 32, 37, 48)
    values, _ = read("jxbs-3001-tr", registers)
    assert values == {
        "ph": 6.55, "moisture": 31.2, "temperature": -2.5, "conductivity": 1000,
        "nitrogen": 32, "phosphorus": 37, "potassium": 48,
    }  # fmt: skip


def test_em24_asks_for_its_model_code_alone() -> None:
    decoder = ProfileDecoder(load_profile("gavazzi-em24"), "g.d", BUS)
    assert decoder.reads[-1] == Read(4, 0x0B, 1)
    assert max(item.words for item in decoder.reads) <= 11
    registers = Registers()
    registers.put_low_first(0x00, "i", 2305)
    registers.put_low_first(0x0A, "i", 400000)  # its high word is in the register of the model
    registers.put_low_first(0x28, "i", -15000)
    registers.put(0x32, "h", -985)
    answers = [registers.answer(item) for item in decoder.reads]
    answers[-1] = struct.pack(">H", 71)
    record = decode_record(decoder.record(decoder.values(answers), STAMP).data)
    values = {item.name: item.value for item in record.values}
    assert (values["voltage_l1"], values["voltage_l3_l1"]) == (230.5, 40000)
    assert (values["power_total"], values["power_factor"]) == (-1500, -0.985)
    assert values["model_code"] == 71


def test_cm44x_and_the_quality_it_gives() -> None:
    registers = Registers()
    registers.put_low_first(0, "f", 7.25)
    registers.put(2, "HH", 1, 5)  # uncertain is a value, and its status is read too
    registers.put_low_first(4, "f", 7.5)
    registers.put(6, "H", 2)
    registers.put_low_first(8, "I", 0x7FA00000)
    registers.put(10, "H", 3)
    values, failures = read("endress-liquiline-cm44x", registers)
    assert (values["ai1"], values["ai1_status"], values["ai1_unit"], values["ai4"]) == (
        7.25,
        1,
        5,
        0,
    )
    assert failures == {"ai2": "fault", "ai3": "not-fitted"}


def test_pm5xxx_counts_from_one() -> None:
    registers = Registers()
    registers.put(29, "40s", b"Pumpwerk 3".ljust(40, b"\0"))
    registers.put(1836, "6H", 2026, 11, 27, 8, 30, 15)
    registers.put(2999, "f", 12.5)
    registers.put(3025, "f", 400.5)
    registers.put(3203, "q", 123456789012345)
    values, failures = read("schneider-pm5xxx", registers)
    assert failures == {}
    assert values == {
        "current_a": 12.5, "voltage_ll_avg": 400.5, "energy_delivered": 123456789012345,
        "clock": 1795768215,
    }  # fmt: skip
    decoder = ProfileDecoder(load_profile("schneider-pm5xxx"), "g.d", BUS)
    text = decoder.values([registers.answer(item) for item in decoder.reads])
    names = [point.spec.name for point in decoder.points]
    assert text[names.index("meter_name")] == "Pumpwerk 3"


def test_umg_96_pa() -> None:
    registers = Registers()
    registers.put(19000, "f", 231.25)
    registers.put(19060, "f", 2.0e9)
    registers.put(40101, "d", 2000000123.5)
    values, _ = read("janitza-umg96-pa", registers)
    assert values["voltage_l1"] == 231.25
    assert (values["energy_sum"], values["energy_sum_exact"]) == (2.0e9, 2000000123.5)


def test_senseair_s8_names_its_error_bits() -> None:
    decoder = ProfileDecoder(load_profile("senseair-s8"), "g.d", BUS)
    (status, _) = decoder.points
    assert status.spec.bits["5"] == "out of range"
