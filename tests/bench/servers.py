"""The processes a gateway benchmark talks to: Modbus servers and a broker, on loopback."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from hil.site.mosquitto import MosquittoBroker
from hil.tools import TOOLS


def on_core(core: int, command: list[str]) -> list[str]:
    """Return ``command`` kept on one core, if there are two (``taskset`` of util-linux)."""
    if (os.cpu_count() or 1) < 2 or shutil.which("taskset") is None:
        return command
    return ["taskset", "-c", str(core), *command]


@contextlib.contextmanager
def modbus_servers(
    count: int, registers: int | str, on_second_core: bool = True
) -> Iterator[list[int]]:
    """Run ``count`` server processes; yields their ports.

    ``registers``: how many, or "mixed" for the device of :mod:`.mixed`.
    """
    command = [sys.executable, "-m", "tests.bench.modbus_server", str(registers)]
    if on_second_core:
        command = on_core(1, command)
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    try:
        ports = []
        for process in processes:
            assert process.stdout is not None
            ports.append(int(process.stdout.readline()))
        yield ports
    finally:
        for process in processes:
            process.communicate()  # closes its input, which ends it


@contextlib.contextmanager
def broker_of(directory: Path, launcher: Sequence[str] = ()) -> Iterator[MosquittoBroker]:
    """Run a mosquitto that keeps its files there; FileNotFoundError without one."""
    program = TOOLS["mosquitto"].find()
    if program is None:
        raise FileNotFoundError(f"mosquitto is not installed: {TOOLS['mosquitto'].remedy}")
    with MosquittoBroker(
        program,
        directory / "broker",
        "max_queued_messages 0",
        log_type="none",
        launcher=launcher,
    ) as broker:
        yield broker


@contextlib.contextmanager
def mosquitto(directory: Path) -> Iterator[int]:
    """Run a mosquitto on the second core; yields its port. FileNotFoundError without one."""
    with broker_of(directory, on_core(1, [])) as broker:
        yield broker.port
