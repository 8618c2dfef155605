"""Every construct of the profile language reads its vector: registers as hex, what they mean."""

import json
from pathlib import Path
from typing import TypedDict

import msgspec
import pytest

from gateway_agent.config import SerialBus
from gateway_agent.field.profile import ProfileDecoder, load_profile, point_value
from gateway_agent.status import PointValue
from protocols.uplink import Stamp, decode_record
from tests.paths import ROOT

BUS = SerialBus(name="b", port="x", gap_words=8, device=())
STAMP = Stamp(1000, 1010, None, 0, 0)


class Case(TypedDict):
    """One construct: keys of the point and of the profile, answers, and their value."""

    what: str
    profile: str
    point: str
    data: list[str]
    value: int | float | str | None
    text: str


def cases() -> list[Case]:
    """Return the vectors of all sections."""
    content = json.loads((ROOT / "protocols/vectors/profile.json").read_text(encoding="utf-8"))
    return [case for section in content["sections"] for case in section["cases"]]


@pytest.mark.parametrize("case", cases(), ids=lambda case: case["what"])
def test_a_construct_reads_its_vector(tmp_path: Path, case: Case) -> None:
    path = tmp_path / "own.toml"
    register = 1 if "base" in case["profile"] else 0
    path.write_text(
        f'[profile]\nname = "own"\ntitle = "Own"\nsource = "manual"\n{case["profile"]}\n'
        f'[[point]]\nname = "x"\nregister = {register}\n{case["point"]}\n',
        encoding="utf-8",
    )
    decoder = ProfileDecoder(load_profile(str(path)), "g.d", BUS)
    assert decoder.reads[0].address == 0
    values = decoder.values([bytes.fromhex(data) for data in case["data"]])
    record = decode_record(decoder.record(values, STAMP).data)
    shown = point_value(decoder.points[0], values[0])
    assert shown.text == case["text"]
    assert msgspec.json.decode(msgspec.json.encode(shown), type=PointValue) == shown
    if isinstance(case["value"], str):
        assert [(item.name, item.quality) for item in record.failures] == [("x", case["value"])]
        assert (record.values, shown.value) == ((), None)
    elif case["value"] is None:
        assert (record.values, record.failures, shown.value) == ((), (), None)
    else:
        (recorded,) = record.values
        assert recorded.value == case["value"]
        assert shown.value == float(case["value"])  # for people; the record is exact
        assert record.failures == ()
