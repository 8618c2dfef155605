"""What a running collector reports about itself, for ``tianfu-gateway status``."""

from pathlib import Path

import msgspec
from msgspec import Struct

from gateway_agent.status_socket import StatusError, ask


class StreamStatus(Struct, frozen=True):
    """How far one stream of a gateway is committed."""

    gateway: str
    stream: int
    contiguous_to: int  # sequence number of the last record


class CollectorStatus(Struct, frozen=True, kw_only=True):
    """The whole collector at one moment."""

    database: str  # path of the file
    running_ms: int  # milliseconds since the start
    broker: str  # host:port
    connected: bool  # to the broker, with its subscription granted
    problem: str  # why it is not; empty if it is
    streams: list[StreamStatus]
    messages: dict[str, int]  # received since the start, by verdict
    waiting: list[str]  # gateways whose newest batch does not follow what is here
    alarms: list[str]  # what an operator must learn of, since the start


def socket_path(database: Path) -> Path:
    """Return the path of the socket on which the collector of ``database`` answers."""
    return database.with_suffix(".sock")


def read_collector_status(database: Path) -> CollectorStatus:
    """Ask the collector that has this database. StatusError if there is no usable answer."""
    path = socket_path(database)
    data = ask(path, "collector", "collect")
    try:
        return msgspec.json.decode(data, type=CollectorStatus)
    except msgspec.DecodeError as error:
        raise StatusError(
            f"{path}: expected the status as one JSON object, got {data[:40]!r}: {error}; is the"
            " running collector of the same version as this command?"
        ) from error
