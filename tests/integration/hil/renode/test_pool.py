"""One Renode for all tests of a worker: who starts one, who must not be given a used one."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from functools import partial
from pathlib import Path

import pytest

from hil.engines.base import NodeSpec
from hil.engines.renode import RenodeEngine
from hil.errors import CommandError, RenodeEnded, RenodeError
from hil.renode.pool import RenodePool
from hil.renode.rpc import Renode
from tests.paths import ROOT

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.timeout(120)

SPEC = NodeSpec("air", "air", "7f" + "0" * 21 + "1", key="11" * 32)
LIMIT_S = 20


@pytest.fixture
def starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the stand-in the Renode of this test; return the file that has a line for each start."""
    wrapper, starts = tmp_path / "renode", tmp_path / "starts"
    starts.touch()
    wrapper.write_text(
        f"#!{sys.executable}\nimport os, sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        "from hil.renode.fake import main\n"
        "if '--version' not in sys.argv:\n"
        f"    open({str(starts)!r}, 'a').write(f'{{os.getpid()}}\\n')\n"
        "    print('started', flush=True)\n"
        "sys.exit(main(sys.argv[1:]))\n",
        encoding="utf-8",
    )
    wrapper.chmod(0o755)
    monkeypatch.setenv("RENODE", str(wrapper))
    return starts


@pytest.fixture
def image(tmp_path: Path) -> Path:
    elf = tmp_path / "firmware.elf"
    elf.write_bytes(b"\x7fELF")
    return elf


def pids(starts: Path) -> list[int]:
    return [int(line) for line in starts.read_text().split()]


async def test_the_next_engine_has_the_same_renode_cleared(
    starts: Path, image: Path, tmp_path: Path
) -> None:
    pool, logs = RenodePool(), []
    async with asyncio.timeout(LIMIT_S):
        for number in range(2):
            async with RenodeEngine(image, pool=pool) as engine:
                board = await engine.board(SPEC, tmp_path / str(number))
                assert (await board.start())["boot_epoch"] == 1
                await engine.emulation.command("logLevel 3 sysbus.flash_controller")
                logs.append(engine.logs()["renode.log"]())
    pool.close()
    (pid,) = pids(starts)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    # Each has its own part of what Renode printed and was sent.
    assert logs == ["started\n", ""]
    first, second = (
        (tmp_path / str(number) / "renode-commands.log").read_text() for number in range(2)
    )
    assert "NodeWatch.cs" in first
    assert "NodeWatch.cs" not in second
    assert [text.count("mach create") for text in (first, second)] == [1, 1]


async def test_a_renode_in_doubt_is_not_lent_again(
    starts: Path, image: Path, tmp_path: Path
) -> None:
    pool = RenodePool()

    async def fails() -> None:
        async with RenodeEngine(image, pool=pool):
            raise AssertionError("in the body of the engine")

    async with asyncio.timeout(LIMIT_S):
        async with RenodeEngine(image, pool=pool):
            pool.doubt()
        async with RenodeEngine(image, pool=pool):
            pass
        assert len(pids(starts)) == 2
        with pytest.raises(AssertionError, match="in the body"):
            await fails()
        assert len(pids(starts)) == 2
        async with RenodeEngine(image, pool=pool):
            pass
    pool.close()
    assert len(pids(starts)) == 3


async def test_a_renode_that_ended_is_named_once_and_replaced(
    starts: Path, image: Path, tmp_path: Path
) -> None:
    pool = RenodePool()
    async with asyncio.timeout(LIMIT_S):

        async def nothing_is_asked_after_its_end() -> None:
            async with RenodeEngine(image, pool=pool) as engine:
                await (await engine.board(SPEC, tmp_path / "1")).start()
                await end(pids(starts)[-1])

        with pytest.raises(RenodeEnded, match=r"has ended by itself; the end of .*\nstarted"):
            await nothing_is_asked_after_its_end()
        # Something was asked: that error named it, and no other does.
        async with RenodeEngine(image, pool=pool) as engine:
            board = await engine.board(SPEC, tmp_path / "2")
            await board.start()
            await end(pids(starts)[-1])
            with pytest.raises(RenodeEnded, match="has ended by itself"):
                await board.pause()
            await board.kill()
        async with RenodeEngine(image, pool=pool) as engine:
            await (await engine.board(SPEC, tmp_path / "3")).start()
        # It may end while nobody uses it, too.
        await end(pids(starts)[-1])
        async with RenodeEngine(image, pool=pool) as engine:
            await (await engine.board(SPEC, tmp_path / "4")).start()
    pool.close()
    assert len(pids(starts)) == 4


async def end(pid: int) -> None:
    """End a stand-in, and wait until it is gone."""
    process, gone = os.pidfd_open(pid), asyncio.Event()
    asyncio.get_running_loop().add_reader(process, gone.set)
    os.kill(pid, signal.SIGKILL)
    await gone.wait()
    asyncio.get_running_loop().remove_reader(process)
    os.close(process)


async def test_a_renode_that_cannot_be_cleared_is_ended(
    starts: Path, image: Path, tmp_path: Path
) -> None:
    pool = RenodePool()
    wrapper = tmp_path / "renode"
    wrapper.write_text(
        wrapper.read_text(encoding="utf-8").replace(
            "if '--version'",
            "from hil.renode.fake import Fake\n"
            "failed = {'status': 'FAIL', 'error': 'a machine stays'}\n"
            f"if not os.path.getsize({str(starts)!r}):\n"
            "    Fake._reset_emulation = lambda self: failed\n"
            "if '--version'",
        ),
        encoding="utf-8",
    )
    async with asyncio.timeout(LIMIT_S):

        async def one_board() -> None:
            async with RenodeEngine(image, pool=pool) as engine:
                await (await engine.board(SPEC, tmp_path / "1")).start()

        with pytest.raises(CommandError, match="a machine stays"):
            await one_board()
        async with RenodeEngine(image, pool=pool) as engine:
            await (await engine.board(SPEC, tmp_path / "2")).start()
    pool.close()
    assert len(pids(starts)) == 2


async def test_a_renode_without_an_answer_is_ended(
    starts: Path, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hil.renode.server.Renode", partial(Renode, limit_s=0.5))
    pool = RenodePool()
    async with asyncio.timeout(LIMIT_S):
        async with RenodeEngine(image, pool=pool) as engine:
            await (await engine.board(SPEC, tmp_path / "1")).start()
            os.kill(pids(starts)[-1], signal.SIGSTOP)
            with pytest.raises(RenodeError, match="gave no answer"):
                await engine.emulation.command("version")
        async with RenodeEngine(image, pool=pool) as engine:
            await (await engine.board(SPEC, tmp_path / "2")).start()
    pool.close()
    assert len(pids(starts)) == 2


SUITE = """
import pytest

@pytest.mark.asyncio
@pytest.mark.parametrize("number", range(5))
async def test_node(number, node_bench, deadline):
    limit = deadline(0.6, node_bench.nodes["air"])
    while not limit.over():
        await limit.look()
    assert node_bench.nodes["air"].boot["boot_epoch"] == 1
    assert number != 1
"""


@pytest.mark.parametrize(("workers", "expected"), [(0, {2}), (2, {2, 3})])
def test_a_run_starts_one_for_each_worker_and_after_each_failure(
    workers: int, expected: set[int], pytester: pytest.Pytester, starts: Path, image: Path
) -> None:
    pytester.makeini(
        "[pytest]\nasyncio_mode = strict\nasyncio_default_fixture_loop_scope = function\n"
    )
    pytester.makepyfile(SUITE)
    result = pytester.runpytest_subprocess(
        *("-p", "hil.plugin", "-p", "no:randomly", "-p", "no:cacheprovider", "-n", str(workers)),
        *("--engine=renode", f"--image={image}", "--hil-results=results"),
    )
    result.assert_outcomes(passed=4, failed=1)
    result.stdout.re_match_lines([r"virtual time: \d+ s in \d+ s of the host, \d\.\d\d s a second"])
    results = [json.loads(line) for line in (pytester.path / "results").read_text().splitlines()]
    # The stand-in's time is the host's.
    speeds = [test["virtual_speed"] for test in results if test.get("outcome") == "passed"]
    assert speeds == pytest.approx([1.0] * 4, abs=0.2)
    # None follows a failure that is the last of its worker.
    assert len(pids(starts)) in expected
    for pid in pids(starts):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


ENDING = """
import os, signal
import pytest

@pytest.mark.asyncio
@pytest.mark.parametrize("ends", [True, False])
async def test_node(ends, node_bench, make_master, engine):
    make_master(node_bench)
    assert node_bench.nodes["air"].boot["boot_epoch"] == 1
    if ends:
        (folder,) = engine.emulation.server.process.folder.glob("renode-*")
        os.kill(int(folder.name.removeprefix("renode-")), signal.SIGKILL)
        engine.emulation.server.process.wait(10)
"""


def test_the_test_in_which_renode_ended_says_so_once(
    pytester: pytest.Pytester, starts: Path, image: Path
) -> None:
    pytester.makeini(
        "[pytest]\nasyncio_mode = strict\nasyncio_default_fixture_loop_scope = function\n"
    )
    pytester.makepyfile(ENDING)
    result = pytester.runpytest_subprocess(
        *("-p", "hil.plugin", "-p", "no:randomly", "-p", "no:cacheprovider"),
        *("--engine=renode", f"--image={image}", "--tb=line"),
    )
    result.assert_outcomes(passed=2, errors=1)
    # The summary repeats whole messages where pytest finds itself in continuous integration.
    lines = [line for line in result.outlines if line.startswith("E ")]
    ended = [line for line in lines if "has ended by itself; the end of" in line]
    assert len(ended) == 1, result.outlines
    assert len(pids(starts)) == 2
