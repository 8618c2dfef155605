"""The collector's configuration file, checked whole before anything is opened.

::

    [collector]
    key = "collector.pem"              # its private key; receipts are signed with it
    database = "collector.db"

    [broker]
    host = "127.0.0.1"

    [[gateway]]
    id = "gw-1"
    keys = ["gw-1.pub"]                # more than one while a key is being changed

    [[node]]                           # optional: its readings are verified here once more
    uid = "0102030405060708090a0b0c"
    key = "air-1.json"
"""

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct
from msgspec.structs import replace

from gateway_agent.config import Host, Name, Port, Tls
from gateway_agent.tables import TableReader, read_toml
from protocols.identity import UID_PATTERN


class Collector(Struct, frozen=True, kw_only=True):
    """Its key (``tianfu-gateway keygen collector``) and its database."""

    key: Annotated[Path, Meta(description="the collector's key file", examples=["collector.pem"])]
    database: Annotated[Path, Meta(description="a file name", examples=["collector.db"])]


class Broker(Struct, frozen=True, kw_only=True):
    """The MQTT broker the gateways publish to."""

    host: Host
    port: Port = 1883
    version: Literal["5", "3.1.1"] = "5"
    tls: Tls | None = None
    username: str | None = None
    password_file: Annotated[Path, Meta(description="a file name")] | None = None


class KnownGateway(Struct, frozen=True, kw_only=True):
    """A gateway that is listened to, and the public keys it may sign with."""

    id: Name
    keys: Annotated[
        tuple[str, ...],
        Meta(
            min_length=1,
            max_length=16,
            description="an array of 1 to 16 public key files",
            examples=[["gw-1.pub"]],
        ),
    ]


class KnownNode(Struct, frozen=True, kw_only=True):
    """A node whose tags are verified here too."""

    uid: Annotated[
        str,
        Meta(
            pattern=UID_PATTERN,
            description="the node's unique id, 24 lower-case hex digits",
            examples=["0123456789abcdef01234567"],
        ),
    ]
    key: Annotated[Path, Meta(description="a node key file", examples=["air-1.json"])]


class Config(Struct, frozen=True, kw_only=True):
    """The whole file. File names are relative to it."""

    collector: Collector
    broker: Broker
    gateway: tuple[KnownGateway, ...]
    node: tuple[KnownNode, ...] = ()


def load(path: str | Path) -> Config:
    """Read and check a configuration file. ConfigError with every problem found."""
    path = Path(path)
    reader = TableReader(path)
    config = reader.build(Config, read_toml(path), "")
    if config is not None:
        if not config.gateway:
            reader.problem("gateway", None, "at least one [[gateway]]", "add the gateways to trust")
        seen: set[str] = set()
        for at, gateway in enumerate(config.gateway):
            if gateway.id in seen:
                reader.problem(
                    f"gateway[{at}].id",
                    gateway.id,
                    "an id no other gateway has",
                    "list all its keys in one table",
                )
            seen.add(gateway.id)
    reader.raise_if_any()
    assert config is not None  # a struct that could not be built has left a problem
    known = tuple(
        replace(gateway, keys=tuple(str(path.parent.absolute() / key) for key in gateway.keys))
        for gateway in config.gateway
    )
    return replace(config, gateway=known)
