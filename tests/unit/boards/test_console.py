"""The console: lines of JSON in plain words, the prompt as it comes, keys that do what is said."""

import os
import pty
import select
import subprocess
import sys
import time
import tty
from pathlib import Path

import pytest

from boards.console import ConsoleReader

BOOT = (
    b'{"boot_epoch": 3, "role": "air", "mem_alloc": 37888, "mem_free": 71680, "store": "flash", '
    b'"reset_cause": 2, "config": "ab12"}\r\n'
)
TALK = b"MPY: soft reboot\r\n" + BOOT + b'{"failure": "x: boom"}\r\n>>> 1+1\r\n2\r\n>>> '
SHOWN = (
    "MPY: soft reboot\r\n"
    "* air node runs, boot 3, restarted by the watchdog, memory 37 KiB used, 70 KiB free\r\n"
    "* THE APPLICATION ENDED: x: boom; a restart follows\r\n"
    ">>> 1+1\r\n2\r\n>>> "
)


@pytest.mark.parametrize("piece", [1, 2, 7, 1000])
def test_lines_are_put_into_words_however_they_come(piece: int) -> None:
    reader = ConsoleReader()
    shown = "".join(reader.feed(TALK[at : at + piece]) for at in range(0, len(TALK), piece))
    assert shown == SHOWN


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b'{"error": "no record board"}\n', "* NOT A NODE YET: no record board; it waits at"),
        (b'{"warning": "no key"}\n', "* WARNING: no key"),
        (b'{"last_fault": "stack", "text": "t", "uptime_ms": 5}\n', "ended by: stack (t)"),
        (b'{"store": "volatile", "boot_epoch": 1, "role": "air"}\n', "ITS FLASH TAKES NOTHING"),
        (b'{"new": 1}\n', '* {"new": 1}'),
        (b"{not json\n", "{not json\n"),
        (b"{" + b"x" * 5000, "xxx"),
    ],
)
def test_each_line_is_shown(line: bytes, shown: str) -> None:
    assert shown in ConsoleReader().feed(line)


def test_raw_shows_everything_as_it_comes() -> None:
    assert ConsoleReader(raw=True).feed(BOOT).encode() == BOOT


def test_keys_reach_the_node_and_the_exit_key_leaves(tmp_path: Path) -> None:
    """The command in a terminal of its own, and a node's end of the cable."""
    node, port = pty.openpty()
    tty.setraw(port)
    command = [str(Path(sys.executable).parent / "tianfu-node"), "console", os.ttyname(port)]
    terminal, child_side = pty.openpty()
    process = subprocess.Popen(
        command, stdin=child_side, stdout=child_side, stderr=child_side, start_new_session=True
    )
    os.close(child_side)
    try:
        assert b"Ctrl-] leaves" in read_until(terminal, b"everything\r\n")
        os.write(node, BOOT)
        read_until(terminal, b"air node runs")
        os.write(terminal, b"\x03")
        assert read_until(node, b"\x03") == b"\x03", "Ctrl-C is the node's"
        os.write(terminal, b"\x12")
        os.write(terminal, b"p")
        assert read_until(node, b"p") == b"p"
        os.write(node, BOOT)
        read_until(terminal, b'"mem_alloc"')
        os.write(terminal, b"\x1d")
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        for end in (node, port, terminal):
            os.close(end)


def read_until(end: int, wanted: bytes, limit_s: float = 30) -> bytes:
    """Read until what is wanted came."""
    came = b""
    deadline = time.monotonic() + limit_s
    while wanted not in came:
        assert time.monotonic() < deadline, came
        if select.select([end], [], [], 0.1)[0]:
            came += os.read(end, 4096)
    return came
