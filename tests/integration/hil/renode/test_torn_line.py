"""A request reaches a node on Renode whole, which over a pseudo terminal of Renode it does not.

The stand-in's node answers a frame and no part of one, as a node does; its pseudo terminal hands
over byte by byte, as Renode's does, and lets t3.5 pass within each third request.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from hil.engines.base import NodeSpec
from hil.engines.deadline import Deadline
from hil.engines.renode import RenodeEngine
from hil.engines.renode_board import RenodeBoard
from hil.wires.descriptor import DescriptorWire
from hil.wires.wire import Wire
from tests.integration.hil.renode.stand_in import make_image, use_stand_in

SPEC = NodeSpec("air", "air", "7f" + "0" * 21 + "1", key="11" * 32)
REQUEST = bytes.fromhex("010300000001840a")
REQUESTS = 12
LIMIT_S = 40


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An image, and the stand-in as Renode."""
    use_stand_in(tmp_path, monkeypatch)
    return make_image(tmp_path)


async def answered(board: RenodeBoard, line: Wire, limit_s: float) -> int:
    """Send requests, one after the other; return how many are answered in time."""
    heard, news = bytearray(), asyncio.Event()

    def on_data(data: bytes) -> None:
        heard.extend(data)
        news.set()

    line.listen(on_data)
    count = 0
    for _ in range(REQUESTS):
        heard.clear()
        line.write(REQUEST)
        deadline = Deadline(limit_s, board.clock())
        while heard != REQUEST and not deadline.over():
            news.clear()
            await deadline.look(news)
        count += heard == REQUEST
    return count


async def test_every_request_on_the_line_is_answered(image: Path, tmp_path: Path) -> None:
    async with asyncio.timeout(LIMIT_S), RenodeEngine(image) as engine:
        board = await engine.board(SPEC, tmp_path / "air")
        await board.start()
        assert await answered(board, board.wire("line"), 10.0) == REQUESTS


async def test_over_a_terminal_of_renode_requests_are_lost(image: Path, tmp_path: Path) -> None:
    async with asyncio.timeout(LIMIT_S), RenodeEngine(image) as engine:
        board = await engine.board(SPEC, tmp_path / "air")
        await board.start()
        link = tmp_path / "line"
        for command in (
            f'emulation CreateUartPtyTerminal "terminal" "{link}" true',
            "connector Connect sysbus.usart2 terminal",
        ):
            await engine.emulation.command(command, board.machine)
        line = DescriptorWire()
        line.attach(os.open(link, os.O_RDWR | os.O_NOCTTY))
        try:
            assert await answered(board, line, 1.0) <= REQUESTS - REQUESTS // 3
        finally:
            line.close()
