"""A station's connection to a centre that reads nothing."""

import asyncio
import socket
import time
from datetime import UTC, datetime

import pytest

from gateway_agent.uplink.station_connection import StationConnection
from protocols.uplink.sl651 import Station, StationSettings

ADDRESS = bytes.fromhex("0012345678")
REPORT_BYTES = 20_000


def boot_ms() -> int:
    return time.monotonic_ns() // 1_000_000


async def a_line(port: int) -> StationConnection:
    settings = StationSettings(
        is_confirmed=False, answer_ms=200, centre=1, station=ADDRESS, packet_bytes=4000
    )
    return await StationConnection.open(
        "127.0.0.1",
        port,
        Station(settings, 1, boot_ms()),
        boot_ms,
        lambda: datetime(2025, 10, 9, tzinfo=UTC),
        lambda _: None,
        lambda _: None,
    )


async def test_what_is_not_confirmed_is_sent_when_it_has_left_us() -> None:
    """The centre reads once the station gave up: each report that was sent is there, whole."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        line = await a_line(server.getsockname()[1])
        sent: list[int] = []
        with pytest.raises(OSError, match="the centre takes none of the"):
            await _report_on(line, sent)
        assert sent
        arrived = await asyncio.to_thread(_read_all, server)
    assert arrived // REPORT_BYTES >= len(sent)


async def _report_on(line: StationConnection, sent: list[int]) -> None:
    for number in range(2000):
        await line.report(0x36, bytes(REPORT_BYTES), 1)
        sent.append(number)


def _read_all(server: socket.socket) -> int:
    peer, _ = server.accept()
    count = 0
    with peer:
        while data := peer.recv(1 << 20):
            count += len(data)
    return count
