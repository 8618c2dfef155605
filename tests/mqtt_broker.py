"""A real mosquitto for tests: on a free loopback port, to be killed, emptied and started again.

Tests that use it are marked ``@pytest.mark.mosquitto``; tests/conftest.py skips or fails them where
the broker is not installed.
"""

import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

STARTED_S = 10.0


class MosquittoBroker:
    """``with MosquittoBroker(path, directory) as broker: broker.port``; keeps nothing on disk
    unless ``persistent``. ``extra`` are lines of mosquitto.conf."""

    def __init__(
        self, executable: Path, directory: Path, extra: str = "", persistent: bool = False
    ) -> None:
        self._executable = executable
        self._directory = directory
        self._extra = extra
        self._persistent = persistent
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def log(self) -> str:
        """What it has logged."""
        return (self._directory / "log").read_text()

    def start(self) -> None:
        """Start, on the same port as before if it ran before."""
        for _ in range(20):
            fixed = bool(self.port)
            if not fixed:
                self.port = _free_port()
            self._spawn()
            if self._ready():
                return
            self.kill()
            if not fixed:
                self.port = 0  # somebody was faster: another one
        raise AssertionError(f"mosquitto does not start:\n{self.log}")

    def kill(self) -> None:
        """SIGKILL: what it held in memory is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def wipe(self) -> None:
        """Remove what it kept on disk; call it while it is down."""
        assert self._process is None
        shutil.rmtree(self._directory / "store", ignore_errors=True)

    def restart(self, wipe: bool = True) -> None:
        """Kill, forget everything (unless ``wipe`` is false), start on the same port."""
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
            + "user root\nlog_type all\n"
        )
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._executable, "-c", config], stdout=log, stderr=subprocess.STDOUT
            )

    def _ready(self) -> bool:
        assert self._process is not None
        deadline = time.monotonic() + STARTED_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.02)
            else:
                # Another program could have taken the port: ours must still be alive.
                return self._process.poll() is None
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
