"""What no platform of HJ 212 can take is found when the file is read, with the key and a remedy."""

from pathlib import Path

import pytest

from gateway_agent.cli.check import check_config
from gateway_agent.config import load
from gateway_agent.tables import ConfigError
from gateway_agent.uplink.hj212.config import Hj212Uplink
from tests.paths import ROOT
from tests.unit.gateway_agent.test_agent import write_site

MN = "010000A8900016F000169DC0"
GOOD = {
    "host": '"h"',
    "port": "7212",
    "mn": f'"{MN}"',
    "points": '{ "hall/co2" = "a05001" }',
}


NODE = """
[[bus]]
name = "{name}"
type = "tcp"
host = "127.0.0.2"
port = 1502
[[bus.device]]
name = "{name}"
unit = 1
kind = "node"
role = "water"
uid = "{uid}"
key = "{name}.key"
"""


def site(directory: Path, changes: dict[str, str]) -> Path:
    path = write_site(directory, 1)
    rows = "\n".join(f"{key} = {value}" for key, value in (GOOD | changes).items())
    text = path.read_text(encoding="utf-8").replace("[uplink]", "[[uplink]]", 1)
    path.write_text(f'{text}\n[[uplink]]\ntype = "hj212"\n{rows}\n', encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"profile": '"atlantis"'},
            'uplink[1].profile: expected a profile of HJ 212, got "atlantis"; profile',
        ),
        (
            {"profile": '"atlantis"'},
            "expected a file or one of fuzhou-dust, hj212-2017,",
        ),
        ({"profile": '"./none.toml"'}, "none.toml: No such file"),
        (
            {"mn": '"short"'},
            "uplink[1].mn: expected an MN of hj212-2017: [0-9A-Za-z]{14,24}, got",
        ),
        ({"profile": '"fuzhou-dust"'}, "uplink[1].mn: expected an MN of fuzhou-dust"),
        ({"mn": f'"{MN[:20]}\\n"'}, "uplink[1].mn: expected"),
        ({"pw": '""'}, "uplink[1].pw: expected"),
        (
            {"profile": '"hj212-2025"'},
            "uplink[1].key_file: expected an SM4 key's file, got nothing",
        ),
        ({"key_file": '"sm4.key"'}, "uplink[1].key_file: expected no key, got"),
        ({"minutes": "7"}, "uplink[1].minutes: expected a part of an hour, got 7; one of 1, 2, 3"),
        (
            {"points": '{ "hall/co2" = "a99999" }'},
            'uplink[1].points."hall/co2": expected a code of the table of pollutants, got "a99999"',
        ),
        ({"points": '{ "co2" = "a05001" }'}, 'uplink[1].points."co2": expected a device and a'),
        (
            {"points": '{ "hall/co2" = "a05001", "yard/co2" = "a05001" }'},
            'points."yard/co2": expected a code for one point only, got "a05001"; hall/co2 has it',
        ),
    ],
)
def test_what_cannot_be_is_found(tmp_path: Path, changes: dict[str, str], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(site(tmp_path, changes))
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"profile": '"water-station-9015"', "mn": '"st_7"'},
        {"profile": '"hj212-2025"', "key_file": '"sm4.key"'},
        {"points": '{ "hall/co2" = "a05001", "basin/co2" = "a05001" }', "nodes": '["basin"]'},
    ],
)
def test_what_can_be_is_taken(tmp_path: Path, changes: dict[str, str]) -> None:
    (exporter,) = load(site(tmp_path, changes)).exporters
    assert isinstance(exporter, Hj212Uplink)


def test_a_profile_is_found_beside_the_file_that_names_it(tmp_path: Path) -> None:
    shipped = ROOT / "gateway_agent/uplink/hj212/profiles/hj212-2017.toml"
    (tmp_path / "ours.toml").write_bytes(shipped.read_bytes())
    (exporter,) = load(site(tmp_path, {"profile": '"ours.toml"'})).exporters
    assert isinstance(exporter, Hj212Uplink)
    assert exporter.profile == str(tmp_path / "ours.toml")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 'uplink[1].nodes: expected one point for w01010, got "pool/temperature, sea/temp'),
        ({"nodes": '["pool", "lake"]'}, 'names of devices of this gateway, got "lake"; one of'),
        (
            {"nodes": '["sea"]', "points": '{ "sea/distance" = "w01001" }'},
            'expected one point for w01001, got "sea/ph, sea/distance"',
        ),
    ],
)
def test_two_devices_of_a_role_give_no_code_twice(
    tmp_path: Path, changes: dict[str, str], expected: str
) -> None:
    path = site(tmp_path, changes)
    text = path.read_text(encoding="utf-8")
    for name, uid in (("pool", "a1"), ("sea", "a2")):
        text += NODE.format(name=name, uid=12 * uid)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert expected in str(caught.value)


def test_the_check_names_what_the_platform_does_not_get(tmp_path: Path) -> None:
    checked = check_config(site(tmp_path, {}))
    assert checked.problems == []
    (lines,) = checked.left_out.values()
    assert lines[0] == 'points has "hall/co2", which no device measures'
    assert lines[1].startswith("basin/")
    assert "has no code: give it one with points" in lines[1]
