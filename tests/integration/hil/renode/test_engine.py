"""The engine against the stand-in, which fails whatever Renode's Monitor would not take."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Coroutine
from itertools import pairwise
from pathlib import Path

import pytest

from hil.bench import Bench
from hil.bus import decode
from hil.engines.base import NodeSpec
from hil.engines.renode import RenodeEngine
from hil.engines.renode_board import RenodeBoard
from hil.errors import CommandError, EngineError, RenodeError
from hil.renode import commands
from hil.renode.rpc import Renode, command_argument, parse_time
from hil.sim.part import Steady
from protocols.wire.modbus.timing import t35_us
from tests.paths import ROOT

SPEC = NodeSpec("air", "air", "7f" + "0" * 21 + "1", key="11" * 32)


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An image, and a wrapper script that starts the stand-in as its child."""
    wrapper = tmp_path / "renode"
    root = ROOT
    wrapper.write_text(
        f'#!/bin/sh\nPYTHONPATH={root} {sys.executable} -m hil.renode.fake "$@"\n',
        encoding="utf-8",
    )
    wrapper.chmod(0o755)
    monkeypatch.setenv("RENODE", str(wrapper))
    elf = tmp_path / "firmware.elf"
    elf.write_bytes(b"\x7fELF")
    return elf


async def on_boards(
    image: Path,
    tmp_path: Path,
    test: Callable[[RenodeEngine, RenodeBoard], Coroutine[None, None, None]],
) -> None:
    async with asyncio.timeout(30), RenodeEngine(image) as engine:
        await test(engine, await engine.board(SPEC, tmp_path / "air"))


async def test_boot_wire_reset_and_power(image: Path, tmp_path: Path) -> None:
    async def test(engine: RenodeEngine, board: RenodeBoard) -> None:
        got = bytearray()
        heard = asyncio.Event()

        def on_data(data: bytes) -> None:
            got.extend(data)
            heard.set()

        part = board.wire("pms5003")
        part.listen(on_data)
        assert part.write(b"lost") == 0
        assert part.overrun == 4
        assert (await board.start())["boot_epoch"] == 1
        assert "mach create" in engine.logs()["renode-commands.log"]()
        part.write(bytes(range(256)))
        while len(got) < 256:
            heard.clear()
            await heard.wait()
        assert got == bytes(range(256))
        assert (await board.warm_reset())["boot_epoch"] == 2
        assert (await board.power_cycle())["boot_epoch"] == 3
        assert (await board.stop_sampling())["sampled_frames"] == 1
        await board.kill()
        assert not board.is_running()
        with pytest.raises(EngineError, match="expected a name no other board has"):
            await engine.board(SPEC, tmp_path / "again")

    await on_boards(image, tmp_path, test)
    assert "cpu IsHalted true" in (tmp_path / "air/renode-commands.log").read_text()


async def test_two_boards_share_their_time(image: Path, tmp_path: Path) -> None:
    async def test(engine: RenodeEngine, board: RenodeBoard) -> None:
        other = await engine.board(NodeSpec("two", "air", "7f" + "0" * 22), tmp_path / "two")
        await asyncio.gather(board.start(), other.start())
        await board.pause()
        before = board.now_s()
        await asyncio.sleep(0.06)
        before = board.now_s()
        await other.run_for(0.6)
        await asyncio.sleep(0.06)
        assert board.now_s() - before == pytest.approx(0.6, abs=0.01)
        await board.resume()

    await on_boards(image, tmp_path, test)


async def test_time_stands_while_no_board_has_power(image: Path, tmp_path: Path) -> None:
    async def test(engine: RenodeEngine, board: RenodeBoard) -> None:
        other = await engine.board(NodeSpec("two", "air", "7f" + "0" * 22), tmp_path / "two")
        await asyncio.gather(board.start(), other.start())
        seen = []
        for act in (board.kill, other.kill, board.start):
            await act()
            seen.append(engine.emulation.started)
        assert seen == [True, False, True]

    await on_boards(image, tmp_path, test)


async def test_flash_is_what_was_written(image: Path, tmp_path: Path) -> None:
    async def test(_engine: RenodeEngine, board: RenodeBoard) -> None:
        content = bytes(range(256)) * 1024
        await board.write_flash(content)
        await board.start()
        assert await board.read_flash() == content
        await board.kill()
        await board.write_flash(content[::-1])
        await board.start()
        assert await board.read_flash() == content[::-1]

    await on_boards(image, tmp_path, test)


async def test_parts_and_power_cut_are_commanded(image: Path, tmp_path: Path) -> None:
    async def test(engine: RenodeEngine, board: RenodeBoard) -> None:
        await board.start()
        await board.set_adc("ph", 1234)
        await board.set_sht3x(Temperature=21.5, BadChecksum=True)
        await board.plug_sht3x(False)
        with pytest.raises(CommandError):
            await board.set_sht3x(Temperature=21.5)
        await board.plug_sht3x(True)
        await board.cut_at_flash(3)
        assert await board.flash_operations() == 0
        assert not await board.wait_for_cut(0.1)
        # What did not come for this boot must not come for a later one.
        assert "sysbus.watch CutAt 0" in engine.logs()["renode-commands.log"]()

    await on_boards(image, tmp_path, test)


async def test_what_renode_does_not_know_fails(image: Path, tmp_path: Path) -> None:
    async def test(engine: RenodeEngine, _board: RenodeBoard) -> None:
        with pytest.raises(CommandError, match="No such command"):
            await engine.emulation.command("machine Explode")

    await on_boards(image, tmp_path, test)


async def test_the_line_of_a_bench_goes_by_the_boards_time(image: Path, tmp_path: Path) -> None:
    bench = Bench(tmp_path / "nodes", Steady(), engine=RenodeEngine(image), roles=("air",))
    request = bytes.fromhex("010300000001840a")
    async with asyncio.timeout(30), bench:
        await bench.power_on()
        board = bench.nodes["air"]
        assert isinstance(board, RenodeBoard)
        port = os.open(bench.port, os.O_RDWR | os.O_NOCTTY)
        got = b""
        for number in range(1, 4):
            os.write(port, request)
            while len(got) < number * len(request):
                await asyncio.sleep(0.002)
                got += os.read(port, 100)
        assert got == 3 * request
        frames = list(decode.frames(bench.line.trace.bursts))
        assert [frame.origin for frame in frames] == ["gateway", "air"] * 3
        # Seconds of the boards' time, not of the host's clock.
        assert 0 < frames[-1].end_ns / 1e9 <= board.now_s() + 0.1
        for asked, answered in pairwise(frames):
            assert asked.end_ns - asked.start_ns == 8 * 1_042_000
            silence_us = (answered.start_ns - asked.end_ns) / 1000
            assert silence_us >= t35_us(9600), "a silence of the boards' time ends each frame"
        await board.pause()
        heard = bench.line.traffic("gateway").sent
        os.write(port, request)
        while bench.line.traffic("gateway").sent == heard:
            await asyncio.sleep(0.002)
        await asyncio.sleep(0.1)
        assert os.read(port, 100) == b""
        await board.resume()
        while os.read(port, 100) == b"":
            await asyncio.sleep(0.002)
        await board.kill()
        os.close(port)


async def test_a_renode_that_is_gone_ends_every_wait(image: Path, tmp_path: Path) -> None:
    async def test(engine: RenodeEngine, board: RenodeBoard) -> None:
        await board.start()
        engine.emulation.renode.shut_down()
        with pytest.raises(RenodeError, match=r"has ended by itself|gave no answer"):
            await board.console.wait_for("what never comes", 60)

    await on_boards(image, tmp_path, test)


def test_a_renode_that_hangs_gets_no_further_request() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        renode = Renode(silent.getsockname()[1], limit_s=0.1)
        with pytest.raises(RenodeError, match="timed out"):
            renode.command("pause")
    # Or it would be refused now.
    with pytest.raises(RenodeError, match=r"'pause'.*timed out"):
        renode.command("start")


async def test_a_missing_renode_is_reported_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RENODE", "")
    with pytest.raises(RenodeError, match="RENODE=/path/to/renode"):
        await on_boards(Path(__file__), tmp_path, lambda _e, _b: asyncio.sleep(0))


def test_many_lines_are_never_a_named_argument() -> None:
    macro = commands.reset_macro(["a", "b"])
    assert command_argument(macro) == macro
    assert command_argument('x "a=b"') == 'command=x "a=b"'
    with pytest.raises(ValueError, match="control"):
        command_argument("\x03")


def test_time_is_read_to_the_nanosecond() -> None:
    text = "[Domain = x, TimeElapsed = 01:02:03.000000004]"
    assert parse_time(text) == pytest.approx(3723.000000004)
