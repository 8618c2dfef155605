"""The processes a gateway benchmark talks to: Modbus servers and a broker, on loopback."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from hil.tools import TOOLS

_DEADLINE_S = 10.0


def on_core(core: int, command: list[str]) -> list[str]:
    """``command``, kept on one core if the machine has more than one (util-linux ``taskset``)."""
    if (os.cpu_count() or 1) < 2 or shutil.which("taskset") is None:
        return command
    return ["taskset", "-c", str(core), *command]


@contextlib.contextmanager
def modbus_servers(count: int, registers: int) -> Iterator[list[int]]:
    """``count`` server processes on the second core; yields their ports."""
    command = on_core(1, [sys.executable, "-m", "tests.bench.modbus_server", str(registers)])
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
def mosquitto(directory: Path) -> Iterator[int]:
    """A mosquitto on a free loopback port; FileNotFoundError if none is installed."""
    program = TOOLS["mosquitto"].find()
    if program is None:
        raise FileNotFoundError(f"mosquitto is not installed: {TOOLS['mosquitto'].remedy}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = directory / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n")
    with subprocess.Popen(
        on_core(1, [str(program), "-c", str(config)]),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            deadline = time.monotonic() + _DEADLINE_S
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except ConnectionRefusedError:
                    if time.monotonic() > deadline:
                        raise
            yield port
        finally:
            process.terminate()
