"""Enrolment: proven nodes alone become known, keys travel sealed, and comments stay."""

import base64
import json
import stat
from pathlib import Path

import pyhpke
import pytest
from cryptography.hazmat.primitives import serialization
from typer.testing import CliRunner, Result

from boards.cli import app as node_app
from boards.flash import station_log
from gateway_agent import config as gateway_config
from gateway_agent.cli import app as gateway_app
from gateway_agent.collector import config as collector_config
from gateway_agent.enrolment_keys import load_enrolment_key
from gateway_agent.keys import generate_node_key, load_node_key

UID = "0123456789abcdef01234567"
OTHER = "fedcba9876543210fedcba98"

GATEWAY = """\
# Written by hand.
[gateway]
id = "site-12"   # ours
state_dir = "state"
key = "gateway.key"

[uplink]
host = "broker.example.net"
receipt = "puback"

[[bus]]
name = "roof"    # the one on the roof
type = "rtu"
port = "/dev/ttyS0"

[[bus.device]]
name = "co2"
unit = 2
kind = "profile"
profile = "senseair-s8"

# The pump house.
[[bus]]
name = "pump"
type = "tcp"
host = "192.168.1.20"
port = 502

[[bus.device]]
name = "basin"
unit = 1
kind = "profile"
profile = "xylem-odo-rtu" # ends without a line end"""

COLLECTOR = """\
[collector]
key = "collector.pem"
database = "collector.db"
[broker]
host = "127.0.0.1"
[[gateway]]
id = "site-12"
keys = ["gw-1.pub"] # one"""


class Site:
    """A station, a gateway and a collector, each with its files."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "station.jsonl"
        self.keys = folder / "keys-of-the-station"
        self.gateway = folder / "gateway" / "gateway.toml"
        self.collector = folder / "collector" / "collector.toml"
        for path, text in ((self.gateway, GATEWAY), (self.collector, COLLECTOR)):
            path.parent.mkdir()
            path.write_text(text)
            path.chmod(0o640)
            run(gateway_app, "keygen", "enroll", "--out", path.parent / "enroll.pem")

    def prove(self, uid: str = UID, key_id: int = 1, unit: int = 7, **change: object) -> None:
        """Write what `tianfu-node flash` writes of a board."""
        generate_node_key(self.keys / f"{uid}-{key_id}.json", key_id, bytes.fromhex(uid))
        line: dict[str, object] = {"event": "proven", "board": "made_up_1", "role": "air"}
        line |= {"unit": unit, "uid": uid, "image": "5e" * 32, "key_id": key_id}
        line |= {"sample": "1/4", "sample_after_power_cycle": "2/1"}
        station_log.append(self.log, line | change)

    def seal(self) -> Result:
        pubs = [path.parent / "enroll.pem.pub" for path in (self.gateway, self.collector)]
        seals = [each for pub in pubs for each in ("--seal", pub)]
        return run(node_app, "log", "--log", self.log, "--keys", self.keys, *seals)

    def enroll(self, *options: object, config: Path | None = None) -> Result:
        config = config or self.gateway
        return run(gateway_app, "enroll", self.log, "--config", config, *options)


def run(app: object, *arguments: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments])  # type: ignore[arg-type] # typer's


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path)
    made.prove()
    assert "2 keys sealed" in made.seal().output
    return made


def test_a_node_becomes_known_to_both_without_typing(site: Site) -> None:
    done = site.enroll("--bus", "roof")
    assert done.exit_code == 0, done.output
    assert f"bus roof: air-7, address 7, node {UID}, key 1" in done.output
    (roof, pump) = gateway_config.load(site.gateway).bus
    assert [device.name for device in roof.device] == ["co2", "air-7"]
    assert [device.name for device in pump.device] == ["basin"]
    assert site.enroll(config=site.collector).exit_code == 0
    (node,) = collector_config.load(site.collector).node
    wanted = load_node_key(site.keys / f"{UID}-1.json").key
    for path in (roof.device[1].key, node.key):  # type: ignore[union-attr] # a node's
        assert load_node_key(path, bytes.fromhex(UID)).key == wanted
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_people_wrote_stays_and_its_rights_too(site: Site) -> None:
    site.enroll("--bus", "roof")
    text = site.gateway.read_text()
    lines = text.splitlines()
    assert [line for line in GATEWAY.splitlines() if line not in lines] == []
    assert lines.index("# The pump house.") > lines.index(f'uid = "{UID}"')
    assert stat.S_IMODE(site.gateway.stat().st_mode) == 0o640
    site.enroll(config=site.collector)
    assert site.collector.read_text().startswith(COLLECTOR)


def test_to_enroll_again_changes_nothing(site: Site) -> None:
    for config, options in ((site.gateway, ("--bus", "pump")), (site.collector, ())):
        site.enroll(*options, config=config)
        before = config.read_bytes(), sorted((config.parent / "keys").iterdir())
        done = site.enroll(*options, config=config)
        assert done.exit_code == 0
        assert "known already" in done.output
        assert (config.read_bytes(), sorted((config.parent / "keys").iterdir())) == before
    assert "0 keys sealed" in site.seal().output


def test_no_secret_is_in_the_log_and_a_dry_run_writes_nothing(site: Site) -> None:
    secret = json.loads((site.keys / f"{UID}-1.json").read_text())["key"]
    content = site.log.read_bytes()
    for form in (secret.encode(), bytes.fromhex(secret), base64.b64encode(bytes.fromhex(secret))):
        assert form.rstrip(b"=")[:-1] not in content
    done = site.enroll("--bus", "roof", "--dry-run")
    assert "air-7" in done.output
    assert secret not in done.output
    assert site.gateway.read_text() == GATEWAY
    assert not (site.gateway.parent / "keys").exists()


def test_another_implementation_of_hpke_opens_it(site: Site) -> None:
    suite = pyhpke.CipherSuite.new(
        pyhpke.KEMId.DHKEM_X25519_HKDF_SHA256,
        pyhpke.KDFId.HKDF_SHA256,
        pyhpke.AEADId.CHACHA20_POLY1305,
    )
    private = load_enrolment_key(site.gateway.parent / "enroll.pem")
    raw = private.private_bytes(
        serialization.Encoding.Raw,
        serialization.PrivateFormat.Raw,
        serialization.NoEncryption(),
    )
    line = json.loads(site.log.read_text().splitlines()[1])
    sealed = base64.b64decode(line["sealed"])
    info = f"tianfu-edge enrolment 1|{UID}|1".encode()
    recipient = suite.create_recipient_context(
        sealed[:32], suite.kem.deserialize_private_key(raw), info
    )
    assert recipient.open(sealed[32:]) == (site.keys / f"{UID}-1.json").read_bytes()


def refused(site: Site, why: str, *options: object) -> None:
    done = site.enroll(*options)
    assert done.exit_code == 1, done.output
    assert why in done.output
    assert site.gateway.read_text() == GATEWAY
    assert not (site.gateway.parent / "keys").exists()


def rewrite(site: Site, old: bytes, new: bytes) -> None:
    """Change the log and make its chain good again, as an attacker would."""
    lines = [json.loads(line) for line in site.log.read_bytes().replace(old, new).splitlines()]
    site.log.unlink()
    for line in lines:
        station_log.append(site.log, line | {"prev": station_log.chain(site.log).head}
                           if site.log.exists() else line)  # fmt: skip


def test_a_changed_log_is_refused(site: Site) -> None:
    site.log.write_bytes(site.log.read_bytes().replace(b'"unit": 7', b'"unit": 8', 1))
    refused(site, "changed or removed", "--bus", "roof")


@pytest.mark.parametrize("cut", [1, 40, 200])
def test_a_log_that_was_cut_off_is_refused(site: Site, cut: int) -> None:
    site.log.write_bytes(site.log.read_bytes()[: -1 - cut])
    refused(site, "cut off", "--bus", "roof")


def test_a_sealed_key_that_was_changed_is_refused(site: Site) -> None:
    line = json.loads(site.log.read_text().splitlines()[1])
    sealed = bytearray(base64.b64decode(line["sealed"]))
    sealed[50] ^= 1
    rewrite(site, line["sealed"].encode(), base64.b64encode(bytes(sealed)))
    refused(site, "damaged or was changed", "--bus", "roof")


def test_a_sealed_key_of_another_node_is_refused(site: Site) -> None:
    rewrite(site, UID.encode(), OTHER.encode())
    refused(site, "damaged or was changed", "--bus", "roof")


@pytest.mark.parametrize("sealed", ["", "AAAA", "!", 7, None, "A" * 5000])
def test_what_is_no_sealed_key_is_refused(site: Site, sealed: object) -> None:
    line = json.loads(site.log.read_text().splitlines()[1])
    rewrite(site, json.dumps(line["sealed"]).encode(), json.dumps(sealed).encode())
    refused(site, f"node {UID}", "--bus", "roof")


def test_a_log_that_was_sealed_to_another_is_refused(site: Site) -> None:
    run(gateway_app, "keygen", "enroll", "--out", site.gateway.parent / "other.pem")
    refused(site, "sealed to", "--bus", "roof", "--key", site.gateway.parent / "other.pem")


def test_a_node_that_failed_after_its_proof_is_refused(site: Site) -> None:
    station_log.append(site.log, {"event": "failed", "uid": UID})
    refused(site, "flash it again", "--bus", "roof", "--uid", UID)


def test_an_address_that_is_taken_is_refused(site: Site) -> None:
    site.prove(OTHER, unit=2)
    site.seal()
    refused(site, "co2 has it", "--bus", "roof")


def test_the_bus_must_be_named_where_there_are_several(site: Site) -> None:
    refused(site, "one of roof, pump")


def test_a_new_key_needs_its_name_said(site: Site) -> None:
    site.enroll("--bus", "roof")
    site.prove(key_id=2)
    site.seal()
    before = site.gateway.read_text()
    done = site.enroll("--bus", "roof")
    assert done.exit_code == 1
    assert "--replace air-7" in done.output
    assert site.gateway.read_text() == before


def test_a_replaced_board_keeps_its_name_and_has_the_new_key(site: Site) -> None:
    site.enroll("--bus", "roof")
    site.enroll(config=site.collector)
    before = gateway_config.load(site.gateway).bus[0].device[1]
    site.prove(key_id=2)
    site.seal()
    done = site.enroll("--replace", "air-7")
    assert done.exit_code == 0, done.output
    after = gateway_config.load(site.gateway).bus[0].device[1]
    assert after.name == before.name == "air-7"
    assert after.device_id("site-12") == before.device_id("site-12")
    assert load_node_key(after.key).key_id == 2  # type: ignore[union-attr] # a node's
    assert after.replaces == 1  # type: ignore[union-attr]
    assert site.enroll("--replace", "air-7").output.startswith("all nodes")
    assert site.enroll(config=site.collector).exit_code == 0
    nodes = collector_config.load(site.collector).node
    assert [load_node_key(node.key).key_id for node in nodes] == [1, 2]  # both stay valid


@pytest.mark.parametrize("name", ["co2", "nobody"])
def test_only_a_node_is_replaced(site: Site, name: str) -> None:
    refused(site, "to be a node on a bus", "--replace", name)


def test_line_ends_and_a_byte_order_mark_stay(site: Site) -> None:
    for config, text in ((site.gateway, GATEWAY), (site.collector, COLLECTOR)):
        config.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
        before = config.read_bytes()
        done = site.enroll("--bus", "roof", config=config)
        assert done.exit_code == 0, done.output
        after = config.read_bytes()
        assert after.startswith(b"\xef\xbb\xbf")
        assert set(before.split(b"\r\n")[:-1]) < set(after.split(b"\r\n"))


def test_a_table_that_cannot_be_found_is_left_to_people(site: Site) -> None:
    """Headers inside a text, and tables inside a line."""
    inline = GATEWAY.partition("[[bus]]")[0].replace("[gateway]", INLINE + "[gateway]")
    site.gateway.write_text(inline)
    assert gateway_config.load(site.gateway).bus[0].name == "roof"
    done = site.enroll()
    assert done.exit_code == 1
    assert "write the table by hand" in done.output
    assert site.gateway.read_text() == inline


INLINE = (
    'bus = [{name = "roof", type = "rtu", port = "/dev/ttyS0", device = ['
    '{name = "co2", unit = 2, kind = "profile", profile = "senseair-s8"}]}]\n'
)


@pytest.mark.parametrize(
    "change",
    [
        {"uid": 7},
        {"uid": "../../x"},
        {"role": None},
        {"role": 'air"\nx = "'},
        {"unit": "7"},
        {"unit": 0},
        {"key_id": True},
        {"key_id": -1},
    ],
)
def test_a_line_that_no_station_writes_is_refused(site: Site, change: dict[str, object]) -> None:
    line = station_log.chain(site.log).lines[0]
    station_log.append(site.log, {"event": "begun", "uid": UID})
    station_log.append(site.log, {**line, **change, "prev": station_log.chain(site.log).head})
    done = site.enroll("--bus", "roof")
    assert done.exit_code in (1, 2), done.output
    assert isinstance(done.exception, SystemExit)
    assert site.gateway.read_text() == GATEWAY
    assert not (site.gateway.parent / "keys").exists()


def test_a_line_that_is_nested_too_deep_is_refused(site: Site) -> None:
    with site.log.open("ab") as file:
        file.write(b"[" * 200_000 + b"\n")
    refused(site, "cut off", "--bus", "roof")


def test_an_enrolment_that_a_power_cut_ended_is_repeated(site: Site) -> None:
    """The key file was written, the configuration not."""
    folder = site.gateway.parent / "keys"
    folder.mkdir()
    own = folder / f"{UID}-1.json"
    own.write_bytes((site.keys / own.name).read_bytes())
    own.chmod(0o600)
    assert site.enroll("--bus", "roof").exit_code == 0
    assert gateway_config.load(site.gateway).bus[0].device[1].name == "air-7"


def test_a_key_file_of_the_same_name_is_never_overwritten(site: Site) -> None:
    path = site.gateway.parent / "keys" / f"{UID}-1.json"
    generate_node_key(path, 1, bytes.fromhex(UID))
    before = path.read_bytes()
    done = site.enroll("--bus", "roof")
    assert done.exit_code == 1
    assert "got another key" in done.output
    assert path.read_bytes() == before
    assert site.gateway.read_text() == GATEWAY


def test_the_private_key_is_its_owners_alone(site: Site) -> None:
    path = site.gateway.parent / "enroll.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    done = site.enroll("--bus", "roof")
    assert done.exit_code == 2
    assert "only its owner can read" in done.output
