"""A support bundle has what a question needs, and no secret, wherever one was."""

import base64
import json
import secrets
import stat
import tarfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway_agent.cli import app
from gateway_agent.keys import generate_node_key, generate_signing_key
from gateway_agent.support_bundle import make_bundle

from .store_help import open_box, records

PLANTED = {
    name: f"{name}-{secrets.token_hex(5)}!\u00e4" for name in ("one", "two", "three", "four")
}
UNKNOWN = "Xq7-" + secrets.token_hex(4)  # a password that stands in the log alone


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A gateway whose every file, variable and line of log has a secret in it."""
    keys = tmp_path / "gateway"
    generate_signing_key(keys / "gateway.pem")
    generate_signing_key(keys / "collector.pem")
    generate_node_key(keys / "air-1.json", 1, bytes(range(12)))
    password = keys / "broker.password"
    password.write_text(PLANTED["one"] + "\n")
    password.chmod(0o600)
    (tmp_path / "state").mkdir()
    box = open_box(tmp_path / "state")
    box.append(records(1, 20), {})
    box.close()
    cursor = tmp_path / "state" / "platform.token"
    cursor.write_text(PLANTED["four"])
    cursor.chmod(0o600)
    monkeypatch.setenv("SITE_MQTT_PASSWORD", PLANTED["two"])
    (tmp_path / "gateway.toml").write_text(
        f"""# the old one was {PLANTED["three"]}
[gateway]
id = "site-12"
state_dir = "state"
key = "gateway/gateway.pem"
[uplink]
host = "mqtts://site-12:{PLANTED["three"]}@broker.example.net"
username = "site-12"
password_file = "gateway/broker.password"
collector_key = "gateway/collector.pem.pub"
[platform]
access_token = "{PLANTED["three"]}"
pw = "{PLANTED["three"]}"
[[bus]]
name = "hall"
type = "rtu"
port = "/dev/ttyUSB0"
[[bus.device]]
name = "air-1"
unit = 1
kind = "node"
role = "air"
uid = "000102030405060708090a0b"
key = "gateway/air-1.json"
""",
        encoding="utf-8",
    )
    node_key = json.loads((keys / "air-1.json").read_text())["key"]
    pem = (keys / "gateway.pem").read_text()
    lines = [f"Not authorized with {secret}" for secret in PLANTED.values()]
    lines += [f"basic {base64.b64encode(secret.encode()).decode()}" for secret in PLANTED.values()]
    lines += [
        f"GET https://a:{UNKNOWN}@example.net/",
        f"password={UNKNOWN}",
        f'"token": "{UNKNOWN}"',
    ]
    lines += [f"Authorization: Bearer {UNKNOWN}", f"key {node_key}", pem, "bus hall: no answer"]
    (tmp_path / "agent.log").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path


def contents(bundle: Path) -> dict[str, str]:
    """Return the parts of a bundle by name."""
    with tarfile.open(bundle) as archive:
        found = {}
        for entry in archive.getmembers():
            file = archive.extractfile(entry)
            assert file is not None
            found[entry.name.rpartition("/")[2]] = file.read().decode()
        return found


def test_no_secret_is_in_it(site: Path) -> None:
    make_bundle(site / "gateway.toml", site / "report.tar.gz", site / "agent.log")
    whole = "\n".join(contents(site / "report.tar.gz").values())
    key_lines = [
        line
        for name in ("gateway.pem", "collector.pem")
        for line in (site / "gateway" / name).read_text().splitlines()
        if not line.startswith(("-----", "key id"))
    ]
    node_key = json.loads((site / "gateway/air-1.json").read_text())["key"]
    for secret in (*PLANTED.values(), *key_lines, node_key, UNKNOWN):
        assert secret not in whole
        assert json.dumps(secret)[1:-1] not in whole
        assert base64.b64encode(secret.encode()).decode() not in whole
        assert secret.encode().hex() not in whole


def test_what_a_question_needs_is_in_it(site: Path) -> None:
    result = CliRunner().invoke(
        app,
        [
            "report",
            "-c",
            str(site / "gateway.toml"),
            "-o",
            str(site / "r.tar.gz"),
            "--log",
            str(site / "agent.log"),
        ],
    )
    assert result.exit_code == 0, result.output
    assert stat.S_IMODE((site / "r.tar.gz").stat().st_mode) == 0o600
    found = contents(site / "r.tar.gz")
    config = json.loads(found["config.json"])
    assert config["gateway"] == {
        "id": "site-12",
        "state_dir": "state",
        "key": "gateway/gateway.pem",
    }
    assert config["bus"][0]["device"][0]["uid"] == "000102030405060708090a0b"
    assert config["platform"] == {"access_token": "(removed)", "pw": "(removed)"}
    about = json.loads(found["about.json"])
    assert about["packages"]["tianfu-edge"]
    assert "SITE_MQTT_PASSWORD" in about["variables"]
    outbox = json.loads(found["outbox.json"])
    assert (outbox["chain"], outbox["last"], outbox["receipted_to"]) == ("whole", 20, 0)
    assert "bus hall: no answer" in found["log.txt"]
    assert "outbox.db" in found["files.txt"]
    assert "platform" in found["check.txt"], "the mistake of this file is named"
    assert "no agent answers" in found["status.json"]


def test_nothing_is_written_to_the_outbox_and_damage_is_named(site: Path) -> None:
    database = site / "state/outbox.db"
    data = bytearray(database.read_bytes())
    data[data.index(records(1, 20)[10].data[:32]) + 4] ^= 1
    database.write_bytes(data)
    make_bundle(site / "gateway.toml", site / "report.tar.gz", site / "agent.log")
    assert database.read_bytes() == data
    assert "not available" in contents(site / "report.tar.gz")["outbox.json"]


def test_a_file_that_is_there_is_not_replaced(site: Path) -> None:
    (site / "mine").write_text("mine")
    result = CliRunner().invoke(
        app, ["report", "-c", str(site / "gateway.toml"), "-o", str(site / "mine")]
    )
    assert result.exit_code == 1
    assert "cannot be written: File exists" in result.output
    assert (site / "mine").read_text() == "mine"


def test_a_configuration_that_is_no_toml_has_a_bundle_too(site: Path) -> None:
    (site / "gateway.toml").write_text(f"[uplink\npassword = {UNKNOWN}\n")
    make_bundle(site / "gateway.toml", site / "report.tar.gz", site / "agent.log")
    found = contents(site / "report.tar.gz")
    assert UNKNOWN not in "".join(found.values())
    assert "expected TOML" in found["check.txt"]
