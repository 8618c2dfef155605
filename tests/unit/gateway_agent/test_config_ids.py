"""An id with a line break at its end is no id: it would become part of topics and names."""

from pathlib import Path

import pytest

from gateway_agent.config import load
from gateway_agent.field.profile import load_profile
from gateway_agent.tables import ConfigError
from tests.paths import ROOT

UID = "0102030405060708090a0b0c"
CONFIG = f"""
[gateway]
id = "site-12"
state_dir = "state"
key = "gateway.pem"
[uplink]
host = "127.0.0.1"
receipt = "puback"
[[bus]]
name = "hall"
type = "rtu"
port = "/dev/null"
[[bus.device]]
name = "air-1"
unit = 1
kind = "node"
role = "air"
uid = "{UID}"
key = "air.key"
[[bus.device]]
name = "co2-1"
unit = 2
kind = "profile"
profile = "senseair-s8"
"""


@pytest.mark.parametrize("word", ["site-12", "hall", "air-1", "air", UID, "senseair-s8"])
def test_a_line_break_behind_an_id_is_refused(tmp_path: Path, word: str) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(CONFIG)
    load(path)
    path.write_text(CONFIG.replace(f'"{word}"', f'"{word}\\n"'))
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert f'got "{word}\\n"' in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ['name = "senseair-s8"', 'unit = "ppm"', 'name = "co2"'],
    ids=["profile", "unit", "point"],
)
def test_a_line_break_behind_a_name_of_a_profile_is_refused(tmp_path: Path, text: str) -> None:
    shipped = ROOT / "gateway_agent" / "field" / "profile" / "shipped" / "senseair-s8.toml"
    path = tmp_path / "device.toml"
    path.write_text(shipped.read_text())
    load_profile(str(path))
    path.write_text(shipped.read_text().replace(text, text[:-1] + '\\n"', 1))
    with pytest.raises(ConfigError):
        load_profile(str(path))
