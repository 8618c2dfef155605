"""Renode as a child process: found, started headless, asked for its port, ended with the bench."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

from hil.errors import RenodeError
from hil.lifeline import bound

START_LIMIT_S: Final = 60.0
STOP_LIMIT_S: Final = 10.0
_LOOK_S: Final = 0.05
_LOG_TAIL: Final = 2000
_ARGUMENTS: Final = ("--disable-xwt", "--plain", "--robot-server-port", "0")


def find_renode() -> Path:
    """Return the executable: ``RENODE`` (it may be a wrapper script), else ``renode`` in PATH."""
    named = os.environ.get("RENODE")
    found = named if named is not None else shutil.which("renode")
    if not found:
        raise RenodeError(
            "no Renode: expected the variable RENODE or `renode` in PATH. Unpack a portable "
            "release of Renode 1.16.1 or newer and set RENODE=/path/to/renode"
        )
    path = Path(shutil.which(found) or found)
    if not (path.is_file() and os.access(path, os.X_OK)):
        raise RenodeError(f"RENODE={found}: expected an executable file")
    return path.absolute()


class RenodeProcess:
    """One headless Renode. Make it in the thread that lives as long as it is to live: the kernel
    ends it with that thread.

    ``folder`` is its own temporary directory (short, for links), ``log`` what it prints, ``port``
    where its robot server listens. That server binds all interfaces, which Renode has no switch
    for: on a shared host a firewall has to keep others out.
    """

    def __init__(self, program: Path | None = None, limit_s: float = START_LIMIT_S) -> None:
        self.program = program or find_renode()
        self.folder = Path(tempfile.mkdtemp(prefix="tfr-"))
        self.log = self.folder / "renode.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                bound([str(self.program), *_ARGUMENTS]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={**os.environ, "TMPDIR": str(self.folder)},
                # A wrapper may start Renode as a child: the group is ended as one.
                start_new_session=True,
            )
        self._end = time.monotonic() + limit_s
        self._limit_s = limit_s
        self.port = 0

    def ready(self) -> bool:
        """Return True once the port is known. RenodeError if it ended, or after the limit."""
        for file in self.folder.glob("renode-*/robot_port"):
            if text := file.read_text().strip():
                self.port = int(text)
                return True
        if self._process.poll() is not None:
            raise self.error(f"ended with exit status {self._process.returncode} at its start")
        if time.monotonic() > self._end:
            raise self.error(f"named no port in renode-*/robot_port within {self._limit_s:g} s")
        return False

    def is_running(self) -> bool:
        """Return True while it lives."""
        return self._process.poll() is None

    def wait(self, limit_s: float) -> bool:
        """Return True once it has ended by itself, False if it still lives after ``limit_s``."""
        end = time.monotonic() + limit_s
        while self.is_running():
            if time.monotonic() > end:
                return False
            time.sleep(_LOOK_S)
        return True

    def tail(self) -> str:
        """Return the end of what it printed."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-_LOG_TAIL:]

    def error(self, what: str) -> RenodeError:
        """Return an error that quotes the end of the log."""
        return RenodeError(f"{self.program} {what}; the end of {self.log}:\n{self.tail()}")

    def stop(self, limit_s: float = STOP_LIMIT_S) -> None:
        """End it and everything it started; its log stays until :meth:`forget`."""
        self.wait(limit_s)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def forget(self) -> None:
        """Remove its directory."""
        shutil.rmtree(self.folder, ignore_errors=True)
