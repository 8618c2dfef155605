"""A Renode in trouble (gone, not up, older, of other keywords): processes of the stand-in."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from hil.engines.base import NodeSpec
from hil.engines.renode import RenodeEngine
from hil.errors import RenodeError
from hil.renode.emulation import RenodeEmulation
from hil.renode.server import RenodeServer
from tests.integration.hil.renode.stand_in import make_image, use_stand_in

SPEC = NodeSpec("air", "air", "7f" + "0" * 21 + "1", key="11" * 32)
LIMIT_S = 20


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make the stand-in the Renode of this test, after some Python that alters ``Fake``."""

    def use(altered: str) -> None:
        use_stand_in(tmp_path, monkeypatch, altered)

    use("")
    return use


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return make_image(tmp_path)


async def kill(folder: Path) -> None:
    """End the stand-in that has its folder there, and wait until it is gone."""
    (own,) = folder.glob("renode-*")
    pid = int(own.name.removeprefix("renode-"))
    process, gone = os.pidfd_open(pid), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(process, gone.set)
    os.kill(pid, signal.SIGKILL)
    await gone.wait()
    loop.remove_reader(process)
    os.close(process)


@pytest.mark.usefixtures("stand_in")
async def test_nothing_is_asked_of_a_renode_that_is_not_up() -> None:
    server = RenodeServer()
    emulation = RenodeEmulation(server)
    try:
        with pytest.raises(RenodeError, match="expected `open` before the first command"):
            await emulation.command("version")
        assert emulation.now_s() == 0.0
    finally:
        emulation.close()
        server.kill()
    assert not emulation.folder.exists()


@pytest.mark.usefixtures("stand_in")
async def test_time_that_passes_by_itself_cannot_be_run(image: Path, tmp_path: Path) -> None:
    async with asyncio.timeout(LIMIT_S), RenodeEngine(image) as engine:
        board = await engine.board(SPEC, tmp_path / "air")
        await board.power()
        with pytest.raises(RenodeError, match="expected a paused emulation, it runs"):
            await engine.emulation.run_for(0.1)


@pytest.mark.usefixtures("stand_in")
async def test_a_renode_that_ended_is_quoted_not_asked(image: Path, tmp_path: Path) -> None:
    async with asyncio.timeout(LIMIT_S), RenodeEngine(image) as engine:
        board = await engine.board(SPEC, tmp_path / "air")
        await board.power()
        emulation = engine.emulation
        await kill(emulation.server.process.folder)
        with pytest.raises(RenodeError, match=r"renode has ended by itself; the end of /.*log"):
            await emulation.command("version")
        with pytest.raises(RenodeError, match="has ended by itself"):
            emulation.now_s()


async def test_a_server_with_other_keywords(stand_in: Callable[[str], None], image: Path) -> None:
    stand_in("Fake.get_keyword_names = lambda self: ['StartEmulation']")
    with pytest.raises(RenodeError, match=r"ResetEmulation, got \['StartEmulation'\]"):
        async with asyncio.timeout(LIMIT_S), RenodeEngine(image):
            pass


@pytest.mark.parametrize("method", ["_do_include", "_do_device"])
async def test_an_observer_that_renode_refuses_is_done_without(
    method: str, stand_in: Callable[[str], None], image: Path, tmp_path: Path
) -> None:
    stand_in(
        f"real = Fake.{method}\n"
        "def refuse(self, *words):\n"
        "    if any('atch' in word for word in words): raise Refused('no NodeWatch here')\n"
        "    real(self, *words)\n"
        f"Fake.{method} = refuse"
    )
    async with asyncio.timeout(LIMIT_S), RenodeEngine(image) as engine:
        board = await engine.board(SPEC, tmp_path / "air")
        assert (await board.start())["boot_epoch"] == 1
        assert not engine.emulation.watched
        assert "no NodeWatch here" in engine.emulation.unwatched_why


async def test_a_port_that_renode_does_not_make(
    stand_in: Callable[[str], None], image: Path, tmp_path: Path
) -> None:
    stand_in(
        "real = Fake._do_port\n"
        "Fake._do_port = lambda self, name, path: real(self, name, path + '.elsewhere')"
    )
    async with asyncio.timeout(LIMIT_S), RenodeEngine(image) as engine:
        board = await engine.board(SPEC, tmp_path / "air")
        with pytest.raises(RenodeError, match=r"/n_air_console: expected a port of Renode there"):
            await board.power()


@pytest.mark.usefixtures("stand_in")
async def test_one_question_for_the_time_of_all_machines(image: Path, tmp_path: Path) -> None:
    async with asyncio.timeout(LIMIT_S), RenodeEngine(image) as engine:
        first = await engine.board(SPEC, tmp_path / "air")
        second = await engine.board(NodeSpec("two", "air", "7f" + "0" * 22), tmp_path / "two")
        await asyncio.gather(first.start(), second.start())
        emulation = engine.emulation

        async def asked_while_looking(seconds: float) -> list[str]:
            before, end = emulation.commands_text(), asyncio.get_running_loop().time() + seconds
            while asyncio.get_running_loop().time() < end:
                second.now_s()
                first.now_s()
                await asyncio.sleep(0)
            return emulation.commands_text().removeprefix(before).splitlines()

        begun = first.now_s()
        # While time passes the ports show it.
        assert await asked_while_looking(0.5) == []
        assert first.now_s() - begun == pytest.approx(0.5, abs=0.1)
        await emulation.pause()
        asked = await asked_while_looking(0.3)
        assert set(asked) == {"n_air: machine ElapsedVirtualTime"}
        assert len(asked) <= 7
