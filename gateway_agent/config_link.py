"""The ``[[bus]]`` tables with ``type = "link"``: ports on which nodes push what they measure.

Such a port is a serial port of this machine, a serial server, or a port on which nodes behind a
modem call in. Nothing is polled on it (docs/link.md), so it is a table beside the Modbus buses of
:mod:`gateway_agent.config_bus` and has none of their timing.
"""

import ipaddress
from typing import Annotated, ClassVar, Literal, TypeAlias

from msgspec import Meta, Struct

from protocols.identity import node_id
from protocols.wire.node_key import MAX_KEY_ID

from .config_bus import RtuOverTcpBus, SerialBus
from .config_types import Host, Labelled, Name, NodeKeyFile, Period, Role, Uid, UnitId, count
from .table_types import REMEDY
from .tables import TableReader

LinkPort: TypeAlias = Annotated[
    str | int,
    Meta(
        description="the path of a serial port, or beside host a port number from 1 to 65535",
        extra={
            REMEDY: (
                'write for instance port = "/dev/serial/by-id/..." or "/dev/serial/by-path/...";'
                " such a path stays the same after a restart"
            )
        },
    ),
]
Listen: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^\S{1,253}:\d{1,5}\Z",
        description="an address of this machine and a port, on which nodes call in",
        examples=["127.0.0.1:7700"],
    ),
]
MAX_PORT = 65535


class LinkNode(Labelled, frozen=True, kw_only=True, tag_field="kind", tag="node"):
    """A node of ours on a link. Its unique id tells it apart, so it needs no unit."""

    kind: ClassVar = "node"

    name: Name
    role: Role
    uid: Uid
    key: NodeKeyFile | None = None  # None only where its bus has auth = "none"
    unit: UnitId = 0
    period_ms: Period = 5000  # until the node's own sample period was read
    # The key id of the board that this one took the place of, under the same unique id.
    replaces: Annotated[int, count(1, MAX_KEY_ID, 1)] | None = None

    def device_id(self, gateway_id: str) -> str:
        """Return the id of the device in records: that of a node only if it can prove it."""
        if self.key is None:
            return f"{gateway_id}.{self.name}"
        return node_id(bytes.fromhex(self.uid))


class LinkBus(Struct, frozen=True, kw_only=True, tag_field="type", tag="link"):
    """A port for the serial link: ``port``, or ``host`` and ``port``, or ``listen``."""

    type: ClassVar = "link"

    name: Name
    port: LinkPort | None = None
    host: Host | None = None  # of a serial server that passes bytes on unchanged
    listen: Listen | None = None
    baudrate: Annotated[int, count(300, 4_000_000, 115_200)] = 115_200
    # "none" only for nodes without a key: nothing proves who they are and what they send.
    auth: Literal["key", "none"] = "key"
    device: tuple[LinkNode, ...]

    @property
    def way(self) -> SerialBus | RtuOverTcpBus | None:
        """Return the port as the buses have it; None if nodes call in."""
        if self.listen is not None or self.port is None:
            return None
        if self.host is not None:
            return RtuOverTcpBus(name=self.name, host=self.host, port=int(self.port), device=())
        return SerialBus(name=self.name, port=str(self.port), baudrate=self.baudrate, device=())

    @property
    def address(self) -> tuple[str, int]:
        """Return where nodes call in."""
        host, _, port = (self.listen or "").rpartition(":")
        return host.strip("[]"), int(port or 0)

    @property
    def where(self) -> str:
        """Return the port as a person writes it."""
        if self.listen is not None:
            return self.listen
        return f"{self.port}" if self.host is None else f"{self.host}:{self.port}"

    @property
    def warnings(self) -> list[str]:
        """Return what an operator should consider."""
        found = []
        if self.listen is not None and not ipaddress.ip_address(self.address[0]).is_loopback:
            found.append(
                f"whoever reaches {self.listen} may call in; nodes prove who they are with their"
                " keys, but what they send can be read on the way: listen on 127.0.0.1, and put"
                " stunnel with a key for each node in front (docs/modems.md)"
            )
        if self.auth == "none":
            found.append(
                'auth = "none": nothing proves that readings on this port are those of the node'
            )
        return found


def check_link(reader: TableReader, at: str, bus: LinkBus) -> None:
    """Note what is wrong in one table of a link."""
    if bus.listen is not None:
        for key in ("port", "host"):
            value = getattr(bus, key)
            if value is not None:
                reader.problem(f"{at}.{key}", value, f"no {key} beside listen", "remove one")
        if not (_is_address(bus.address[0]) and 1 <= bus.address[1] <= MAX_PORT):
            reader.problem(
                f"{at}.listen",
                bus.listen,
                f"an IP address of this machine and a port number from 1 to {MAX_PORT}",
                'write for instance listen = "127.0.0.1:7700"',
            )
    elif bus.port is None:
        reader.problem(
            f"{at}.port", None, "port, or host and port, or listen", "name where the nodes are"
        )
    elif bus.host is not None and not (
        isinstance(bus.port, int) and not isinstance(bus.port, bool) and 1 <= bus.port <= MAX_PORT
    ):
        reader.problem(
            f"{at}.port",
            bus.port,
            f"a port number from 1 to {MAX_PORT}, because there is a host",
            "write for instance port = 4001",
        )
    elif bus.host is None and not (isinstance(bus.port, str) and bus.port):
        reader.problem(
            f"{at}.port",
            bus.port,
            "the path of a serial port, because there is no host",
            'write for instance port = "/dev/serial/by-id/..."',
        )
    if bus.listen is None and len(bus.device) > 1:
        reader.problem(
            f"{at}.device",
            len(bus.device),
            "one device, because one node is on this port",
            "give each node a [[bus]] of its own; several may call in where there is a listen",
        )
    for index, node in enumerate(bus.device):
        if bus.auth == "key" and node.key is None:
            reader.problem(
                f"{at}.device[{index}].key",
                None,
                "the node's key file",
                'write for instance key = "air-1.key", or auth = "none" at the bus of a node that'
                " has no key",
            )
        elif bus.auth == "none" and node.key is not None:
            reader.problem(
                f"{at}.device[{index}].key",
                node.key,
                'no key, because auth = "none"',
                'remove it, or remove auth = "none"',
            )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
