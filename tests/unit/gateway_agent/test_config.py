"""Configuration: the example is good, and every wrong value is named with its remedy."""

import copy
import tomllib
from pathlib import Path

import pytest

import gateway_agent
from gateway_agent.config import Config, ConfigError, device_id, load, parse

EXAMPLE = Path(gateway_agent.__file__).with_name("example.toml")
GATEWAY = Path("/etc/tianfu/gateway.toml")

Tables = dict[str, object]


def example() -> Tables:
    return tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))


def change(tables: Tables, key: str, value: object) -> Tables:
    """A copy with ``a.0.b`` set to ``value``, or removed if it is ``...``."""
    tables = copy.deepcopy(tables)
    *path, last = key.split(".")
    at: object = tables
    for part in path:
        at = at[int(part)] if isinstance(at, list) else at[part]  # type: ignore[index]  # a table
    assert isinstance(at, dict)
    if value is ...:
        del at[last]
    else:
        at[last] = value
    return tables


def problems(tables: Tables) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(tables, GATEWAY)
    lines = [str(problem) for problem in caught.value.problems]
    assert all(line.startswith(str(GATEWAY)) for line in lines)
    return lines


def test_the_example_is_good() -> None:
    config = load(EXAMPLE)
    assert config.gateway.id == "site-12"
    assert [bus.type for bus in config.bus] == ["rtu", "tcp"]
    air, co2 = config.bus[0].device
    assert device_id("site-12", air) == "tf-0123456789abcdef01234567"
    assert device_id("site-12", co2) == "site-12.co2-hall"


def test_file_names_are_relative_to_the_file() -> None:
    config = parse(change(example(), "bus.1.device.0.profile", "own/probe.toml"), GATEWAY)
    assert config.gateway.key == Path("/etc/tianfu/gateway.key")
    assert config.bus[1].device[0].profile == "/etc/tianfu/own/probe.toml"
    assert config.bus[0].device[1].profile == "senseair-s8"


def test_defaults() -> None:
    minimal: Tables = {
        "gateway": {"id": "g", "state_dir": "s", "key": "k"},
        "uplink": {"host": "h", "collector_key": "c"},
        "bus": [
            {
                "name": "b",
                "type": "tcp",
                "host": "h",
                "port": 502,
                "device": [{"name": "d", "unit": 1, "kind": "profile", "profile": "senseair-s8"}],
            }
        ],
    }
    config: Config = parse(minimal, GATEWAY)
    assert (config.uplink.port, config.uplink.version, config.uplink.receipt) == (
        1883,
        "5",
        "signed",
    )
    assert (config.uplink.batch_records, config.uplink.in_flight) == (1000, 4)
    assert config.bus[0].timeout_ms == 500


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("gateway.id", "a/b", ["gateway.id", '"a/b"', "letters, digits", 'id = "site-12"']),
        ("gateway.id", ..., ["gateway.id", "got nothing"]),
        ("gateway.key", 5, ["gateway.key", "got 5", 'key = "gateway.key"']),
        ("gateway", ..., ["gateway", "a table"]),
        ("gateway", 3, ["gateway", "[gateway] table"]),
        ("uplink.port", "8883", ["uplink.port", '"8883"', "from 1 to 65535", "port = 1883"]),
        ("uplink.port", 0, ["uplink.port", "got 0"]),
        ("uplink.port", True, ["uplink.port", "got true"]),
        ("uplink.version", "4", ["uplink.version", 'one of "5", "3.1.1"']),
        ("uplink.in_flight", 65, ["uplink.in_flight", "from 1 to 64"]),
        ("uplink.prot", 1, ["uplink.prot", "did you mean `port`?"]),
        ("uplink.collector_key", ..., ["uplink.collector_key", 'receipt = "puback"']),
        ("uplink.username", ..., ["uplink.username", "remove password_file"]),
        ("uplink.tls.cert", ..., ["uplink.tls.cert", "name both files or neither"]),
        ("outbox.max_bytes", 5, ["outbox.max_bytes", "at least 1048576"]),
        ("bus", ..., ["bus", "[[bus]]"]),
        ("bus", [], ["bus", "at least one [[bus]]"]),
        ("bus", {}, ["bus", "array of tables"]),
        ("bus.0.type", "modbus", ["bus[0].type", '"rtu-over-tcp"']),
        ("bus.0.port", 3, ["bus[0].port", "path of a serial port", "/dev/serial/by-id"]),
        ("bus.0.port", ..., ["bus[0].port", "the path of a serial port, or a TCP port number"]),
        ("bus.0.port", 1.5, ["bus[0].port", "got 1.5", 'port = "/dev/ttyUSB0"']),
        ("bus.0.host", "x", ["bus[0].host", "remove host"]),
        ("bus.0.baudrate", "9600", ["bus[0].baudrate", '"9600"', "baudrate = 9600"]),
        ("bus.0.parity", "X", ["bus[0].parity", 'one of "N", "E", "O"']),
        ("bus.0.stopbits", 1.5, ["bus[0].stopbits", "one of 1, 2", "got 1.5"]),
        ("bus.0.device", [], ["bus[0].device", "at least one device"]),
        ("bus.0.device.0.unit", 0, ["bus[0].device[0].unit", "1 to 247", "broadcast"]),
        ("bus.0.device.0.unit", 248, ["bus[0].device[0].unit", "reserved"]),
        ("bus.0.device.0.unit", 2, ["bus[0].device[1].unit", "bus[0].device[0].unit has it"]),
        ("bus.0.device.0.name", "basin", ["bus[1].device[0].name", "change one of them"]),
        ("bus.0.device.0.uid", "0123", ["bus[0].device[0].uid", "24 lower-case hex digits"]),
        ("bus.0.device.0.uid", ..., ["bus[0].device[0].uid", "tianfu-gateway discover"]),
        ("bus.0.device.0.role", "fire", ["bus[0].device[0].role", "air, water, camera"]),
        ("bus.0.device.0.period_ms", 0, ["bus[0].device[0].period_ms", "from 1 to"]),
        ("bus.0.device.1.key", "k", ["bus[0].device[1].key", "remove key or change kind"]),
        ("bus.0.device.1.profile", "No Such", ["bus[0].device[1].profile", "shipped profile"]),
        ("bus.1.host", ..., ["bus[1].host", 'type = "tcp"', "192.168"]),
        ("bus.1.port", "/dev/x", ["bus[1].port", "1 to 65535"]),
        ("bus.1.name", "roof", ["bus[1].name", "bus[0].name has it already"]),
        ("bus.1.device.0.name", "x" * 60, ["bus[1].device[0].name", "at most 64 characters"]),
    ],
)
def test_one_wrong_value(key: str, value: object, says: list[str]) -> None:
    lines = problems(change(example(), key, value))
    assert any(all(part in line for part in says) for line in lines), lines
    if key not in ("gateway", "bus"):
        assert len(lines) == 1, lines


def test_all_problems_come_at_once() -> None:
    tables = example()
    for key, value in {
        "gateway.id": 7,
        "uplink.version": 5,
        "bus.0.baudrate": "fast",
        "bus.0.device.1.unit": 300,
        "bus.1.device.0.kind": "plc",
    }.items():
        tables = change(tables, key, value)
    lines = problems(tables)
    keys = ["gateway.id", "uplink.version", "bus[0].baudrate", "bus[0].device[1].unit",
            "bus[1].device[0].kind"]  # fmt: skip
    assert sorted(line.split(": ")[1] for line in lines) == sorted(keys)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"[gateway\n", "line 1"),
        (b"a = \xff\n", "0xff at offset 4"),
        (b"#" * (1 << 20) + b"\n", "at most 1048576 bytes"),
    ],
)
def test_a_file_that_is_no_toml(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "gateway.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=says) as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_an_absent_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "none.toml")
