"""The console as people use it: a REPL, and mpremote."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Final

import pytest

from hil.bench import Bench
from hil.engines.abilities import Capability, HasRepl

pytestmark = [pytest.mark.asyncio, pytest.mark.needs(Capability.REPL)]
_LIMIT_S: Final = 60.0


async def test_repl_computes(node_bench: Bench) -> None:
    board = node_bench.nodes["air"]
    assert isinstance(board, HasRepl)
    assert (await board.repl().raw_exec("print(6 * 7)", 20)).strip() == "42"


@pytest.mark.needs(Capability.IMAGE)
async def test_the_crc_of_the_image_is_that_of_the_wire_protocol(node_bench: Bench) -> None:
    code = """
from protocols.wire.crc import crc16, python_crc16
import _crc16
data = bytearray((7 * i * i + 3) & 255 for i in range(256))
print(crc16 is _crc16.crc16, crc16(b"123456789") == 0x4B37)
print(all(crc16(data, n) == python_crc16(data, n) for n in range(257)))
print(all(crc16(data, 3, 511 * n) == python_crc16(data, 3, 511 * n) for n in range(128)))
rest = crc16(data[19:], -1, crc16(data[9:19]))
print(crc16(memoryview(data)[9:]) == python_crc16(data[9:]) == rest)
try:
    crc16(data, 257)
except IndexError:
    print(True)
"""
    board = node_bench.nodes["air"]
    assert isinstance(board, HasRepl)
    assert (await board.repl().raw_exec(code, 60)).split() == ["True"] * 6


@pytest.mark.needs(Capability.MPREMOTE)
@pytest.mark.timeout(120)
async def test_mpremote_connects_and_runs_a_file(
    node_bench: Bench, mpremote: Path, tmp_path: Path
) -> None:
    board = node_bench.nodes["air"]
    assert isinstance(board, HasRepl)
    program = tmp_path / "sum.py"
    program.write_text("import sys\nprint(sys.implementation.name, sum(range(101)))\n")
    process = await asyncio.create_subprocess_exec(
        *(str(mpremote), "connect", board.repl().path, "resume", "run", str(program)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), _LIMIT_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    assert process.returncode == 0, output
    assert b"micropython 5050" in output


async def test_serving_goes_on_from_the_repl(node_bench: Bench) -> None:
    board = node_bench.nodes["air"]
    figures = await board.stop_sampling()
    assert figures["boot_epoch"] == board.boot["boot_epoch"]
    assert isinstance(figures["sampled_frames"], int)


@pytest.mark.needs(Capability.MPREMOTE, Capability.IMAGE)
@pytest.mark.timeout(120)
async def test_recover_restarts_the_node_from_its_console(node_bench: Bench) -> None:
    board = node_bench.nodes["air"]
    assert isinstance(board, HasRepl)
    before = board.boot["boot_epoch"]
    assert isinstance(before, int)
    command = [str(Path(sys.executable).parent / "tianfu-node"), "recover", "--yes", "--json"]
    process = await asyncio.create_subprocess_exec(
        *command,
        *("--port", board.repl().path),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), _LIMIT_S)
    assert process.returncode == 0, output
    rungs = json.loads(output.splitlines()[-1])["rungs"]
    assert [rung["works"] for rung in rungs] == [False, True]
    assert f"boot {before + 1}" in rungs[1]["text"]
    assert board.boot["boot_epoch"] == before + 1
