"""The tables of uplinks: the collector's, and those of other platforms beside it.

A file has one ``[uplink]``, or an array of ``[[uplink]]`` of which one goes to the collector.
"""

import functools
import operator
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta

from .config_types import MqttConnection, PublicKeyFile, count, milliseconds
from .table_types import DefaultTag
from .tables import TableReader
from .uplink.exporter_config import ExporterConfig

#: "saving" is for links that are paid by the byte: each batch has a header, a signature
#: and a receipt, whatever is in it.
LATENCY_MS: Final = {"low": 100, "normal": 1000, "saving": 10_000}


class MqttUplink(MqttConnection, frozen=True, kw_only=True, tag_field="type", tag="mqtt"):
    """``[uplink]``: the MQTT broker between us and the collector, and what counts as delivered."""

    receipt: Literal["signed", "puback"] = "signed"
    collector_key: PublicKeyFile | None = None
    compression: Literal["zstd", "short", "none"] = "zstd"
    batch_records: Annotated[int, count(1, 10_000, 1000)] = 1000
    # How long a record may wait for others before they are sent together.
    latency: Literal["low", "normal", "saving"] = "normal"
    batch_interval_ms: Annotated[int, milliseconds(10, 3_600_000, 1000)] | None = None  # exactly
    # What may be on its way without a receipt: as many bytes as a link has under way, and no more
    # batches than a collector keeps in its memory.
    window_bytes: Annotated[
        int,
        Meta(ge=1024, le=1 << 26, description="bytes, 1024 to 67108864", examples=[262_144]),
    ] = 1 << 18
    in_flight: Annotated[int, count(1, 64, 64)] = 64
    retry_ms: Annotated[int, milliseconds(100, 3_600_000, 5000)] = 5000

    @property
    def interval_ms(self) -> int:
        """Return how long a batch waits to be full."""
        return self.batch_interval_ms or LATENCY_MS[self.latency]

    @property
    def receipt_key(self) -> Path | None:
        """Return the key file that receipts are verified with; None if a PUBACK is enough."""
        if self.receipt == "puback":
            return None
        if self.collector_key is None:
            raise ValueError('uplink: receipt = "signed" needs a collector_key')
        return self.collector_key


# Without exporters there is one kind, and a file need not name it.
UplinkConfig: TypeAlias = Annotated[MqttUplink, DefaultTag("mqtt")]


def several_uplinks() -> object:
    """Return the type of an array of uplinks of all kinds."""
    from .uplink.kinds import config_types  # other files need none of them

    kinds: list[object] = [MqttUplink, *config_types()]
    union: object = functools.reduce(operator.or_, kinds)
    tagged = Annotated[union, DefaultTag("mqtt")]  # type: ignore[valid-type] # made of the table of kinds
    return tuple[tagged, ...]


def check_uplinks(reader: TableReader) -> list[MqttUplink]:
    """Note what is wrong between tables; return the collector's uplink as a list of one."""
    for at, uplink in reader.built_of(MqttUplink):
        _check_uplink(reader, at, uplink)
    for at, broker in reader.built_of(MqttConnection):
        _check_connection(reader, at, broker)
    found = list(reader.built_of(MqttUplink))
    exporters = list(reader.built_of(ExporterConfig))
    if len(found) > 1:
        remedy = "give the other one another type, or remove it"
        reader.problem(f"{found[1][0]}.type", "mqtt", "one uplink to a collector", remedy)
    elif not found and not reader.problems:
        remedy = 'add a [[uplink]] table with type = "mqtt"'
        reader.problem("uplink", None, "the uplink to the collector", remedy)
    for at, exporter in exporters:
        for fault in exporter.faults():
            reader.problem(f"{at}.{fault.key}", fault.value, fault.expected, fault.remedy)
    names = ((f"{at}.name", exporter.label) for at, exporter in exporters)
    reader.unique(names, "a name no other uplink has", "give this one a name of its own")
    return [uplink for _, uplink in found]


def check_exporters(reader: TableReader, roles: Mapping[str, str]) -> None:
    """Note what an exporter cannot do for these devices. ``roles``: theirs, by name."""
    for at, exporter in reader.built_of(ExporterConfig):
        for fault in exporter.faults_of(roles):
            reader.problem(f"{at}.{fault.key}", fault.value, fault.expected, fault.remedy)


def _check_uplink(reader: TableReader, at: str, uplink: MqttUplink) -> None:
    if uplink.receipt == "signed" and uplink.collector_key is None:
        reader.problem(
            f"{at}.collector_key",
            None,
            'the collector\'s public key file, because receipt = "signed"',
            'write collector_key = "collector.pub", or receipt = "puback" for a platform that '
            "gives no receipts",
        )


def _check_connection(reader: TableReader, at: str, uplink: MqttConnection) -> None:
    if uplink.tls is not None and (uplink.tls.cert is None) != (uplink.tls.key is None):
        absent = "cert" if uplink.tls.cert is None else "key"
        reader.problem(
            f"{at}.tls.{absent}", None, "cert and key together", "name both files or neither"
        )
    if uplink.password_file is not None and uplink.username is None:
        reader.problem(
            f"{at}.username",
            None,
            "a user name beside password_file",
            "add username or remove password_file",
        )
