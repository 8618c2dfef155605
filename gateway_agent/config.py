"""The gateway's one configuration file, checked whole before anything is opened.

``load`` gives a :class:`Config` or a :class:`ConfigError` that names every problem. File names
are taken relative to the configuration file. ``gateway_agent/example.toml`` shows every key.
"""

import re
from pathlib import Path
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct
from msgspec.structs import force_setattr

from protocols.identity import MAX_IDENTIFIER_LENGTH, UID_PATTERN, node_id
from protocols.wire.registers import MAPS, MAX_WORDS

from .tables import ConfigError, Problem, TableReader, read_toml

__all__ = [
    "Bus",
    "Config",
    "ConfigError",
    "Device",
    "Gateway",
    "Outbox",
    "Problem",
    "Tls",
    "Uplink",
    "device_id",
    "load",
    "parse",
]

MAX_PERIOD_MS: Final = 86_400_000
MAX_BUSES: Final = 64
MAX_DEVICES: Final = 247  # Modbus over Serial Line V1.02, 2.2: addresses 1 to 247

# A name becomes part of an MQTT topic and of a SenML base name, so neither "/" nor "+" nor "#".
_NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,62}$"

Name = Annotated[
    str,
    Meta(
        pattern=_NAME_PATTERN,
        description="1 to 63 letters, digits, '-', '_' or '.', a letter or digit first",
        examples=["site-12"],
    ),
]
Host = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=253,
        description="a host name or address",
        examples=["192.168.1.20"],
    ),
]
Port = Annotated[
    int, Meta(ge=1, le=65535, description="a port number from 1 to 65535", examples=[1883])
]


def _ms(low: int, high: int, example: int) -> Meta:
    return Meta(
        ge=low, le=high, description=f"milliseconds from {low} to {high}", examples=[example]
    )


def _count(low: int, high: int, example: int) -> Meta:
    return Meta(ge=low, le=high, description=f"an integer from {low} to {high}", examples=[example])


class Gateway(Struct, frozen=True, kw_only=True):
    """Who this gateway is. ``key``: its private signing key (``tianfu-gateway keygen``)."""

    id: Name
    state_dir: Annotated[Path, Meta(description="a directory", examples=["state"])]
    key: Annotated[Path, Meta(description="the gateway's key file", examples=["gateway.key"])]


class Tls(Struct, frozen=True, kw_only=True):
    """TLS to the broker; with ``cert`` and ``key`` the gateway proves itself as well."""

    ca: Annotated[Path, Meta(description="a PEM file", examples=["ca.pem"])]
    cert: Annotated[Path, Meta(description="a PEM file", examples=["gateway.pem"])] | None = None
    key: Annotated[Path, Meta(description="a PEM file", examples=["gateway-tls.key"])] | None = None


class Uplink(Struct, frozen=True, kw_only=True):
    """The MQTT broker and what counts as delivered."""

    host: Host
    port: Port = 1883
    version: Literal["5", "3.1.1"] = "5"
    tls: Tls | None = None
    username: str | None = None
    password_file: Annotated[Path, Meta(description="a file name")] | None = None
    receipt: Literal["signed", "puback"] = "signed"
    collector_key: (
        Annotated[
            Path, Meta(description="the collector's public key file", examples=["collector.pub"])
        ]
        | None
    ) = None
    compression: Literal["zstd", "none"] = "zstd"
    batch_records: Annotated[int, _count(1, 10_000, 1000)] = 1000
    batch_interval_ms: Annotated[int, _ms(10, 3_600_000, 1000)] = 1000
    in_flight: Annotated[int, _count(1, 64, 4)] = 4
    retry_ms: Annotated[int, _ms(100, 3_600_000, 5000)] = 5000


class Outbox(Struct, frozen=True, kw_only=True):
    """The store. ``commit_ms``: how long records may wait for company before a commit."""

    max_bytes: Annotated[
        int,
        Meta(ge=1 << 20, description="bytes, at least 1048576", examples=[1_073_741_824]),
    ] = 1 << 30
    commit_ms: Annotated[int, _ms(0, 10_000, 50)] = 50


class Device(Struct, frozen=True, kw_only=True):
    """One device on a bus: a node of ours (role, uid, key) or a third-party one (profile)."""

    name: Name
    unit: Annotated[
        int, Meta(ge=0, le=255, description="a Modbus address from 1 to 247", examples=[1])
    ]
    kind: Literal["node", "profile"]
    role: str | None = None
    uid: (
        Annotated[
            str,
            Meta(
                pattern=UID_PATTERN,
                description="the node's unique id, 24 lower-case hex digits",
                examples=["0123456789abcdef01234567"],
            ),
        ]
        | None
    ) = None
    key: Annotated[Path, Meta(description="a file name", examples=["air-1.key"])] | None = None
    profile: (
        Annotated[
            str,
            Meta(
                min_length=1,
                description="the name of a shipped profile or a file name",
                examples=["senseair-s8"],
            ),
        ]
        | None
    ) = None
    period_ms: Annotated[int, _ms(1, MAX_PERIOD_MS, 5000)] = 5000


class Bus(Struct, frozen=True, kw_only=True):
    """One line or one connection; at most one request is under way on it.

    ``port`` is the path of a serial port (type ``rtu``) or a TCP port number. ``timeout_ms`` runs
    from the end of the request to the first byte of the answer; the answer's own length is added.
    ``turnaround_ms`` is the time a device is expected to think, for the predicted cycle;
    ``quiet_ms`` is the silence after which a disturbed line counts as empty again.
    """

    name: Name
    type: Literal["rtu", "tcp", "rtu-over-tcp"]
    port: Annotated[
        int | str,
        Meta(
            description="the path of a serial port, or a TCP port number",
            examples=["/dev/ttyUSB0"],
        ),
    ]
    host: Host | None = None
    baudrate: Annotated[int, _count(300, 4_000_000, 9600)] = 9600
    parity: Literal["N", "E", "O"] = "N"
    stopbits: Literal[1, 2] = 1
    timeout_ms: Annotated[int, _ms(10, 60_000, 500)] = 500
    turnaround_ms: Annotated[int, _ms(0, 10_000, 20)] = 20
    quiet_ms: Annotated[int, _ms(1, 10_000, 50)] = 50
    gap_words: Annotated[int, _count(0, MAX_WORDS - 2, 8)] = 8
    device: tuple[Device, ...]

    @property
    def where(self) -> str:
        """The port as a person writes it."""
        return str(self.port) if self.type == "rtu" else f"{self.host}:{self.port}"


class Config(Struct, frozen=True, kw_only=True):
    """The whole file."""

    gateway: Gateway
    uplink: Uplink
    outbox: Outbox = Outbox()
    bus: tuple[Bus, ...]


def device_id(gateway_id: str, device: Device) -> str:
    """``tf-<uid>`` for a node of ours, ``<gateway id>.<device name>`` for any other device."""
    if device.uid is not None:
        return node_id(bytes.fromhex(device.uid))
    return f"{gateway_id}.{device.name}"


def load(path: str | Path) -> Config:
    """Read and check a configuration file. ConfigError with every problem found."""
    path = Path(path)
    return parse(read_toml(path), path)


def parse(tables: dict[str, object], path: Path) -> Config:
    """Check tables that came from ``path``; see :func:`load`."""
    reader = TableReader(path)
    config = reader.build(Config, tables, "")
    # The checks across tables run on every table that is good in itself.
    for _, table in reader.built:
        if isinstance(table, Uplink):
            _check_uplink(reader, table)
    _check_buses(reader)
    gateways = [table for _, table in reader.built if isinstance(table, Gateway)]
    for at, table in reader.built:
        if isinstance(table, Device) and gateways:
            _check_id(reader, gateways[0], table, at)
    reader.raise_if_any()
    assert config is not None  # a struct that could not be built has left a problem
    for _, table in reader.built:
        if isinstance(table, Device) and table.profile and table.profile.endswith(".toml"):
            force_setattr(table, "profile", str((path.parent / table.profile).absolute()))
    return config


def _check_uplink(reader: TableReader, uplink: Uplink) -> None:
    if uplink.receipt == "signed" and uplink.collector_key is None:
        reader.problem(
            "uplink.collector_key",
            None,
            'the collector\'s public key file, because receipt = "signed"',
            'write collector_key = "collector.pub", or receipt = "puback" for a platform that '
            "gives no receipts",
        )
    if uplink.tls is not None and (uplink.tls.cert is None) != (uplink.tls.key is None):
        absent = "cert" if uplink.tls.cert is None else "key"
        reader.problem(
            f"uplink.tls.{absent}", None, "cert and key together", "name both files or neither"
        )
    if uplink.password_file is not None and uplink.username is None:
        reader.problem(
            "uplink.username",
            None,
            "a user name beside password_file",
            "add username or remove password_file",
        )


def _check_buses(reader: TableReader) -> None:
    buses = [(at, table) for at, table in reader.built if isinstance(table, Bus)]
    if not buses and not reader.problems:
        reader.problem("bus", None, "at least one [[bus]]", "add the line the devices are on")
    if len(buses) > MAX_BUSES:
        reader.problem("bus", len(buses), f"at most {MAX_BUSES} buses", "use a second gateway")
    names: dict[str, str] = {}
    ports: dict[str, str] = {}
    for at, bus in buses:
        _unique(reader, names, bus.name, f"{at}.name", "a name no other bus has")
        _check_port(reader, bus, at)
        if bus.type != "tcp":
            _unique(reader, ports, bus.where, f"{at}.port", "a port no other bus uses")
        if not bus.device and not reader.problems:
            reader.problem(
                f"{at}.device", None, "at least one device", "add a [[bus.device]] table below it"
            )
        if len(bus.device) > MAX_DEVICES:
            reader.problem(
                f"{at}.device", len(bus.device), f"at most {MAX_DEVICES} devices", "split the bus"
            )
    _check_devices(reader, dict(buses))


def _check_devices(reader: TableReader, buses: dict[str, Bus]) -> None:
    names: dict[str, str] = {}
    uids: dict[str, str] = {}
    units: dict[str, str] = {}
    for at, device in reader.built:
        if not isinstance(device, Device):
            continue
        _unique(reader, names, device.name, f"{at}.name", "a name no other device has")
        if device.uid is not None:
            _unique(reader, uids, device.uid, f"{at}.uid", "a uid no other node has")
        bus_at = at.partition(".")[0]
        _unique(
            reader,
            units,
            f"{bus_at} {device.unit}",
            f"{at}.unit",
            "an address no other device of the bus has",
            device.unit,
        )
        _check_device(reader, buses.get(bus_at), device, at)


def _unique(
    reader: TableReader,
    seen: dict[str, str],
    value: str,
    key: str,
    expected: str,
    shown: object = None,
) -> None:
    if value in seen:
        reader.problem(
            key,
            value if shown is None else shown,
            expected,
            f"{seen[value]} has it already: change one of them",
        )
    else:
        seen[value] = key


def _check_port(reader: TableReader, bus: Bus, at: str) -> None:
    if bus.type == "rtu":
        if not isinstance(bus.port, str) or not bus.port:
            reader.problem(
                f"{at}.port",
                bus.port,
                "the path of a serial port",
                'write for instance port = "/dev/serial/by-id/..."; such a path survives a restart',
            )
        if bus.host is not None:
            reader.problem(
                f"{at}.host",
                bus.host,
                'no host, because type = "rtu"',
                "remove host or change type",
            )
        return
    if not isinstance(bus.port, int) or isinstance(bus.port, bool) or not 1 <= bus.port <= 65535:
        reader.problem(
            f"{at}.port", bus.port, "a port number from 1 to 65535", "write for instance port = 502"
        )
    if bus.host is None:
        reader.problem(
            f"{at}.host",
            None,
            f'a host, because type = "{bus.type}"',
            'write for instance host = "192.168.1.20"',
        )


def _check_device(reader: TableReader, bus: Bus | None, device: Device, key: str) -> None:
    # Modbus Messaging on TCP/IP V1.0b, 4.4.2.2: 255 (and 0) address the TCP device itself.
    if bus is not None and bus.type != "tcp" and not 1 <= device.unit <= 247:
        reader.problem(
            f"{key}.unit",
            device.unit,
            "a Modbus address from 1 to 247",
            "0 is the broadcast and 248 to 255 are reserved on a serial line",
        )
    wanted = ("role", "uid", "key") if device.kind == "node" else ("profile",)
    for name in ("role", "uid", "key", "profile"):
        value = getattr(device, name)
        if name in wanted and value is None:
            reader.problem(
                f"{key}.{name}",
                None,
                f'{name}, because kind = "{device.kind}"',
                _DEVICE_REMEDIES[name],
            )
        elif name not in wanted and value is not None:
            reader.problem(
                f"{key}.{name}",
                str(value),
                f'no {name}, because kind = "{device.kind}"',
                f"remove {name} or change kind",
            )
    roles = [map.role for map in MAPS]
    if device.kind == "node" and device.role is not None and device.role not in roles:
        reader.problem(
            f"{key}.role", device.role, "one of " + ", ".join(roles), "see docs/registers.md"
        )
    if device.profile is not None and not re.search(
        r"\.toml$|^[a-z0-9][a-z0-9-]*$", device.profile
    ):
        reader.problem(
            f"{key}.profile",
            device.profile,
            "the name of a shipped profile or the name of a .toml file",
            'write for instance profile = "senseair-s8"',
        )


def _check_id(reader: TableReader, gateway: Gateway, device: Device, key: str) -> None:
    text = device_id(gateway.id, device)
    if len(text) > MAX_IDENTIFIER_LENGTH:
        reader.problem(
            f"{key}.name",
            device.name,
            f"at most {MAX_IDENTIFIER_LENGTH} characters in {text}",
            "shorten this name or gateway.id",
        )


_DEVICE_REMEDIES: Final = {
    "role": 'write for instance role = "air"; `tianfu-gateway discover` shows it',
    "uid": "copy the unique id from the node's label or from `tianfu-gateway discover`",
    "key": 'write for instance key = "air-1.key"; `tianfu-gateway keygen` makes the file',
    "profile": 'write for instance profile = "senseair-s8"',
}
