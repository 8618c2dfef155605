"""A station's connection to a centre that reads nothing, and one that asks too much."""

import asyncio
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from gateway_agent.uplink.station_connection import StationConnection
from protocols.uplink.sl651 import Station, StationSettings
from protocols.uplink.sl651.frame import ENQ, Sl651Frame, encode_frame
from protocols.uplink.station import Asked

ADDRESS = bytes.fromhex("0012345678")
REPORT_BYTES = 20_000


def boot_ms() -> int:
    return time.monotonic_ns() // 1_000_000


def silent(asked: Asked) -> None:
    return None


def nothing(text: str) -> None:
    return None


async def a_line(
    port: int,
    answer: Callable[[Asked], bytes | None] = silent,
    refused: Callable[[str], None] = nothing,
) -> StationConnection:
    settings = StationSettings(
        is_confirmed=False, answer_ms=200, centre=1, station=ADDRESS, packet_bytes=4000
    )
    return await StationConnection.open(
        "127.0.0.1",
        port,
        Station(settings, 1, boot_ms()),
        boot_ms,
        lambda: datetime(2025, 10, 9, tzinfo=UTC),
        answer,
        refused,
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


async def test_a_centre_that_takes_no_answers_gets_no_more_of_them() -> None:
    """300 questions for 60 KB each: what waits stays below one answer and the limit."""
    answered: list[Asked] = []
    refused: list[str] = []

    def answer(asked: Asked) -> bytes:
        answered.append(asked)
        return bytes(60_000)

    time_bytes = bytes.fromhex("0000251009165400")
    question = encode_frame(Sl651Frame(1, ADDRESS, b"\0\0", 0x36, time_bytes, ENQ, is_down=True))
    with socket.create_server(("127.0.0.1", 0)) as server:
        line = await a_line(server.getsockname()[1], answer, refused.append)
        line.data_received(question * 300)
        assert len(answered) + len(refused) == 300
        assert 0 < len(answered) < 200
        assert refused[0].startswith("the centre asks 36 and takes no answer: ")
        reading = asyncio.create_task(asyncio.to_thread(_read_all, server))
        before = len(answered)
        async with asyncio.timeout(20):
            while len(answered) == before:
                line.data_received(question)
                await asyncio.sleep(0.01)
        line.close()
        assert await reading > before * 60_000


def _read_all(server: socket.socket) -> int:
    peer, _ = server.accept()
    count = 0
    with peer:
        while data := peer.recv(1 << 20):
            count += len(data)
    return count
