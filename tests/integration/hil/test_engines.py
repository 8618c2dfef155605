"""One set of tests for every engine: a board behaves alike on each of them.

An engine whose tools or image are missing is skipped with the command that gets them. The board's
image is tests/conftest.py's.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
import tomllib
from pathlib import Path

import pytest

from hil.bench import Bench
from hil.engines import fidelity
from hil.engines.abilities import ABILITIES, Capability, Pausable
from hil.engines.base import Board, Engine, NodeSpec
from hil.engines.qemu import QemuEngine
from hil.engines.qemu_board import QemuBoard
from hil.engines.qemu_command import find_qemu
from hil.engines.records import provisioned
from hil.engines.registry import KINDS
from hil.engines.unix import UnixEngine
from hil.errors import ConsoleError, EngineError, ReplError
from hil.sim.part import Steady
from protocols.wire.crc import crc16
from tests.conftest import need_tools, not_tested

LIMIT_S = 15.0
SPEC = NodeSpec("air", "air", "5a" * 12, {"unit_id": 1, "sample_period_ds": 5}, key="ab" * 32)
pytestmark = pytest.mark.timeout(600)  # the first one may have to build the image


@pytest.fixture(params=["unix", "qemu"])
def engine(request: pytest.FixtureRequest) -> Engine:
    if request.param == "unix":
        return UnixEngine()
    need_tools(["qemu-system-arm"])
    try:
        find_qemu()  # new enough?
    except EngineError as error:
        not_tested(str(error))
    image: Path = request.getfixturevalue("board_image")
    return QemuEngine(image)


def runs(pid: int) -> bool:
    """Whether there is a process of this number."""
    return Path(f"/proc/{pid}").exists()


async def ask(board: Board, request: bytes, size: int) -> bytes:
    """One request on the line; the answer's bytes."""
    got = bytearray()
    enough = asyncio.Event()

    def heard(data: bytes) -> None:
        got.extend(data)
        if len(got) >= size:
            enough.set()

    wire = board.wire("line")
    wire.listen(heard)
    wire.write(request + crc16(request).to_bytes(2, "little"))
    async with asyncio.timeout(LIMIT_S):
        await enough.wait()
    return bytes(got)


READ = bytes((1, 4, 0, 0, 0, 4))


async def test_power_wires_and_console(engine: Engine, tmp_path: Path) -> None:
    async with engine:
        board = await engine.board(SPEC, tmp_path / "air")
        assert not board.is_running()
        assert board.wire("line").write(b"lost: the board is off") >= 0
        board.wire("line").flush()
        with pytest.raises(LookupError, match="no port 'a02yyuw'; it has line"):
            board.wire("a02yyuw")
        boot = await board.start()
        assert board.is_running()
        assert boot == board.boot
        assert (boot["role"], boot["boot_epoch"]) == ("air", 1)
        with pytest.raises(EngineError, match="is running already"):
            await board.start()
        assert (await ask(board, READ, 13))[:3] == bytes((1, 4, 8))
        with pytest.raises(EngineError, match=r"no JSON line with \"never\"[^$]*boot_epoch"):
            await board.console.wait_json("never", 0.1)
        await board.kill()
        assert not board.is_running()
        await board.kill()
        boot = await board.power_cycle()
        persists = Capability.FLASH_WRITES in engine.capabilities
        assert boot["boot_epoch"] == (2 if persists else 1)
        assert (await ask(board, READ, 13))[:3] == bytes((1, 4, 8))
    assert not board.is_running()
    log = (tmp_path / "air/console.log").read_text()
    assert log.count('"boot_epoch"') == 2
    assert log.count("--- power on") == 2


async def test_node_stops_sampling_and_serves_on(engine: Engine, tmp_path: Path) -> None:
    async with engine:
        board = await engine.board(SPEC, tmp_path / "air")
        boot = await board.start()
        figures = await board.stop_sampling()
        assert figures["boot_epoch"] == boot["boot_epoch"]
        assert isinstance(figures["sampled_frames"], int)
        assert (await ask(board, READ, 13))[:3] == bytes((1, 4, 8))


async def test_time_stands_while_paused(engine: Engine, tmp_path: Path) -> None:
    async with engine:
        board = await engine.board(SPEC, tmp_path / "air")
        if not isinstance(board, Pausable):
            pytest.skip(f"{engine.name} cannot pause")
        await board.start()
        await board.pause()
        at = board.now_s()
        time.sleep(0.2)  # noqa: ASYNC251  # the host's time is what passes here
        assert board.now_s() == at
        await board.run_for(0.1)
        assert 0.1 <= board.now_s() - at < 1
        await board.resume()
        assert (await ask(board, READ, 13))[:3] == bytes((1, 4, 8))


async def test_warm_reset_flash_and_repl(engine: Engine, tmp_path: Path) -> None:
    async with engine:
        board = await engine.board(SPEC, tmp_path / "air")
        if not isinstance(board, QemuBoard):
            pytest.skip(f"{engine.name} has no flash")
        await board.start()
        assert await board.read_flash() == provisioned(SPEC)
        with pytest.raises(EngineError, match="only when it is off"):
            await board.write_flash(b"")
        assert (await board.warm_reset())["role"] == "air"
        assert await board.repl().raw_exec("print(6 * 7)") == "42\n"
        with pytest.raises(ReplError, match="ZeroDivisionError"):
            await board.repl().raw_exec("1 / 0")
        seen = board.restarts
        board.repl().write(b"import machine; machine.reset()\r")
        assert (await board.wait_restart(seen))["role"] == "air"
        pid = board.pid
        await board.cut_at(board.now_s() + 0.05)
        assert not runs(pid)
        other = NodeSpec("air", "water", "5b" * 12, {"unit_id": 1})
        await board.write_flash(provisioned(other))
        assert (await board.start())["role"] == "water"


async def test_bench_of_three_answers_on_one_line(engine: Engine, tmp_path: Path) -> None:
    async with Bench(tmp_path, Steady(), engine=engine) as bench:
        await bench.power_on()
        for role in bench.names:
            assert bench.nodes[role].boot["role"] == role
        assert bench.port.startswith("/dev/")
        await bench.reset("water")


def test_defects_name_engines_and_say_what_follows() -> None:
    defects = fidelity.table().values()
    assert len(tomllib.loads(fidelity.TABLE.read_text(encoding="utf-8"))["defect"]) == len(defects)
    for defect in defects:
        assert defect.engine in KINDS
        assert defect.id.startswith(defect.engine)
        assert defect.difference
        assert defect.consequence
        assert defect.source


@pytest.mark.parametrize("name", KINDS)
def test_the_table_has_a_reason_for_what_is_absent_and_for_nothing_else(name: str) -> None:
    absent = {
        capability
        for defect in fidelity.table().values()
        if defect.engine == name
        for capability in defect.capabilities
    }
    assert absent == set(Capability) - KINDS[name].capabilities


def test_every_capability_has_an_ability() -> None:
    assert set(ABILITIES) == set(Capability)


def test_a_board_of_the_host_has_what_its_class_implements() -> None:
    expected = {Capability.FLASH_WRITES, Capability.I2C, Capability.ONEWIRE, Capability.ADC}
    assert UnixEngine.capabilities == expected


def test_a_board_of_qemu_has_what_its_class_implements() -> None:
    assert QemuEngine.capabilities == {
        Capability.IMAGE,
        Capability.REPL,
        Capability.MPREMOTE,
        Capability.PAUSE,
        Capability.FLASH_IMAGE,
        Capability.WARM_RESET,
    }


async def test_a_busy_host_gives_a_wait_on_qemu_more_time(
    board_image: Path, tmp_path: Path
) -> None:
    need_tools(["qemu-system-arm"])
    async with QemuEngine(board_image) as engine:
        board = await engine.board(SPEC, tmp_path)
        assert isinstance(board, QemuBoard)
        await board.start()
        assert await board.lag_s() == 0
        # For these seconds the node does not run, while the host's clock, which it follows, does.
        os.kill(board.pid, signal.SIGSTOP)
        await asyncio.sleep(7)
        os.kill(board.pid, signal.SIGCONT)
        assert await board.lag_s() > 5
        # A node that no longer counts gets no more time for that.
        await board.repl().interrupt(LIMIT_S)
        board.repl().write(b"import machine; machine.disable_irq(); machine.idle()\r")
        begun = time.monotonic()
        with pytest.raises(ConsoleError, match="printed no"):
            await board.console.wait_json("never", 1)
        assert time.monotonic() - begun < LIMIT_S
