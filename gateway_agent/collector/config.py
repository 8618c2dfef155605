"""The collector's configuration file, checked whole before anything is opened.

::

    [collector]
    key = "collector.pem"              # its private key; receipts are signed with it
    database = "collector.db"

    [broker]
    host = "127.0.0.1"

    [retention]                        # optional; what is left out is kept for ever
    raw_days = 90                      # then one row a minute for each point
    minute_days = 730                  # then one an hour
    hour_days = 3650                   # then none

    [[gateway]]
    id = "gw-1"
    keys = ["gw-1.pub"]                # more than one while a key is being changed

    [[node]]                           # optional: its readings are verified here once more
    uid = "0102030405060708090a0b0c"
    key = "air-1.json"

    [[device]]                         # optional: one that was moved, or that several may bring
    id = "tf-0102030405060708090a0b0c"
    gateways = ["gw-1", "gw-2"]
"""

from itertools import pairwise
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from gateway_agent.config_types import File, KeyFile, MqttConnection, Name, NodeKeyFile, Uid, count
from gateway_agent.tables import TableReader, read_toml


class CollectorFiles(Struct, frozen=True, kw_only=True):
    """``[collector]``: its private key (``tianfu-gateway keygen collector``) and its database."""

    key: KeyFile
    database: File


class RetentionConfig(Struct, frozen=True, kw_only=True):
    """``[retention]``: after how many days readings are thinned; 0: never."""

    raw_days: Annotated[int, count(0, 36_500, 90)] = 0
    minute_days: Annotated[int, count(0, 36_500, 730)] = 0
    hour_days: Annotated[int, count(0, 36_500, 3650)] = 0


class KnownGateway(Struct, frozen=True, kw_only=True):
    """``[[gateway]]``: a gateway whose batches are taken, and the public keys it may sign with."""

    id: Name
    keys: Annotated[
        tuple[Path, ...],
        Meta(
            min_length=1,
            max_length=16,
            description="an array of 1 to 16 public key files",
            examples=[["gw-1.pub"]],
        ),
    ]


class KnownNode(Struct, frozen=True, kw_only=True):
    """``[[node]]``: a node whose tags are verified here too."""

    uid: Uid
    key: NodeKeyFile


class SharedDevice(Struct, frozen=True, kw_only=True):
    """``[[device]]``: the gateways that may bring the records of a device.

    Without it, a device belongs to one gateway: a node to the one that brought its first sample.
    """

    id: Name
    gateways: Annotated[
        tuple[Name, ...],
        Meta(
            min_length=1,
            max_length=64,
            description="an array of 1 to 64 ids of gateways",
            examples=[["gw-1", "gw-2"]],
        ),
    ]


class CollectorConfig(Struct, frozen=True, kw_only=True):
    """The whole file. File names are relative to it."""

    collector: CollectorFiles
    broker: MqttConnection
    gateway: tuple[KnownGateway, ...]
    node: tuple[KnownNode, ...] = ()
    device: tuple[SharedDevice, ...] = ()
    retention: RetentionConfig = RetentionConfig()


def load(path: str | Path) -> CollectorConfig:
    """Read and check a configuration file. ConfigError with every problem found."""
    path = Path(path)
    return parse(read_toml(path), path)


def parse(tables: dict[str, object], path: Path) -> CollectorConfig:
    """Check tables that came from ``path``; see :func:`load`."""
    reader = TableReader(path)
    config = reader.build(CollectorConfig, tables, "")
    gateways = list(reader.built_of(KnownGateway))
    if not gateways and not reader.problems:
        reader.problem("gateway", None, "at least one [[gateway]]", "add the gateways to trust")
    reader.unique(
        ((f"{at}.id", gateway.id) for at, gateway in gateways),
        "an id no other gateway has",
        "list all its keys in one table",
    )
    devices = list(reader.built_of(SharedDevice))
    reader.unique(
        ((f"{at}.id", device.id) for at, device in devices),
        "an id no other device has",
        "list all its gateways in one table",
    )
    for at, ages in reader.built_of(RetentionConfig):
        for (before, shorter), (name, longer) in pairwise(
            (field, getattr(ages, field)) for field in ages.__struct_fields__
        ):
            if longer and longer <= shorter:
                reader.problem(
                    f"{at}.{name}",
                    longer,
                    f"more than {before}, which is {shorter}",
                    "a row of an hour is made of those of minutes, and these of readings",
                )
    known = {gateway.id for _, gateway in gateways}
    for at, device in devices:
        for name in device.gateways:
            if name not in known and not reader.problems:
                reader.problem(
                    f"{at}.gateways",
                    name,
                    f"one of {', '.join(sorted(known))}",
                    "add a [[gateway]]",
                )
    return reader.result(config)
