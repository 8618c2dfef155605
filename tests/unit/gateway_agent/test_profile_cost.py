"""A profile is compiled: what a poll of 100 mixed points costs, counted and not timed.

The bench times it. A count does not depend on the machine, and shows at once where someone has put
a function into the way of every value.
"""

import sys
from pathlib import Path
from types import FrameType

import pytest

from gateway_agent.config import ProfileDevice, SerialBus
from gateway_agent.field.devices import OpenProfile, open_all
from gateway_agent.field.profile import ProfileDecoder, load_profile
from protocols.modbus_client import Read
from protocols.uplink import Stamp, decode_record
from tests.bench import mixed

BUS = SerialBus(name="b", port="x", gap_words=8, device=())
STAMP = Stamp(1000, 1010, None, 0, 0)


def decoder_of(folder: Path, profile: str) -> ProfileDecoder:
    path = folder / "own.toml"
    path.write_text(profile, encoding="utf-8")
    return ProfileDecoder(load_profile(str(path)), "g.d", BUS)


def calls(decoder: ProfileDecoder, data: bytes) -> int:
    """Return how many Python functions one poll calls, once it is warm."""
    decoder.record(decoder.values([data]), STAMP)
    count = 0

    def note(_: FrameType, event: str, __: object) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        decoder.record(decoder.values([data]), STAMP)
    finally:
        sys.setprofile(before)
    return count


def test_both_profiles_of_the_bench_ask_the_same_and_read_what_is_there(tmp_path: Path) -> None:
    plain = decoder_of(tmp_path, mixed.plain_profile())
    many = decoder_of(tmp_path, mixed.mixed_profile())
    assert plain.reads == many.reads == (Read(3, 0, mixed.WORDS),)
    values = many.values([mixed.image(0)])
    assert len(values) == len(plain.values([mixed.image(0)])) == mixed.POINTS
    record = decode_record(many.record(values, STAMP).data)
    assert (len(record.values), record.failures) == (mixed.POINTS - mixed.TEXTS, ())
    found = {item.name: item.value for item in record.values}
    # Bit 3 of register 0 (232), register 4 (260) times 10**-1, and the first of each other kind.
    assert (found["p3"], found["p40"], found["p60"]) == (1, 26.0, 230 + 32 / 7)
    assert (values[72], found["p83"]) == ("SN123456", (200 + 7 * 105 % 900 + 32) / 4)
    assert found["p77"] == pytest.approx(53.2, abs=1e-5)


@pytest.mark.parametrize(
    ("profile", "most"), [(mixed.plain_profile(), 12), (mixed.mixed_profile(), 80)]
)
def test_a_poll_calls_a_function_for_few_of_its_values(
    tmp_path: Path, profile: str, most: int
) -> None:
    assert calls(decoder_of(tmp_path, profile), mixed.image(0)) <= most


def test_a_profile_of_many_devices_is_read_once() -> None:
    def bus(name: str) -> SerialBus:
        devices = [
            ProfileDevice(name=f"{name}{unit}", unit=unit, profile="xy-md02") for unit in (1, 2, 3)
        ]
        return SerialBus(name=name, port=name, device=tuple(devices))

    opened = [item for devices in open_all([bus("a"), bus("b")]) for item in devices]
    assert len(opened) == 6
    assert len({id(item.profile) for item in opened if isinstance(item, OpenProfile)}) == 1
