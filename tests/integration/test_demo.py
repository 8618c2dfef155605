"""The demo as a user starts it: a fresh process, real nodes, all the way to the database."""

from __future__ import annotations

import fcntl
import json
import os
import re
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-c", "from gateway_agent.__main__ import main; main()", "demo"]
LIMIT_S = 100
# A busy machine is not a failure; what hangs ends by LIMIT_S, with a better message.
pytestmark = pytest.mark.timeout(120)


def check(figures: dict[str, object]) -> None:
    """Check what holds of every run that ended in order."""
    recorded = figures["readings_recorded"]
    assert isinstance(recorded, int)
    assert recorded > 0
    assert figures["readings_delivered"] == recorded
    assert figures["readings_verified"] == recorded
    assert figures["gaps_unexplained"] == 0
    assert figures["in_flight"] == 0
    for name in ("bad_signatures", "node_tag_failures", "records_refused"):
        assert figures[name] == 0
    if not figures["gaps"]:
        assert figures["readings_sampled"] == recorded
        assert figures["samples_taken"] == figures["samples_verified"]
    by_role = figures["readings_verified_by_role"]
    assert isinstance(by_role, dict)
    assert sorted(by_role) == ["air", "camera", "water"]
    assert sum(by_role.values()) == recorded
    assert min(by_role.values()) > 0


def nodes_of(folder: Path) -> list[str]:
    """Return the processes whose command line names the run's folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if str(folder) in line:
                found.append(line)
    return found


def test_demo_ends_by_itself_with_every_reading_accounted_for(tmp_path: Path) -> None:
    keep = tmp_path / "run"
    done = subprocess.run(
        [*COMMAND, "--duration", "8", "--json", "--seed", "3", "--keep", str(keep)],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    check(figures)
    # About eight samples of each node, of which the camera's first wait for its warm-up.
    assert min(figures["samples_taken"].values()) >= 5
    motion = figures["motion"]
    assert motion["problem"] == ""
    # An event is pushed when it happens; the rest is what a busy machine adds.
    assert 0 <= motion["event_ms"] <= 1000
    picture = (keep / "picture.jpg").read_bytes()
    assert picture.startswith(b"\xff\xd8")
    assert len(picture) == motion["picture_bytes"]
    assert "readings recorded" in done.stderr
    assert "Traceback" not in done.stderr
    assert nodes_of(keep) == []
    assert (keep / "collector/collector.db").exists()
    for key in (keep / "keys").glob("*.json"):
        assert key.stat().st_mode & 0o077 == 0

    again = subprocess.run(
        [*COMMAND, "--duration", "8", "--keep", str(keep)],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert again.returncode == 1
    assert "expected an empty folder" in again.stderr


def test_ctrl_c_in_a_terminal_ends_in_order(tmp_path: Path) -> None:
    keep = tmp_path / "run"
    near, far = os.openpty()
    fcntl.ioctl(far, termios.TIOCSWINSZ, b"\x28\x00\x78\x00\x00\x00\x00\x00")  # 40 x 120
    process = subprocess.Popen(
        # setsid gives the process the terminal, whose Ctrl-C then goes to it.
        ["setsid", "--ctty", *COMMAND, "--duration", "600", "--json", "--keep", str(keep)],
        stdin=far,
        stdout=far,
        stderr=far,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(far)
    try:
        shown = read_until(near, process, r"receipted to \d\d")  # samples of all nodes
        assert "air-1" in shown
        assert "camera-1" in shown
        os.write(near, b"\x03")
        shown += read_to_end(near, process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()
        os.close(near)
    assert process.returncode == 0, shown[-2000:]
    assert "Traceback" not in shown
    last = shown.rstrip().splitlines()[-1]
    check(json.loads(last[last.index("{") :]))  # before it stands what gives the cursor back
    assert nodes_of(keep) == []


def test_demo_that_is_killed_leaves_no_process_behind(tmp_path: Path) -> None:
    keep = tmp_path / "run"
    with subprocess.Popen(
        [*COMMAND, "--duration", "600", "--json", "--keep", str(keep)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        # The first line of progress comes when everything runs.
        assert "polls" in process.stderr.readline()
        assert len(nodes_of(keep)) == 5  # itself, three nodes, the collector
        process.kill()
    deadline = time.monotonic() + LIMIT_S / 2
    while left := nodes_of(keep):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def read_until(fd: int, process: subprocess.Popen[bytes], pattern: str) -> str:
    shown = ""
    deadline = time.monotonic() + LIMIT_S / 2
    while not re.search(pattern, shown):
        assert time.monotonic() < deadline, f"no {pattern!r} on the screen: {shown[-2000:]}"
        assert process.poll() is None, shown
        if select.select([fd], [], [], 0.5)[0]:
            try:
                shown += os.read(fd, 65536).decode("utf-8", "replace")
            except OSError:  # EIO: it has ended
                pytest.fail(f"ended before {pattern!r} was on the screen: {shown[-2000:]}")
    return shown


def read_to_end(fd: int, process: subprocess.Popen[bytes]) -> str:
    shown = ""
    deadline = time.monotonic() + LIMIT_S / 2
    while time.monotonic() < deadline:
        if not select.select([fd], [], [], 0.2)[0]:
            if process.poll() is not None:
                break
            continue
        try:
            shown += os.read(fd, 65536).decode("utf-8", "replace")
        except OSError:  # EIO: the other end is closed
            break
    process.wait(timeout=LIMIT_S / 4)
    return shown


def test_help_names_every_option() -> None:
    done = subprocess.run(
        [*COMMAND, "--help"], capture_output=True, text=True, timeout=LIMIT_S, check=True
    )
    for option in ("--duration", "--json", "--seed", "--keep"):
        assert option in done.stdout


@pytest.mark.parametrize("arguments", [["--duration", "1"], ["--duration", "soon"]])
def test_wrong_usage_names_the_option(arguments: list[str]) -> None:
    done = subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 2
    assert "--duration" in done.stderr
