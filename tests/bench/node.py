"""The node: its Modbus server core on both runtimes, its heap over 10,000 polls on a pty."""

import asyncio
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Final, NamedTuple

from hil.engines.base import NodeSpec
from hil.engines.unix import UnixEngine, UnixNode, find_micropython
from protocols.wire.crc import crc16
from protocols.wire.registers import (
    COMMAND_ADDRESS,
    COMMAND_MEMORY,
    MAPS,
    SAMPLE_ADDRESS,
    map_of_role,
)
from tests.paths import ROOT

_ANSWER_S: Final = 5.0

_POLLS: Final = 10_000
_LOOKS: Final = 12  # at the heap, over more than one sample period
_LOOK_S: Final = 0.13
ROLES: Final = tuple(map.role for map in MAPS)


def core_requests_per_s(micropython: bool) -> tuple[float, float]:
    """(requests per second, heap growth in bytes) of the server core on one runtime."""
    program = str(find_micropython()) if micropython else sys.executable
    answer = subprocess.run(
        [program, "-m", "tests.bench.node_core"],
        cwd=ROOT,
        env={**os.environ, "MICROPYPATH": f"{ROOT}:.frozen"},
        capture_output=True,
        text=True,
        check=True,
    )
    rate, growth = answer.stdout.split()
    return float(rate), float(growth)


class NodeFigures(NamedTuple):
    """One run of one node process. Bytes as ``gc.mem_alloc`` counts them, after a collection."""

    heap_start: float
    heap_growth: float
    polls_per_s: float


def _request(payload: bytes) -> bytes:
    return payload + crc16(payload).to_bytes(2, "little")


def _ask(line: int, request: bytes, length: int) -> bytes:
    os.write(line, request)
    answer = b""
    while len(answer) < length:
        if not select.select([line], [], [], _ANSWER_S)[0]:
            raise TimeoutError(f"asked {request.hex()}, got only {answer.hex()}")
        answer += os.read(line, 256)
    return answer


async def _memory(node: UnixNode, line: int) -> float:
    """What the node holds between two samples: a sample under way holds its own coroutines."""
    write = _request(bytes((1, 6)) + COMMAND_ADDRESS.to_bytes(2) + COMMAND_MEMORY.to_bytes(2))
    held = []
    for _ in range(_LOOKS):
        _ask(line, write, len(write))
        said = await node.console.wait_json("mem_free", _ANSWER_S)
        held.append(float(str(said["mem_alloc"])))
        await asyncio.sleep(_LOOK_S)
    return min(held)


async def node_figures(role: str, folder: Path) -> NodeFigures:
    """Start a node without parts, poll its sample frame 10,000 times, look at its heap."""
    spec = NodeSpec(
        "bench", role, bytes(range(12)).hex(), {"sample_period_ds": 10}, key=bytes(32).hex(),
        baud=115200,
    )  # fmt: skip
    words = map_of_role(role).words
    poll = _request(bytes((1, 4)) + SAMPLE_ADDRESS.to_bytes(2) + words.to_bytes(2))
    async with UnixEngine() as engine:
        node = await engine.board(spec, folder)
        await node.start()
        # Asked past the event loop: this measures the node, not the bench.
        line = node.wire("line").fileno()
        # The first hundred polls and samples fill what is allocated once.
        for _ in range(100):
            _ask(line, poll, 5 + 2 * words)
        await asyncio.sleep(2.5)
        before = await _memory(node, line)
        start = time.monotonic()
        for _ in range(_POLLS):
            _ask(line, poll, 5 + 2 * words)
        elapsed = time.monotonic() - start
        after = await _memory(node, line)
        return NodeFigures(before, after - before, _POLLS / elapsed)
