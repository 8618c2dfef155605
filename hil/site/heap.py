"""Reads a node's heap: the node collects and prints its figures on command."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from pymodbus.client import ModbusSerialClient

from hil.bench import Bench
from hil.engines.base import Board
from protocols.wire.registers import COMMAND_ADDRESS, COMMAND_MEMORY

_LINE_S: Final = 15.0


@dataclass(frozen=True, order=True, slots=True)
class Heap:
    """Bytes in use and free, and the answers that the node had given by then."""

    used: int
    free: int
    polls: int


async def read_heap(bench: Bench, board: Board) -> Heap:
    """Return the heap of ``board``. AssertionError if it refuses; ConsoleError if it is silent."""

    def command() -> None:
        unit = int(board.spec.settings.get("unit_id", 1))
        client = ModbusSerialClient(bench.port, baudrate=bench.baud, timeout=3, retries=2)
        assert client.connect()
        try:
            answer = client.write_register(COMMAND_ADDRESS, COMMAND_MEMORY, device_id=unit)
            assert not answer.isError(), answer
        finally:
            client.close()  # type: ignore[no-untyped-call]  # pymodbus

    await asyncio.to_thread(command)
    figures = await board.console.wait_json("polls", _LINE_S)
    used, free, polls = (figures[name] for name in ("mem_alloc", "mem_free", "polls"))
    assert isinstance(used, int)
    assert isinstance(free, int)
    assert isinstance(polls, int)
    return Heap(used, free, polls)
