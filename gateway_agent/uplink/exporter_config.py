"""The keys that every ``[[uplink]]`` table of an exporter has, whatever its type."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

from msgspec import Meta, Struct

from gateway_agent.config_types import MqttConnection, Name, count, milliseconds

_BYTES = Meta(ge=1 << 16, description="bytes, at least 65536", examples=[268_435_456])


class TableFault(NamedTuple):
    """What is wrong with a key below a table: what came, what was expected, what to write."""

    key: str
    value: object
    expected: str
    remedy: str


class SiteDevice(NamedTuple):
    """A device as the checks see it; ``points``: what it measures, with its SenML unit."""

    name: str
    role: str
    points: tuple[tuple[str, str], ...]


class ExporterConfig(Struct, frozen=True, kw_only=True):
    """An exporter: what it may cost, and what is kept for it while its platform is away."""

    name: Name | None = None  # in status and trace; the type, if there is none
    # Records stay in the outbox until this platform has them too, or one of the limits is reached.
    required: bool = True
    keep_hours: Annotated[int, count(1, 87_600, 168)] = 168
    keep_bytes: Annotated[int, _BYTES] | None = None  # half of outbox.max_bytes
    records_per_s: Annotated[int, count(1, 1_000_000, 500)] | None = None
    bytes_per_s: Annotated[int, count(1, 1 << 30, 10_000)] | None = None
    latency_ms: Annotated[int, milliseconds(0, 3_600_000, 1000)] = 1000  # wait for more to send
    batch_records: Annotated[int, count(1, 1000, 200)] = 200

    @property
    def label(self) -> str:
        """Return the name that status, trace and cursor have."""
        return self.name or self.kind

    @property
    def kind(self) -> str:
        """Return the type, as the file has it."""
        return str(self.__struct_config__.tag)

    @property
    def where(self) -> str:
        """Return the platform as a person writes it."""
        return ""

    @property
    def only(self) -> frozenset[str]:
        """Return the names of the only devices whose records are wanted; empty: all are."""
        return frozenset()

    @property
    def secret_files(self) -> list[Path]:
        """Return the files named here that not everybody may read."""
        return []

    def faults(self) -> Iterator[TableFault]:
        """Yield what is wrong between keys that are good in themselves."""
        yield from ()

    def faults_of(self, roles: Mapping[str, str]) -> Iterator[TableFault]:
        """Yield what is wrong for the devices of this gateway. ``roles``: theirs, by name."""
        yield from ()

    def left_out(self, devices: Sequence[SiteDevice]) -> Iterator[str]:
        """Yield what this platform does not get of the devices, and why."""
        yield from ()


class MqttExporterConfig(ExporterConfig, frozen=True, kw_only=True):
    """An exporter to an MQTT broker: ``[uplink.broker]`` has the keys of a connection."""

    broker: MqttConnection
    client_id: Annotated[str, Meta(min_length=1, max_length=256)] | None = None

    @property
    def where(self) -> str:
        """Return the broker as a person writes it."""
        return self.broker.where

    @property
    def secret_files(self) -> list[Path]:
        """Return the files named here that not everybody may read."""
        return self.broker.secret_files
