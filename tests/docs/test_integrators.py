"""Every configuration of the integrators' page can be pasted, one for each platform."""

import re
from pathlib import Path

import pytest

from gateway_agent.config import GatewayConfig, load
from gateway_agent.uplink.hj212.profile import load_hj212_profile
from tests.paths import ROOT

PAGE = (ROOT / "docs" / "integrators.md").read_text(encoding="utf-8")
COLLECTOR, *BLOCKS = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
TYPES = (
    *("csv", "mqtt-json", "mqtt-json", "thingsboard", "homeassistant", "influxdb", "sparkplug"),
    *("hj212", "sl651", "sl427"),
)
SITE = """
[gateway]
id = "site-12"
state_dir = "state"
key = "gateway.pem"
[[bus]]
name = "plant"
type = "tcp"
host = "127.0.0.1"
port = 502
[[bus.device]]
name = "hall"
unit = 1
kind = "profile"
profile = "senseair-s8"
period_ms = 1000
"""


def loaded(directory: Path, *blocks: str) -> GatewayConfig:
    path = directory / "gateway.toml"
    path.write_text(SITE + COLLECTOR + "".join(blocks), encoding="utf-8")
    return load(path)


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_can_be_pasted_behind_the_collectors(block: str, tmp_path: Path) -> None:
    config = loaded(tmp_path, block)
    assert config.uplink.host == "broker.example.net"
    (exporter,) = config.exporters
    assert exporter.where


def test_all_of_them_fit_into_one_file(tmp_path: Path) -> None:
    config = loaded(tmp_path, *BLOCKS)
    assert [exporter.kind for exporter in config.exporters] == list(TYPES)
    assert [exporter.label for exporter in config.exporters if not exporter.required] == [
        "homeassistant"
    ]


def test_the_table_of_indices_belongs_into_a_profile(tmp_path: Path) -> None:
    (table,) = re.findall(r"^```toml profile\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    path = tmp_path / "p.toml"
    path.write_text('title = "x"\ntitle_zh = "x"\nsources = ["x"]\n' + table, encoding="utf-8")
    index = load_hj212_profile(str(path)).index
    assert index.names == ["AQI", "FIRST", "WQ", "I25", "O8", "P24"]
