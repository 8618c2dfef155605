"""The node: its Modbus server core on both runtimes, its heap over 10,000 polls on a pty."""

import asyncio
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Final, NamedTuple

from hil.engines.unix import UnixEngine, find_micropython
from protocols.wire.registers import MAPS
from tests.paths import ROOT

from .requests import FIRST_POLLS, POLLS, Request, bench_spec, memory, sample_request

_ANSWER_S: Final = 5.0
ROLES: Final = tuple(map.role for map in MAPS)


def core_requests_per_s(micropython: bool) -> tuple[float, float]:
    """Return requests per second and heap growth in bytes of the server core on one runtime."""
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


def _ask(line: int, request: Request) -> bytes:
    os.write(line, request.frame)
    answer = b""
    while len(answer) < request.answer_length:
        if not select.select([line], [], [], _ANSWER_S)[0]:
            raise TimeoutError(f"sent {request.frame.hex()}, got only {answer.hex()}")
        answer += os.read(line, 256)
    return answer


async def node_figures(role: str, folder: Path) -> NodeFigures:
    """Start a node without parts, poll its sample frame 10,000 times, look at its heap."""
    spec, poll = bench_spec("bench", role), sample_request(role)
    async with UnixEngine() as engine:
        node = await engine.board(spec, folder)
        await node.start()
        # Past the event loop: this measures the node, not the bench.
        line = node.wire("line").fileno()

        async def ask(request: Request) -> None:
            _ask(line, request)

        for _ in range(FIRST_POLLS):
            _ask(line, poll)
        await asyncio.sleep(2.5)
        before, _ = await memory(ask, node.console)
        start = time.monotonic()
        for _ in range(POLLS):
            _ask(line, poll)
        elapsed = time.monotonic() - start
        after, _ = await memory(ask, node.console)
        return NodeFigures(before, after - before, POLLS / elapsed)
