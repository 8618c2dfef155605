"""The gateway's one configuration file, checked whole before anything is opened.

:func:`load` gives a :class:`GatewayConfig` or a :class:`ConfigError` that names every problem. File
names are relative to the configuration file. ``gateway_agent/example.toml`` shows every key. A
table that comes in several kinds is a tagged union here: a bus by its ``type``, a device by its
``kind``, the uplink by its ``type`` (docs/decisions/0012-configuration.md: how to add one).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from protocols.identity import MAX_IDENTIFIER_LENGTH

from .alarms.rules import AlarmRule, check_alarms
from .config_bus import (
    AsciiBus,
    AsciiOverTcpBus,
    Bus,
    Device,
    NodeDevice,
    ProfileDevice,
    RtuOverTcpBus,
    SerialBus,
    TcpBus,
)
from .config_link import LinkBus, LinkNode, check_link
from .config_orders import OrdersConfig
from .config_reload import ReloadConfig
from .config_types import (
    Directory,
    GroupName,
    KeyFile,
    Name,
    PublicKeyFile,
    milliseconds,
)
from .config_uplink import MqttUplink, UplinkConfig, check_exporters, check_uplinks, several_uplinks
from .config_web import WebConfig, check_web
from .notify.config import NotifyConfig, check_notify
from .tables import ConfigError, Problem, TableReader, read_toml
from .telemetry.config import OtlpConfig
from .uplink.exporter_config import ExporterConfig

__all__ = [
    "AsciiBus",
    "AsciiOverTcpBus",
    "Bus",
    "ConfigError",
    "Device",
    "GatewayConfig",
    "GatewayIdentity",
    "LinkBus",
    "LinkNode",
    "MqttUplink",
    "NodeDevice",
    "OrdersConfig",
    "OutboxConfig",
    "Problem",
    "ProfileDevice",
    "ReloadConfig",
    "RtuOverTcpBus",
    "SerialBus",
    "TcpBus",
    "UplinkConfig",
    "WebConfig",
    "load",
    "parse",
    "role_of",
]

# Each TCP device is a bus: 2,000 of them were measured in one process (about 27 KB each).
MAX_BUSES: Final = 4096
MAX_DEVICES: Final = 247  # Modbus over Serial Line V1.02, 2.2: addresses 1 to 247


class GatewayIdentity(Struct, frozen=True, kw_only=True):
    """``[gateway]``: who this gateway is, and where it keeps its state."""

    id: Name
    state_dir: Directory
    key: KeyFile  # its private signing key
    update_keys: tuple[PublicKeyFile, ...] = ()  # of who makes releases for nodes
    # Users of this machine who may command devices, acknowledge alarms, and use `tianfu-node`
    # through the agent; None: the agent's own only.
    site_group: GroupName | None = None


class OutboxConfig(Struct, frozen=True, kw_only=True):
    """``[outbox]``: the store of records that wait for their receipt."""

    max_bytes: Annotated[
        int,
        Meta(ge=1 << 20, description="bytes, at least 1048576", examples=[1_073_741_824]),
    ] = 1 << 30
    # How long a record waits for others before it is committed: what a kill loses. 0: a bus polls
    # again when its last poll is committed.
    commit_ms: Annotated[int, milliseconds(0, 10_000, 50)] = 50


class _GatewayFile(Struct, frozen=True, kw_only=True):
    """The file as it is written: every kind of port is a ``[[bus]]``."""

    gateway: GatewayIdentity
    uplink: UplinkConfig
    outbox: OutboxConfig = OutboxConfig()
    web: WebConfig | None = None
    reload: ReloadConfig = ReloadConfig()
    orders: OrdersConfig | None = None
    bus: tuple[Bus | LinkBus, ...]
    alarm: tuple[AlarmRule, ...] = ()
    notify: tuple[NotifyConfig, ...] = ()
    otlp: OtlpConfig | None = None


class GatewayConfig(Struct, frozen=True, kw_only=True):
    """The whole file. ``bus``: what is polled; ``link``: where nodes push.

    ``uplink`` goes to the collector, ``exporters`` to other platforms.
    """

    gateway: GatewayIdentity
    uplink: UplinkConfig
    exporters: tuple[ExporterConfig, ...] = ()
    outbox: OutboxConfig = OutboxConfig()
    bus: tuple[Bus, ...]
    link: tuple[LinkBus, ...] = ()
    web: WebConfig | None = None
    reload: ReloadConfig = ReloadConfig()
    orders: OrdersConfig | None = None
    alarm: tuple[AlarmRule, ...] = ()
    notify: tuple[NotifyConfig, ...] = ()
    otlp: OtlpConfig | None = None


def load(path: str | Path) -> GatewayConfig:
    """Read and check a configuration file. ConfigError with every problem found."""
    path = Path(path)
    return parse(read_toml(path), path)


def parse(tables: dict[str, object], path: Path, empty_buses: bool = False) -> GatewayConfig:
    """Check tables that came from ``path``; see :func:`load`.

    ``empty_buses``: one without devices is no mistake, because its nodes are enrolled later.
    """
    reader = TableReader(path)
    built = reader.build(_file_type(tables), tables, "")
    # The checks across tables run on every table that is good in itself.
    uplinks = check_uplinks(reader)
    _check_buses(reader, empty_buses)
    for _, web in reader.built_of(WebConfig):
        check_web(reader, web)
    for _, gateway in reader.built_of(GatewayIdentity):
        _check_ids(reader, gateway)
    check_exporters(reader, {device.name: role_of(device) for _, device in _devices(reader)})
    check_notify(reader)
    names = [device.name for _, device in _devices(reader)]
    check_alarms(reader, names, [bus.name for _, bus in _buses(reader)])
    file = reader.result(built)
    return GatewayConfig(
        gateway=file.gateway,
        uplink=uplinks[0],
        exporters=tuple(exporter for _, exporter in reader.built_of(ExporterConfig)),
        outbox=file.outbox,
        web=file.web,
        reload=file.reload,
        orders=file.orders,
        bus=tuple(bus for bus in file.bus if not isinstance(bus, LinkBus)),
        link=tuple(bus for bus in file.bus if isinstance(bus, LinkBus)),
        alarm=file.alarm,
        notify=file.notify,
        otlp=file.otlp,
    )


def role_of(device: Device | LinkNode) -> str:
    """Return what exporters call the role of a device: a node's, or the profile's name."""
    return device.profile if isinstance(device, ProfileDevice) else device.role


def _buses(reader: TableReader) -> Iterator[tuple[str, Bus]]:
    return reader.built_of(SerialBus, TcpBus, RtuOverTcpBus)


def _devices(reader: TableReader) -> Iterator[tuple[str, Device | LinkNode]]:
    return reader.built_of(NodeDevice, ProfileDevice, LinkNode)


def _file_type(tables: dict[str, object]) -> type[_GatewayFile]:
    """Return the struct of a file: with ``[uplink]``, or with ``[[uplink]]`` of several types."""
    if not isinstance(tables.get("uplink"), list):
        return _GatewayFile
    several = msgspec.defstruct(
        "_SeveralUplinks",
        [("uplink", several_uplinks())],
        bases=(_GatewayFile,),
        frozen=True,
        kw_only=True,
    )
    assert issubclass(several, _GatewayFile)
    return several


def _check_buses(reader: TableReader, empty_buses: bool) -> None:
    buses = list(_buses(reader))
    links = list(reader.built_of(LinkBus))
    ports: list[tuple[str, Bus | LinkBus]] = [*buses, *links]
    if not ports and not reader.problems:
        reader.problem("bus", None, "at least one [[bus]]", "add the line the devices are on")
    if len(ports) > MAX_BUSES:
        reader.problem("bus", len(ports), f"at most {MAX_BUSES} buses", "use a second gateway")
    reader.unique(((f"{at}.name", bus.name) for at, bus in ports), "a name no other bus has")
    lines = ((f"{at}.port", bus.where) for at, bus in ports if not isinstance(bus, TcpBus))
    reader.unique(lines, "a port no other bus uses")
    for at, link in links:
        check_link(reader, at, link)
    for at, bus in buses:
        if bus.data_bits == 7 and not bus.is_ascii:
            reader.problem(
                f"{at}.data_bits",
                7,
                "8, because RTU needs whole bytes",
                'change it, or write type = "ascii"',
            )
    for at, port in ports:
        if not (port.device or empty_buses or reader.problems):
            reader.problem(
                f"{at}.device", None, "at least one device", "add a [[bus.device]] table below it"
            )
        if len(port.device) > MAX_DEVICES:
            reader.problem(
                f"{at}.device", len(port.device), f"at most {MAX_DEVICES} devices", "split the bus"
            )
    _check_devices(reader, dict(buses))


def _check_devices(reader: TableReader, buses: dict[str, Bus]) -> None:
    names = ((f"{at}.name", device.name) for at, device in _devices(reader))
    reader.unique(names, "a name no other device has")
    uids = [(f"{at}.uid", node.uid) for at, node in reader.built_of(NodeDevice)]
    uids += [(f"{at}.uid", node.uid) for at, node in reader.built_of(LinkNode)]
    reader.unique(uids, "a uid no other node has")
    # Third-party devices may share an address: two tables with periods of their own for one device.
    taken: dict[str, set[int]] = {}
    for at, polled in reader.built_of(NodeDevice):
        taken.setdefault(at.partition(".")[0], set()).add(polled.unit)
    units: dict[str, list[tuple[str, object]]] = {}
    for at, device in reader.built_of(NodeDevice, ProfileDevice):
        bus_at = at.partition(".")[0]
        if device.unit in taken.get(bus_at, ()):
            units.setdefault(bus_at, []).append((f"{at}.unit", device.unit))
        bus = buses.get(bus_at)
        if bus is not None and isinstance(device, NodeDevice) and device.unit not in bus.units:
            reader.problem(
                f"{at}.unit",
                device.unit,
                f"a Modbus address from {bus.units[0]} to {bus.units[-1]}",
                "0 is the broadcast and 248 to 255 are reserved on a serial line",
            )
    for own in units.values():
        reader.unique(own, "an address no other device of the bus has, because a node has it")


def _check_ids(reader: TableReader, gateway: GatewayIdentity) -> None:
    for at, device in _devices(reader):
        text = device.device_id(gateway.id)
        if len(text) > MAX_IDENTIFIER_LENGTH:
            reader.problem(
                f"{at}.name",
                device.name,
                f"at most {MAX_IDENTIFIER_LENGTH} characters in {text}",
                "shorten this name or gateway.id",
            )
