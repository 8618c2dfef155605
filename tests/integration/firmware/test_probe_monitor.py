"""``tianfu-node probe`` and ``monitor`` at a bus with a real node process on it."""

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from boards.cli import app
from tests.integration.firmware.node_process import KEY, UID, Cable, NodeProcess

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The bus of one running node, which all tests here only read."""
    cable = Cable()
    with NodeProcess(tmp_path_factory.mktemp("node"), cable.node_end, "water") as node:
        node.start()
        yield cable.master_end
    cable.close()


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, [*words, "--baud", "115200"])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout


def test_probe_finds_the_node_at_its_address(port: str) -> None:
    status, text = run("probe", "--port", port, "--units", "1-2", "--json")
    assert status == 0, text
    (look,) = json.loads(text)["looks"]
    (found,) = look["found"]
    assert (found["kind"], found["unit"], found["role"]) == ("node", 1, "water")
    assert (found["uid"], found["key_id"], found["signed_writes"]) == (UID.hex(), 5, True)
    assert found["sample"].startswith("1/"), "the boot epoch of a new node"


def test_monitor_prints_samples_as_lines_in_a_pipe(port: str) -> None:
    status, text = run("monitor", "1", "--port", port, "--every", "0.1", "--count", "2")
    assert status == 0, text
    first, second = text.splitlines()
    assert "\x1b" not in text
    assert first.startswith("1/")
    assert "ph " in first
    assert int(second.split()[0].split("/")[1]) > int(first.split()[0].split("/")[1])


def test_monitor_shows_the_frames_of_its_bus(port: str) -> None:
    words = ("monitor", "1", "--port", port, "--every", "0.1", "--count", "1", "--bus", "--json")
    status, text = run(*words)
    assert status == 0, text
    lines = [json.loads(line) for line in text.splitlines()]
    frames = [line for line in lines if "kind" in line]
    # The identification in two parts, then the sample frame: each asked and answered.
    assert [frame["kind"] for frame in frames[:4]] == ["request", "answer"] * 2
    assert [frame["function"] for frame in frames[:4]] == [0x2B] * 4
    sample = next(frame for frame in frames if frame["function"] == 4)
    assert (sample["unit"], sample["address"], sample["name"]) == (1, 0, "read input registers")
    (reading,) = [line for line in lines if "points" in line]
    assert set(reading["points"]) == {"distance", "temperature", "ph", "turbidity_ntu"}


def test_monitor_names_an_address_where_nobody_is(port: str) -> None:
    status, _ = run("monitor", "9", "--port", port, "--count", "1")
    assert status == 1


def test_a_bus_is_only_listened_to(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What another master and a node say is printed; nothing is sent."""
    near, far = os.openpty()
    tty.setraw(far)
    ended = threading.Event()
    request = bytes.fromhex("0104001000027 00e".replace(" ", ""))

    def talk() -> None:
        while not ended.wait(0.05):
            os.write(near, request)

    thread = threading.Thread(target=talk)
    thread.start()
    try:
        status, text = run("monitor", "--bus", "--port", os.ttyname(far), "--count", "1")
        os.set_blocking(near, False)
        with pytest.raises(BlockingIOError):
            os.read(near, 1)
    finally:
        ended.set()
        thread.join()
        os.close(near)
        os.close(far)
    assert status == 0
    assert "request   unit 1 read input registers 16..17" in text


def test_monitor_without_a_node_or_a_bus_is_a_wrong_command() -> None:
    assert run("monitor", "--port", "/dev/none")[0] == 2


def test_recover_restarts_a_node_over_its_bus(tmp_path: Path) -> None:
    key = tmp_path / "key.json"
    key.touch(0o600)
    key.write_text(json.dumps({"key_id": 5, "key": KEY.hex()}))
    cable = Cable()
    try:
        with NodeProcess(tmp_path, cable.node_end, "air") as node:
            node.start()
            words = ("recover", "--bus-port", cable.master_end, "--port", "/dev/none")
            status, text = run(*words, "--unit", "1", "--key", str(key), "--json")
    finally:
        cable.close()
    assert status == 0, text
    (rung,) = json.loads(text)["rungs"]
    assert rung["rung"] == "soft reset over the bus"
    assert "restarted and samples, boot 2" in rung["text"]


def test_the_chart_on_a_terminal_without_colour_ends_with_ctrl_c(port: str) -> None:
    terminal, child_side = os.openpty()
    command = [str(Path(sys.executable).parent / "tianfu-node"), "monitor", "1", "--port", port]
    # What a shell starts in the background ignores SIGINT, and so would what it starts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [*command, "--baud", "115200", "--every", "0.1"],
        stdin=child_side,
        stdout=child_side,
        stderr=child_side,
        env={**os.environ, "NO_COLOR": "1", "TERM": "xterm", "COLUMNS": "80"},
    )
    signal.signal(signal.SIGINT, before)
    os.close(child_side)
    came = b""
    deadline = time.monotonic() + 60
    try:
        while b"3 samples" not in came:
            assert time.monotonic() < deadline, came
            if select.select([terminal], [], [], 0.1)[0]:
                came += os.read(terminal, 65536)
        process.send_signal(signal.SIGINT)
        # A terminal goes on showing what it gets: else the process would wait for it for ever.
        while process.poll() is None:
            assert time.monotonic() < deadline, came
            if select.select([terminal], [], [], 0.1)[0]:
                with contextlib.suppress(OSError):  # EIO: the process has closed its side
                    came += os.read(terminal, 65536)
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
    text = came.decode()
    assert "turbidity_ntu" in text
    assert re.search(r"\x1b\[[\d;]*3\d", text) is None, "NO_COLOR"
