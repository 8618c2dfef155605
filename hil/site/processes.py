"""The processes of a site, gateway and collector: started, killed and started again."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import deque
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Final

from gateway_agent.status import Status
from gateway_agent.status_socket import StatusError, read_status
from hil.errors import ProcessError
from hil.lifeline import bound

_START_S: Final = 20.0
_STOP_S: Final = 15.0
_LOOK_S: Final = 0.05
_LINES: Final = 5000
_START_MARK: Final = "--- start"
#: The gateway's command line in the interpreter that runs the bench.
_GATEWAY_CLI: Final = "from gateway_agent.__main__ import main; main()"


class SiteProcess:
    """Run one command, any number of times one after the other.

    ``lines`` holds the newest lines of its output. The process gets SIGTERM when the bench ends
    without stopping it.
    """

    def __init__(self, name: str, command: list[str], folder: Path) -> None:
        self.name = name
        self.starts = 0
        self.lines: deque[str] = deque(maxlen=_LINES)
        self._command = command
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    def is_running(self) -> bool:
        """Return True while the process runs."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """Return the id of the process that runs now. ProcessError if none does."""
        if self._process is None or self._process.returncode is not None:
            raise self.error("is not running")
        return self._process.pid

    async def ready(self) -> bool:
        """Return True once the process does its work; subclasses look."""
        return True

    async def start(self) -> None:
        """Start the command; return when it is :meth:`ready`. ProcessError."""
        if self.is_running():
            raise self.error("is running already")
        self._folder.mkdir(parents=True, exist_ok=True)
        self.lines.append(f"{_START_MARK} {self.starts + 1}: {' '.join(self._command)}")
        self._process = await asyncio.create_subprocess_exec(
            *bound(self._command, signal.SIGTERM),
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
            except ValueError:  # a line above the reader's limit: asyncio has dropped it
                continue
            if not raw:
                return
            self.lines.append(raw.decode("utf-8", "replace").rstrip())

    async def _ended(self) -> None:
        if self._reader is not None:
            await self._reader
            self._reader = None

    async def kill(self) -> None:
        """Send SIGKILL, whatever the process does now; do nothing if it does not run."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
            self.lines.append("--- killed")
        await self._ended()

    async def stop(self) -> None:
        """Send SIGTERM, then SIGKILL if that is not enough; do nothing if it does not run."""
        process = self._process
        if process is not None and process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), _STOP_S)
            except TimeoutError:
                await self.kill()
        await self._ended()

    def lines_since_start(self) -> Iterator[str]:
        """Yield what the process has printed since its last start, newest line first."""
        return takewhile(lambda line: not line.startswith(_START_MARK), reversed(self.lines))

    def log(self) -> str:
        """Return the newest output of all starts."""
        return "\n".join(self.lines) + "\n"

    def error(self, problem: str) -> ProcessError:
        """Return an error that ends with the newest lines of the output."""
        tail = "\n".join(f"    {line}" for line in list(self.lines)[-15:])
        return ProcessError(f"the {self.name} {problem}; its last output:\n{tail}")


class GatewayProcess(SiteProcess):
    """Run ``tianfu-gateway run``; :meth:`step_clock` sets its wall clock."""

    def __init__(self, config: Path, state: Path) -> None:
        self._state = state
        self._offset = config.with_name("clock-offset-ms")
        self._offset.write_text("0", encoding="utf-8")
        words = [sys.executable, "-m", "hil.site.shifted_gateway", str(self._offset)]
        super().__init__("gateway", [*words, "-v", "run", "--config", str(config)], config.parent)

    def status(self) -> Status:
        """Return the gateway's status. ProcessError if it does not answer."""
        try:
            return read_status(self._state)
        except StatusError as error:
            raise self.error(f"gives no status ({error})") from error

    async def ready(self) -> bool:
        """Return True once the gateway answers ``status``."""
        try:
            await asyncio.to_thread(self.status)
        except ProcessError:
            return False
        return True

    def step_clock(self, offset_s: float) -> None:
        """Set the gateway's wall clock off by ``offset_s`` from now on, not its monotonic time."""
        fresh = self._offset.with_suffix(".new")
        fresh.write_text(str(round(1000 * offset_s)), encoding="utf-8")
        fresh.replace(self._offset)  # the gateway never reads half a number


class CollectorProcess(SiteProcess):
    """Run ``tianfu-gateway collect``."""

    def __init__(self, config: Path) -> None:
        command = [sys.executable, "-c", _GATEWAY_CLI, "collect", "--config", str(config)]
        super().__init__("collector", command, config.parent)

    async def ready(self) -> bool:
        """Return True once the collector has subscribed at the broker."""
        return any(line.startswith("collecting from") for line in self.lines_since_start())
