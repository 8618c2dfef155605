"""Configuration: the example is good, and every wrong value is named with its remedy."""

import copy
import tomllib
from pathlib import Path

import pytest

import gateway_agent
from gateway_agent.config import (
    ConfigError,
    GatewayConfig,
    GatewayIdentity,
    MqttUplink,
    NodeDevice,
    OutboxConfig,
    ProfileDevice,
    RtuOverTcpBus,
    SerialBus,
    TcpBus,
    load,
    parse,
)

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


def test_the_shortest_file_means_what_it_meant() -> None:
    """The file of version 0.1's README."""
    tables = tomllib.loads("""
[gateway]
id = "site-12"
state_dir = "state"
key = "keys/gateway.pem"

[uplink]
host = "127.0.0.1"
collector_key = "keys/collector.pem.pub"

[[bus]]
name = "hall"
type = "rtu"
port = "/dev/ttyUSB0"

[[bus.device]]
name = "co2-hall"
unit = 2
kind = "profile"
profile = "senseair-s8"
""")
    device = ProfileDevice(name="co2-hall", unit=2, profile="senseair-s8", period_ms=5000)
    assert parse(tables, GATEWAY) == GatewayConfig(
        gateway=GatewayIdentity(
            id="site-12",
            state_dir=Path("/etc/tianfu/state"),
            key=Path("/etc/tianfu/keys/gateway.pem"),
        ),
        uplink=MqttUplink(
            host="127.0.0.1",
            port=1883,
            version="5",
            tls=None,
            username=None,
            password_file=None,
            receipt="signed",
            collector_key=Path("/etc/tianfu/keys/collector.pem.pub"),
            compression="zstd",
            batch_records=1000,
            latency="normal",
            batch_interval_ms=None,
            window_bytes=1 << 18,
            in_flight=64,
            retry_ms=5000,
        ),
        outbox=OutboxConfig(max_bytes=1 << 30, commit_ms=50),
        bus=(
            SerialBus(
                name="hall",
                port="/dev/ttyUSB0",
                baudrate=9600,
                parity="N",
                stopbits=1,
                timeout_ms=500,
                turnaround_ms=20,
                quiet_ms=50,
                gap_words=8,
                device=(device,),
            ),
        ),
    )


def test_each_kind_of_table_has_its_own_type() -> None:
    tables = change(example(), "bus.1.check_transaction_id", ...)  # a line has none
    config = parse(change(tables, "bus.1.type", "rtu-over-tcp"), GATEWAY)
    assert [type(bus) for bus in config.bus] == [SerialBus, RtuOverTcpBus]
    assert [type(device) for device in config.bus[0].device] == [NodeDevice, ProfileDevice]
    assert type(parse(example(), GATEWAY).bus[1]) is TcpBus


def test_the_uplink_may_name_its_kind() -> None:
    named = parse(change(example(), "uplink.type", "mqtt"), GATEWAY)
    assert named == parse(example(), GATEWAY)
    (line,) = problems(change(example(), "uplink.type", "lora"))
    assert 'uplink.type: expected one of "mqtt", got "lora"' in line


def test_a_modbus_tcp_device_may_have_settings_of_a_line() -> None:
    config = parse(change(example(), "bus.1.baudrate", 19200), GATEWAY)
    assert (config.bus[1].baudrate, config.bus[1].char_ms, config.bus[1].silence_ms) == (
        19200,
        0,
        0,
    )


def test_units_of_a_modbus_tcp_device() -> None:
    assert (
        parse(change(example(), "bus.1.device.0.unit", 255), GATEWAY).bus[1].device[0].unit == 255
    )


@pytest.mark.parametrize("host", ["10.0.0.7", "plc-7.local", "::1", "fe80::1%eth0", "fd00::7"])
def test_hosts_of_every_kind(host: str) -> None:
    assert parse(change(example(), "bus.1.host", host), GATEWAY).bus[1].where == f"{host}:502"


def test_times_of_a_line() -> None:
    slow = parse(example(), GATEWAY).bus[0]
    assert slow.char_ms == pytest.approx(1.041667, abs=1e-6)
    assert slow.silence_ms == 3.646
    fast = parse(change(example(), "bus.0.baudrate", 115200), GATEWAY).bus[0]
    assert fast.silence_ms == 1.75


def test_what_a_kind_does_not_decide_is_checked_where_the_kind_is_wrong() -> None:
    tables = example()
    for key, value in {
        "bus.0.type": "modbus",
        "bus.0.quiet_ms": 0,
        "bus.0.speed": 9600,
        "bus.0.device.0.uid": "0123",
        "bus.0.device.1.kind": "plc",
        "bus.0.device.1.unit": 300,
    }.items():
        tables = change(tables, key, value)
    keys = [line.split(": ")[1] for line in problems(tables)]
    assert sorted(keys) == [
        "bus[0].device[0].uid",
        "bus[0].device[1].kind",
        "bus[0].device[1].unit",
        "bus[0].quiet_ms",
        "bus[0].speed",
        "bus[0].type",
    ]


def test_file_names_are_relative_to_the_file() -> None:
    config = parse(change(example(), "bus.1.device.0.profile", "own/probe.toml"), GATEWAY)
    assert config.gateway.key == Path("/etc/tianfu/gateway.key")
    own, shipped = config.bus[1].device[0], config.bus[0].device[1]
    assert isinstance(own, ProfileDevice)
    assert isinstance(shipped, ProfileDevice)
    assert (own.profile, own.role) == ("/etc/tianfu/own/probe.toml", "probe")
    assert (shipped.profile, shipped.role) == ("senseair-s8", "senseair-s8")


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
    config = parse(minimal, GATEWAY)
    assert (config.uplink.port, config.uplink.version, config.uplink.receipt) == (
        1883,
        "5",
        "signed",
    )
    assert (config.uplink.batch_records, config.uplink.window_bytes) == (1000, 1 << 18)
    assert config.uplink.in_flight == 64
    assert config.bus[0].timeout_ms == 500


@pytest.mark.parametrize(
    ("key", "value", "parts"),
    [
        ("gateway.id", "a/b", ["gateway.id", '"a/b"', "letters, digits", 'id = "site-12"']),
        ("gateway.id", ..., ["gateway.id", "got nothing"]),
        ("gateway.key", 5, ["gateway.key", "got 5", "tianfu-gateway keygen"]),
        ("gateway", ..., ["gateway", "a table"]),
        ("gateway", 3, ["gateway", "[gateway] table"]),
        ("uplink.port", "8883", ["uplink.port", '"8883"', "from 1 to 65535", "port = 1883"]),
        ("uplink.port", 0, ["uplink.port", "got 0"]),
        ("uplink.port", True, ["uplink.port", "got true"]),
        ("uplink.version", "4", ["uplink.version", 'one of "5", "3.1.1"']),
        ("uplink.window_bytes", 1023, ["uplink.window_bytes", "1024 to 67108864"]),
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
        ("bus.0.port", ..., ["bus[0].port", "the path of a serial port", "/dev/serial/by-id"]),
        ("bus.0.port", 1.5, ["bus[0].port", "got 1.5", "the path of a serial port"]),
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
        ("bus.1.host", "10.0.0.7:502", ["bus[1].host", "without a port", '"10.0.0.7:502"']),
        ("bus.1.host", "http://10.0.0.7", ["bus[1].host", "a host name or address alone"]),
        ("bus.1.host", "10.0.0.7 ", ["bus[1].host", "a host name or address alone"]),
        ("bus.1.host", "", ["bus[1].host", "a host name or address alone"]),
        ("uplink.host", "mqtts://broker", ["uplink.host", "a host name or address alone"]),
        ("bus.1.port", "/dev/x", ["bus[1].port", "1 to 65535"]),
        ("bus.1.name", "roof", ["bus[1].name", "bus[0].name has it already"]),
        ("bus.1.device.0.name", "x" * 60, ["bus[1].device[0].name", "at most 64 characters"]),
    ],
)
def test_one_wrong_value(key: str, value: object, parts: list[str]) -> None:
    lines = problems(change(example(), key, value))
    assert any(all(part in line for part in parts) for line in lines), lines
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
    ("content", "parts"),
    [
        (b"[gateway\n", "line 1"),
        (b"a = \xff\n", "0xff at offset 4"),
        (b"#" * (4 << 20) + b"\n", "at most 4194304 bytes"),
        # What an input method for Chinese writes in the place of plain characters.
        ("# 网关\nid = “a”".encode(), 'line 2, column 6\\): "id = “a”"; write " instead of “'),
        ("unit \uff1d 1".encode(), "write = instead of \uff1d"),
        ("unit = \uff11 # \uff0c".encode(), "write 1 instead of \uff11"),
        ("a = [1\uff0c2] # 注".encode(), "write , instead of \uff0c"),
        (b"a = 1\na = 2\n", 'line 2, column 6\\): "a = 2"; correct the line'),
    ],
)
def test_a_file_that_is_no_toml(tmp_path: Path, content: bytes, parts: str) -> None:
    path = tmp_path / "gateway.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=parts) as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_an_absent_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("lines", "milliseconds"),
    [
        ("", 1000),
        ('latency = "low"', 100),
        ('latency = "saving"', 10_000),
        ('latency = "low"\nbatch_interval_ms = 250', 250),
    ],
)
def test_latency_is_one_word_and_the_exact_time_wins(
    tmp_path: Path, lines: str, milliseconds: int
) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(
        '[gateway]\nid = "g"\nstate_dir = "s"\nkey = "k.pem"\n'
        '[uplink]\nhost = "h"\nreceipt = "puback"\n'
        f'{lines}\n[[bus]]\nname = "b"\ntype = "tcp"\nhost = "h"\nport = 502\n'
        '[[bus.device]]\nname = "d"\nunit = 1\nkind = "profile"\nprofile = "senseair-s8"\n',
        encoding="utf-8",
    )
    assert load(path).uplink.interval_ms == milliseconds
