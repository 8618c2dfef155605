"""A real mosquitto on a free loopback port: killed, emptied and started again, here and in tests.

Tests that use it are marked ``@pytest.mark.mosquitto``; tests/conftest.py skips or fails them where
the broker is not installed.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from hil.errors import ProcessError

_START_S: Final = 10.0
_LOOK_S: Final = 0.02
_PORT_TRIES: Final = 20


class MosquittoBroker:
    """Run mosquitto: ``with MosquittoBroker(executable, directory) as broker: broker.port``.

    It keeps nothing on disk unless ``persistent``. ``extra`` are lines of mosquitto.conf,
    ``log_type`` is its option of that name, and ``launcher`` are words before the command, such as
    ``taskset``.
    """

    def __init__(
        self,
        executable: Path,
        directory: Path,
        extra: str = "",
        persistent: bool = False,
        *,
        log_type: str = "all",
        launcher: Sequence[str] = (),
    ) -> None:
        self._command = [*launcher, str(executable)]
        self._directory = directory
        self._extra = extra
        self._persistent = persistent
        self._log_type = log_type
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def log(self) -> str:
        """Return what the broker has logged."""
        return (self._directory / "log").read_text(encoding="utf-8", errors="replace")

    def start(self) -> None:
        """Start on the port it had before, or on a free one. ProcessError."""
        self._directory.mkdir(parents=True, exist_ok=True)
        fixed = self.port
        for _ in range(_PORT_TRIES):
            self.port = fixed or _free_port()
            self._spawn()
            if self._ready():
                return
            # Another program may have the port: a new one, or the old one for a moment.
            self.kill()
        self.port = fixed
        raise ProcessError(f"mosquitto does not start; its log:\n{self.log}")

    def kill(self) -> None:
        """Send SIGKILL: what the broker held in memory is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def send_signal(self, number: int) -> None:
        """Send a signal to the running broker."""
        assert self._process is not None
        self._process.send_signal(number)

    def wipe(self) -> None:
        """Remove what the broker kept on disk. It must not run."""
        assert self._process is None
        shutil.rmtree(self._directory / "store", ignore_errors=True)

    def restart(self, wipe: bool = True) -> None:
        """Kill the broker, remove what it kept if ``wipe``, start it on the same port."""
        self.kill()
        if wipe:
            self.wipe()
        self.start()

    def _spawn(self) -> None:
        store = self._directory / "store"
        store.mkdir(exist_ok=True)
        config = self._directory / "mosquitto.conf"
        config.write_text(
            f"listener {self.port} 127.0.0.1\n{self._extra}\n"
            + ("" if "allow_anonymous" in self._extra else "allow_anonymous true\n")
            + f"persistence {'true' if self._persistent else 'false'}\n"
            + f"persistence_location {store}/\n"
            + f"user root\nlog_type {self._log_type}\n",
            encoding="utf-8",
        )
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._command, "-c", str(config)], stdout=log, stderr=subprocess.STDOUT
            )

    def _ready(self) -> bool:
        assert self._process is not None
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(_LOOK_S)
            else:
                # Another program could have taken the port: this process must still run.
                return self._process.poll() is None
        return False


class MosquittoForSite:
    """Start and stop a :class:`MosquittoBroker` without holding up the event loop."""

    def __init__(self, broker: MosquittoBroker) -> None:
        self._broker = broker

    @property
    def port(self) -> int:
        """Return the port the broker listens on; 0 before its first start."""
        return self._broker.port

    async def start(self) -> None:
        """Start it, empty. ProcessError."""
        await asyncio.to_thread(self._broker.start)

    async def stop(self) -> None:
        """Kill it: it loses every connection and every message."""
        await asyncio.to_thread(self._broker.kill)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
