"""The tables of a link: each way to a port, and what is wrong in one is named with its remedy."""

import json
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway_agent.cli import app
from gateway_agent.config import ConfigError, LinkBus, RtuOverTcpBus, SerialBus, parse
from gateway_agent.keys import generate_node_key, generate_signing_key

UID = "0123456789abcdef01234567"
HEAD = """
[gateway]
id = "site-12"
state_dir = "state"
key = "gateway.pem"

[uplink]
host = "127.0.0.1"
receipt = "puback"
"""
NODE = f"""
[[bus.device]]
name = "cam"
kind = "node"
role = "camera"
uid = "{UID}"
"""
WITH_KEY = NODE + 'key = "cam.key"\n'


def read(bus: str, devices: str = WITH_KEY) -> LinkBus:
    text = f'{HEAD}\n[[bus]]\nname = "l"\ntype = "link"\n{bus}\n{devices}'
    config = parse(tomllib.loads(text), Path("/etc/g.toml"))
    assert config.bus == ()
    (link,) = config.link
    return link


def problem(bus: str, devices: str = WITH_KEY) -> str:
    with pytest.raises(ConfigError) as caught:
        read(bus, devices)
    (found,) = caught.value.problems
    return str(found)


def test_a_serial_port_a_serial_server_and_a_listening_port() -> None:
    serial = read('port = "/dev/serial/by-path/x"').way
    assert isinstance(serial, SerialBus)
    assert (serial.port, serial.baudrate, serial.data_bits, serial.parity) == (
        "/dev/serial/by-path/x",
        115_200,
        8,
        "N",
    )
    server = read('host = "10.0.0.9"\nport = 4001').way
    assert isinstance(server, RtuOverTcpBus)
    assert (server.host, server.port) == ("10.0.0.9", 4001)
    link = read('listen = "[::1]:7700"')
    assert link.way is None
    assert link.address == ("::1", 7700)
    assert link.where == "[::1]:7700"
    assert link.auth == "key"


def test_a_node_needs_no_unit_and_may_have_one() -> None:
    assert read('port = "/dev/x"').device[0].unit == 0
    assert read('port = "/dev/x"', WITH_KEY + "unit = 7\n").device[0].unit == 7


@pytest.mark.parametrize(
    ("bus", "devices", "words"),
    [
        ("", WITH_KEY, "bus[0].port: expected port, or host and port, or listen, got nothing"),
        ('listen = "127.0.0.1:1"\nport = "/dev/x"', WITH_KEY, "expected no port beside listen"),
        ('listen = "127.0.0.1"', WITH_KEY, "expected an address of this machine and a port"),
        ('listen = "127.0.0.1:0"', WITH_KEY, "and a port number from 1 to 65535"),
        ('listen = "modems:7700"', WITH_KEY, "an IP address of this machine"),
        ('host = "h"\nport = "/dev/x"', WITH_KEY, "1 to 65535, because there is a host"),
        ('host = "h"\nport = 70000', WITH_KEY, "1 to 65535, because there is a host"),
        ("port = 4001", WITH_KEY, "the path of a serial port, because there is no host"),
        ('port = "/dev/x"', NODE, "bus[0].device[0].key: expected the node's key file"),
        ('port = "/dev/x"\nauth = "none"', WITH_KEY, 'no key, because auth = "none"'),
        ('port = "/dev/x"\nauth = "off"', WITH_KEY, 'one of "key", "none"'),
        ('port = "/dev/x"\nparity = "E"', WITH_KEY, "no parity, because"),
        (
            'port = "/dev/x"',
            WITH_KEY + WITH_KEY.replace('"cam"', '"two"').replace(UID, UID[::-1]),
            "expected one device, because one node is on this port",
        ),
    ],
)
def test_what_is_wrong_is_named(bus: str, devices: str, words: str) -> None:
    assert words in problem(bus, devices)


def test_a_third_party_device_cannot_push() -> None:
    other = '[[bus.device]]\nname = "c"\nkind = "profile"\nprofile = "senseair-s8"\n'
    with pytest.raises(ConfigError, match=r'device\[0\].kind: expected one of "node"'):
        read('port = "/dev/x"', other)


def test_a_node_and_a_port_are_named_once_in_the_file() -> None:
    two = f'[[bus]]\nname = "m"\ntype = "rtu"\nport = "/dev/x"\n{WITH_KEY}unit = 1\n'
    with pytest.raises(ConfigError) as caught:
        read('port = "/dev/x"', WITH_KEY + two.replace('"cam"', '"two"'))
    found = "\n".join(map(str, caught.value.problems))
    assert "expected a port no other bus uses" in found
    assert "expected a uid no other node has" in found


def test_check_shows_links_and_warns(tmp_path: Path) -> None:
    generate_signing_key(tmp_path / "gateway.pem")
    generate_node_key(tmp_path / "cam.key", 3, bytes.fromhex(UID))
    file = tmp_path / "g.toml"
    bare = NODE.replace('"cam"', '"bare"').replace(UID, UID[::-1])
    file.write_text(
        f'{HEAD}\n[[bus]]\nname = "l"\ntype = "link"\nlisten = "0.0.0.0:7700"\n{WITH_KEY}'
        f'[[bus]]\nname = "m"\ntype = "link"\nport = "/dev/x"\nauth = "none"\n{bare}'
    )
    shown = CliRunner().invoke(app, ["check", "--config", str(file)])
    assert shown.exit_code == 0, shown.output
    assert "nodes call in on 0.0.0.0:7700" in shown.output
    assert "warning: whoever reaches 0.0.0.0:7700 may call in" in shown.output
    assert "put stunnel with a key for each node in front (docs/modems.md)" in shown.output
    assert "nothing proves that readings on this port are those of the node" in shown.output
    found = json.loads(CliRunner().invoke(app, ["check", "--config", str(file), "--json"]).output)
    assert [(link["bus"], link["auth"]) for link in found["links"]] == [("l", "key"), ("m", "none")]


def test_check_names_a_key_file_that_is_absent(tmp_path: Path) -> None:
    generate_signing_key(tmp_path / "gateway.pem")
    file = tmp_path / "g.toml"
    file.write_text(f'{HEAD}\n[[bus]]\nname = "l"\ntype = "link"\nport = "/dev/x"\n{WITH_KEY}')
    shown = CliRunner().invoke(app, ["check", "--config", str(file)])
    assert shown.exit_code == 2
    assert "cam.key" in shown.output
