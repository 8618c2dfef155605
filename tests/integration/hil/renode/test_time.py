"""The time of nodes on Renode: their own milliseconds, a power cut, and time that flies.

Against the stand-in, whose time does what Renode's does: the faults are put back by a switch.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pytest

from hil.engines.base import Board, NodeSpec
from hil.engines.clock_reading import ClockReading, symbol_address
from hil.engines.deadline import Deadline
from hil.engines.renode import RenodeEngine
from hil.engines.renode_board import RenodeBoard
from hil.errors import EngineError, HostTooSlow, RenodeError
from hil.renode import commands
from hil.renode.emulation import RenodeEmulation
from hil.renode.pace import LEAD_LIMIT_S, HostPace
from hil.testing.clocks import check_clocks
from tests.integration.hil.renode.stand_in import make_image, use_stand_in

LIMIT_S = 30
NAMES = ("one", "two", "three")


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stand-in as Renode, and the smallest image that shows where its milliseconds are."""
    use_stand_in(tmp_path, monkeypatch)
    return make_image(tmp_path, image_with("milliseconds", 0x20000010))


def image_with(name: str, address: int) -> bytes:
    """Return an ELF file of one variable: header, three sections, a symbol, names."""
    texts = b"\0" + name.encode() + b"\0"
    symbol = b"".join(n.to_bytes(4, "little") for n in (1, address, 4)) + b"\x01\0\x01\0"
    at = 52 + 3 * 40

    def section(kind: int, start: int, size: int, link: int) -> bytes:
        fields = (0, kind, 0, 0, start, size, link, 0, 1, 16)
        return b"".join(n.to_bytes(4, "little") for n in fields)

    header = bytearray(52)
    header[:4] = b"\x7fELF"
    header[32:36] = (52).to_bytes(4, "little")
    header[46:50] = bytes((40, 0, 3, 0))
    sections = section(0, 0, 0, 0) + section(2, at, 16, 2) + section(3, at + 16, len(texts), 0)
    return bytes(header) + sections + symbol + texts


def spec(name: str, uid: int) -> NodeSpec:
    return NodeSpec(name, "air", f"7f{uid:022x}", key="11" * 32)


async def boards_of(engine: RenodeEngine, folder: Path, *names: str) -> dict[str, RenodeBoard]:
    return {
        name: await engine.board(spec(name, number), folder / name)
        for number, name in enumerate(names, 1)
    }


# --- the nodes' milliseconds ----------------------------------------------------------------------


async def run_three(image: Path, folder: Path) -> None:
    """Let three nodes live for eight seconds, and look at their clocks as every bench does."""
    async with asyncio.timeout(LIMIT_S), RenodeEngine(image) as engine:
        nodes = await boards_of(engine, folder, *NAMES)
        for board in nodes.values():
            await board.start()
        await engine.emulation.pause()
        await engine.emulation.run_for(8.0)
        await check_clocks(nodes)


async def test_three_nodes_keep_time(image: Path, tmp_path: Path) -> None:
    await run_three(image, tmp_path)


async def test_three_nodes_in_parallel_do_not(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Any command that is harmless: what is missing is the serial execution.
    monkeypatch.setattr(commands, "SERIAL", commands.QUIET)
    figure = r"node one counted \d+\.\d\d s in \d+\.\d\d s of its engine, 0\.96\d times as much"
    with pytest.raises(EngineError, match=figure) as error:
        await run_three(image, tmp_path)
    assert "node two" in str(error.value)
    assert "node three" not in str(error.value)


async def test_a_node_that_was_off_or_reset_begins_anew(image: Path, tmp_path: Path) -> None:
    async with asyncio.timeout(LIMIT_S), RenodeEngine(image) as engine:
        nodes = await boards_of(engine, tmp_path, "one", "two")
        one, two = nodes.values()
        await asyncio.gather(one.start(), two.start())
        for act in (one.power_cycle, one.warm_reset):
            await engine.emulation.pause()
            await engine.emulation.run_for(20.0)
            await act()
            await check_clocks(nodes)
            uptime = await one.uptime()
            assert uptime is not None
            assert uptime.engine_s < 15
            assert uptime.own_s == pytest.approx(uptime.engine_s, abs=0.01)
        await two.kill()
        assert await two.uptime() is None
        await check_clocks(nodes)


@pytest.mark.parametrize(
    ("engine_s", "own_s", "slack_s", "apart"),
    [
        (10.0, 9.96, 0.0, False),
        (10.0, 9.94, 0.0, True),
        (10.0, 10.06, 0.0, True),
        (10.0, 9.94, 0.02, False),
        (5.0, 1.0, 0.0, False),
        (5.01, 1.0, 0.0, True),
        (100.0, 32.0, 0.1, True),
    ],
)
def test_how_far_apart_is_apart(engine_s: float, own_s: float, slack_s: float, apart: bool) -> None:
    assert bool(ClockReading(engine_s, own_s, slack_s).apart()) is apart


class Slow:
    """A node whose engine follows the host's clock, and got half of it."""

    time_error = HostTooSlow

    async def uptime(self) -> ClockReading:
        return ClockReading(20.0, 10.0, 0.1)


async def test_where_the_engine_follows_the_host_the_host_is_too_slow() -> None:
    nodes = cast("Mapping[str, Board]", {"air": Slow()})
    with pytest.raises(HostTooSlow, match=r"node air counted 10\.00 s in 20\.00 s"):
        await check_clocks(nodes)


def test_the_variable_is_found_by_its_whole_name(tmp_path: Path) -> None:
    file = tmp_path / "image.elf"
    for name, found in (("milliseconds", 0x20000010), ("milliseconds_of_x", None), ("s", None)):
        file.write_bytes(image_with(name, 0x20000010))
        assert symbol_address(file) == found
    for content in (b"", b"\x7fELF", image_with("milliseconds", 1)[:100]):
        file.write_bytes(content)
        assert symbol_address(file) is None


# --- time that flies ------------------------------------------------------------------------------


async def wait_for_flight(emulation: RenodeEmulation) -> None:
    """Look at the time until it has gone too far."""
    deadline = Deadline(10)
    while not deadline.over():
        await emulation.ask_now_s()
        await deadline.look()


async def test_time_that_runs_ahead_fails_whoever_looks(image: Path, tmp_path: Path) -> None:
    async with asyncio.timeout(LIMIT_S), RenodeEngine(image) as engine:
        nodes = await boards_of(engine, tmp_path, "one")
        await nodes["one"].start()
        emulation = engine.emulation
        await emulation.command(commands.HALT, "n_one")  # with the time still passing
        with pytest.raises(RenodeError, match=r"virtual time is \d+\.\d s ahead of the host"):
            await wait_for_flight(emulation)
        with pytest.raises(RenodeError, match="ahead of the host"):
            await check_clocks(nodes)


async def test_time_may_run_ahead_where_it_was_asked_to(image: Path, tmp_path: Path) -> None:
    async with asyncio.timeout(LIMIT_S), RenodeEngine(image, ahead=True) as engine:
        board = (await boards_of(engine, tmp_path, "one"))["one"]
        await board.start()
        emulation = engine.emulation
        deadline = Deadline(10)
        while await emulation.ask_now_s() < 2 * LEAD_LIMIT_S:
            assert not deadline.over()
            await deadline.look()
        # Nothing sleeps until the host has caught up.
        await board.power_cycle()


def test_what_was_asked_for_is_not_ahead() -> None:
    pace = HostPace()
    pace.run(100.0)
    pace.see(104.9)
    pace.check()
    pace.see(105.5)
    pace.see(104.0)
    with pytest.raises(RenodeError, match=re.escape("expected at most 5 s, 105.5 s have passed")):
        pace.check()


# --- power cuts -----------------------------------------------------------------------------------


async def test_time_stands_from_a_cut_until_it_was_seen(image: Path, tmp_path: Path) -> None:
    async with asyncio.timeout(LIMIT_S), RenodeEngine(image) as engine:
        board = await engine.board(spec("one", 1), tmp_path / "one")
        await board.start()
        for operation in (1, 2):
            await board.cut_at_flash(operation)
            acting = asyncio.ensure_future(board.warm_reset())
            assert await board.wait_for_cut(5.0)
            assert not board.is_running()
            with pytest.raises(EngineError, match="lost its power before it printed"):
                await acting
            assert (await board.start())["boot_epoch"] == 1 + operation
        await board.cut_at_flash(3)
        await board.warm_reset()
        assert not await board.wait_for_cut(0.2)
        assert await board.flash_operations() == 2


async def test_a_reset_under_way_does_not_use_up_the_wait_for_a_cut(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with asyncio.timeout(LIMIT_S), RenodeEngine(image) as engine:
        board = await engine.board(spec("one", 1), tmp_path / "one")
        await board.start()
        await board.cut_at_flash(1)
        emulation, reset, go_on = engine.emulation, asyncio.Event(), asyncio.Event()
        command = emulation.command

        async def slow(text: str, machine: str | None = None) -> str:
            if text == commands.RESET and not go_on.is_set():
                reset.set()
                await go_on.wait()
            return await command(text, machine)

        async def look() -> None:
            """Wait until the bench has looked for the cut once more."""
            seen, deadline = emulation.commands_text().count("watch Cut\n"), Deadline(10)
            while emulation.commands_text().count("watch Cut\n") < seen + 2:
                assert not deadline.over()
                await deadline.look()

        monkeypatch.setattr(emulation, "command", slow)
        acting = asyncio.ensure_future(board.warm_reset())
        await reset.wait()
        waiting = asyncio.ensure_future(board.wait_for_cut(0.5))
        await look()
        await command(commands.run_for(1.0), board.machine)
        await look()
        assert not waiting.done()
        go_on.set()
        assert await waiting
        acting.cancel()
