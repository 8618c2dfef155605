"""The kinds of values that configuration files hold, and the tables that two of them share.

A kind is an annotated type: its ``Meta`` carries the limits, the words in which a wrong value is
reported, and an example or a remedy (see :mod:`gateway_agent.table_types`).
"""

from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta, Struct

from protocols.identity import UID_BYTES, UID_PATTERN
from protocols.wire.registers import MAPS

from .table_types import FILE_SUFFIX, REMEDY

MAX_PERIOD_MS: Final = 86_400_000
_ROLES: Final = [map.role for map in MAPS]


def milliseconds(low: int, high: int, example: int) -> Meta:
    """Return the limits of a time."""
    return Meta(
        ge=low, le=high, description=f"milliseconds from {low} to {high}", examples=[example]
    )


def count(low: int, high: int, example: int) -> Meta:
    """Return the limits of a number of things."""
    return Meta(ge=low, le=high, description=f"an integer from {low} to {high}", examples=[example])


# A name becomes one level of an MQTT topic and part of a SenML base name.
Name: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,62}\Z",
        description="1 to 63 letters, digits, '-', '_' or '.', a letter or digit first",
        examples=["site-12"],
    ),
]
Uid: TypeAlias = Annotated[
    str,
    Meta(
        pattern=UID_PATTERN,
        description=f"the node's unique id, {2 * UID_BYTES} lower-case hex digits",
        extra={
            REMEDY: "copy the unique id from the node's label or from `tianfu-gateway discover`"
        },
    ),
]
Role: TypeAlias = Annotated[
    str,
    Meta(
        pattern=rf"^({'|'.join(_ROLES)})\Z",
        description="one of " + ", ".join(_ROLES),
        extra={
            REMEDY: (
                f'write for instance role = "{_ROLES[0]}"; `tianfu-gateway discover` shows the'
                " role of a node, docs/registers.md what each role measures"
            )
        },
    ),
]
ProfileName: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"\.toml\Z|^[a-z0-9][a-z0-9-]*\Z",
        description="the name of a shipped profile or the name of a .toml file",
        examples=["senseair-s8"],
        extra={FILE_SUFFIX: ".toml"},
    ),
]
# Modbus Messaging on TCP/IP V1.0b, 4.4.2.2: 255 (and 0) address the TCP device itself.
UnitId: TypeAlias = Annotated[
    int, Meta(ge=0, le=255, description="a Modbus address from 0 to 255", examples=[1])
]
Period: TypeAlias = Annotated[int, milliseconds(1, MAX_PERIOD_MS, 5000)]

Host: TypeAlias = Annotated[
    str,
    Meta(
        # A colon is part of an IPv6 address only, which has two of them.
        pattern=r"^([^\s:/@\[\]]{1,253}|[0-9A-Fa-f.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(%\w+)?)\Z",
        description="a host name or address alone, without a port",
        examples=["192.168.1.20"],
    ),
]
HttpUrl: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^https?://[^\s/?#@]+/[^\s#]*\Z",
        description="an http or https address with a path",
        examples=["https://hooks.example.net/tianfu"],
    ),
]
BrokerPort: TypeAlias = Annotated[
    int, Meta(ge=1, le=65535, description="a port number from 1 to 65535", examples=[1883])
]
ModbusPort: TypeAlias = Annotated[
    int, Meta(ge=1, le=65535, description="a port number from 1 to 65535", examples=[502])
]
SerialPort: TypeAlias = Annotated[
    str,
    Meta(
        min_length=1,
        description="the path of a serial port",
        extra={
            REMEDY: (
                'write for instance port = "/dev/serial/by-id/..."; such a path stays the same'
                " after a restart"
            )
        },
    ),
]

GroupName: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^[a-z_][a-z0-9_\-]{0,31}\Z",
        description="the name of a group of users of this machine",
        examples=["tianfu-site"],
    ),
]
Directory: TypeAlias = Annotated[Path, Meta(description="a directory", examples=["state"])]
File: TypeAlias = Annotated[Path, Meta(description="a file name")]
PemFile: TypeAlias = Annotated[Path, Meta(description="a PEM file")]
KeyFile: TypeAlias = Annotated[
    Path,
    Meta(
        description="the name of the private key file",
        extra={REMEDY: "name the private file that `tianfu-gateway keygen` made"},
    ),
]
PublicKeyFile: TypeAlias = Annotated[
    Path,
    Meta(description="the collector's public key file", examples=["collector.pub"]),
]
NodeKeyFile: TypeAlias = Annotated[
    Path,
    Meta(
        description="the node's key file",
        extra={REMEDY: 'write for instance key = "air-1.key"; `tianfu-gateway keygen` makes it'},
    ),
]


Label: TypeAlias = Annotated[
    str,
    Meta(
        max_length=120,
        pattern=r"^[^\x00-\x1f\x7f]*\Z",
        description="a line of at most 120 characters",
        examples=["\u4e00\u53f7\u53d6\u6c34\u53e3"],
    ),
]


class Labelled(Struct, frozen=True, kw_only=True):
    """What people call a device, in any language; nothing is looked up by it."""

    title: Label = ""
    place: Label = ""
    note: Label = ""


class TlsFiles(Struct, frozen=True, kw_only=True):
    """TLS to the broker; with ``cert`` and ``key`` we identify ourselves as well."""

    # Certificates that the broker's may be signed by.
    ca: Annotated[PemFile, Meta(examples=["ca.pem"])]
    # Our certificate chain, and its private key.
    cert: Annotated[PemFile, Meta(examples=["gateway.pem"])] | None = None
    key: Annotated[PemFile, Meta(examples=["gateway-tls.key"])] | None = None


class MqttConnection(Struct, frozen=True, kw_only=True):
    """Where the MQTT broker is, and how to connect to it."""

    host: Host
    port: BrokerPort = 1883
    version: Literal["5", "3.1.1"] = "5"
    tls: TlsFiles | None = None  # None: no TLS
    username: str | None = None  # None: anonymous, or identified by certificate
    # Read at every connection, so that the password can be changed while we run.
    password_file: File | None = None

    @property
    def secret_files(self) -> list[Path]:
        """Return the files named here that not everybody may read."""
        found = [self.password_file, None if self.tls is None else self.tls.key]
        return [path for path in found if path is not None]

    @property
    def where(self) -> str:
        """Return the broker as a person writes it."""
        return f"{self.host}:{self.port}"
