"""Processes of a full stack: the gateway, the broker; to be killed and started again."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections import deque
from pathlib import Path
from typing import Final

from gateway_agent.status import Status
from gateway_agent.status_socket import StatusError, read_status
from hil.errors import HilError

_START_S: Final = 20.0
_STOP_S: Final = 15.0
_LOOK_S: Final = 0.05
_LINES: Final = 5000
_PORT_TRIES: Final = 20


class ProcessError(HilError):
    """A process of the bench did not do what it was asked to; the text ends with what it said."""


class Process:
    """One command, any number of times after each other; ``lines`` is the newest of its output."""

    def __init__(self, name: str, command: list[str], folder: Path) -> None:
        self.name = name
        self.starts = 0
        self.lines: deque[str] = deque(maxlen=_LINES)
        self._command = command
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    def is_running(self) -> bool:
        """True while it lives."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """Of the process that runs now. ProcessError if none does."""
        if self._process is None or self._process.returncode is not None:
            raise self.error("is not running")
        return self._process.pid

    async def ready(self) -> bool:
        """Whether it does its work by now; subclasses look."""
        return True

    async def start(self) -> None:
        """Start; returns when it is :meth:`ready`. ProcessError."""
        if self.is_running():
            raise self.error("is running already")
        self._folder.mkdir(parents=True, exist_ok=True)
        self.lines.append(f"--- start {self.starts + 1}: {' '.join(self._command)}")
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            # Ctrl-C in the terminal is for the bench, which stops its processes in order.
            start_new_session=True,
        )
        self.starts += 1
        self._reader = asyncio.create_task(self._read(self._process))
        deadline = asyncio.get_running_loop().time() + _START_S
        while not await self.ready():
            if not self.is_running():
                await self._ended()
                raise self.error(f"ended with exit status {self._process.returncode}")
            if asyncio.get_running_loop().time() > deadline:
                await self.kill()
                raise self.error(f"was not ready within {_START_S:g} s")
            await asyncio.sleep(_LOOK_S)

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while True:
            try:
                raw = await process.stdout.readline()
            except ValueError:  # a line above the reader's limit: what it held is gone
                continue
            if not raw:
                return
            self.lines.append(raw.decode("utf-8", "replace").rstrip())

    async def _ended(self) -> None:
        if self._reader is not None:
            await self._reader
            self._reader = None

    async def kill(self) -> None:
        """SIGKILL, in the middle of whatever it does; nothing if it does not run."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
            self.lines.append("--- killed")
        await self._ended()

    async def stop(self) -> int:
        """SIGTERM, then SIGKILL if that is not enough; its exit status."""
        process = self._process
        if process is None:
            return 0
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), _STOP_S)
            except TimeoutError:
                await self.kill()
        await self._ended()
        assert process.returncode is not None
        return process.returncode

    def log(self) -> str:
        """What it said, as a text."""
        return "\n".join(self.lines) + "\n"

    def error(self, what: str) -> ProcessError:
        """An error that ends with the newest lines."""
        tail = "\n".join(f"    {line}" for line in list(self.lines)[-15:])
        return ProcessError(f"{self.name} {what}; it said:\n{tail}")


class GatewayProcess(Process):
    """``tianfu-gateway run`` on ``config``; its wall clock can be set with :meth:`step_clock`."""

    def __init__(self, config: Path, state: Path) -> None:
        self._state = state
        self._offset = config.with_name("clock-offset-ms")
        self._offset.write_text("0", encoding="utf-8")
        words = [sys.executable, "-m", "hil.site.shifted_gateway", str(self._offset)]
        super().__init__("gateway", [*words, "-v", "run", "--config", str(config)], config.parent)

    def status(self) -> Status | None:
        """Return what ``tianfu-gateway status`` shows; None while the gateway does not answer."""
        try:
            return read_status(self._state)
        except StatusError:
            return None

    async def ready(self) -> bool:
        """True once it answers ``status``."""
        return await asyncio.to_thread(self.status) is not None

    def step_clock(self, offset_s: float) -> None:
        """Wall time is off by so much from now on; monotonic time goes on as it was."""
        fresh = self._offset.with_suffix(".new")
        fresh.write_text(str(round(1000 * offset_s)), encoding="utf-8")
        fresh.replace(self._offset)  # the gateway never sees half a number


class Mosquitto(Process):
    """A real broker on a free port of 127.0.0.1; it keeps nothing over a kill."""

    def __init__(self, program: Path, folder: Path) -> None:
        self.port = 0
        self._config = folder / "mosquitto.conf"
        super().__init__("mosquitto", [str(program), "-c", str(self._config)], folder)

    async def start(self) -> None:
        """Start on the port it had before, or on a free one. ProcessError."""
        if self.port:
            await super().start()
            return
        for _ in range(_PORT_TRIES):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = int(probe.getsockname()[1])
            self._folder.mkdir(parents=True, exist_ok=True)
            self._config.write_text(
                f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence false\n"
                "log_type error\nlog_type warning\nlog_type notice\n",
                encoding="utf-8",
            )
            try:
                await super().start()
            except ProcessError:
                if not any("Address already in use" in line for line in self.lines):
                    raise
            else:
                return
        raise self.error("found no free port")

    async def ready(self) -> bool:
        """True once it accepts a connection and still lives."""
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        return self.is_running()
