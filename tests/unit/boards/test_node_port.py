"""A gateway as a tool's port: what passes, and each reason why nothing is passed on."""

import asyncio
from pathlib import Path

import pytest

from boards.flash.errors import FlashingError
from boards.node_port import open_node_port, speed_at
from protocols.modbus_client.turn import SOCKET_NAME, TurnAnswer
from tests.unit.gateway_agent.test_bus_socket import REQUEST, served


async def exchanged(folder: Path, bus: str = "line") -> object:
    port = open_node_port(f"gateway:{folder}/{bus}", 9600, lambda _sent, _data: None)
    return await asyncio.to_thread(port.exchange, REQUEST, 1.0)


@pytest.mark.provokes("TF-SITE-077")
async def test_each_reason_why_nothing_is_passed_on(tmp_path: Path) -> None:
    with pytest.raises(FlashingError, match=r"TF-SITE-077.*no agent of a gateway answers"):
        await exchanged(tmp_path)
    async with served(tmp_path) as agent:
        agent.answer = TurnAnswer(error="hall: expected a bus of this gateway")
        with pytest.raises(FlashingError, match=r"TF-SITE-077.*expected a bus of this gateway"):
            await exchanged(tmp_path, "hall")
        agent.answer = TurnAnswer(silence="unit 7: no answer within 500 ms", noise_bytes=3)
        answer = await exchanged(tmp_path)
        assert getattr(answer, "noise_bytes", None) == 3
        agent.answer = TurnAnswer(baudrate=19200)
        assert await asyncio.to_thread(speed_at, f"gateway:{tmp_path}/line", 0) == 19200
        assert speed_at("/dev/ttyUSB0", 0) == 9600
    (tmp_path / SOCKET_NAME).mkdir()
    with pytest.raises(FlashingError, match="TF-SITE-077"):
        await exchanged(tmp_path)
