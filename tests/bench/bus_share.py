"""Which share of a serial line's time the gateway uses: ``tianfu-gateway run`` on a paced line.

Beside it a bare loop, which does nothing but ask and wait for t3.5: its pauses show what the
terminal and the process behind it take, which no serial port does.
"""

import contextlib
import json
import os
import select
import statistics
import struct
import subprocess
import sys
import time
import tty
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway_agent.keys import generate_signing_key
from hil.site.toml import dump_toml
from protocols.wire.modbus.timing import t35_us
from tests.unit.gateway_agent.slave import frame

from .gateway import agent, counters, profile_of
from .paced_line import BITS, Turnarounds
from .servers import on_core

BAUDRATES: Final = (9600, 19_200, 115_200)
REGISTERS: Final = 10
TURNAROUND_MS: Final = 5
_REQUEST: Final = frame(struct.pack(">BBHH", 1, 3, 0, REGISTERS))
_ANSWER: Final = 5 + 2 * REGISTERS
_LOOK_S: Final = 0.1


@dataclass(frozen=True)
class BusShare:
    """What the line counted, of the gateway and of a bare loop before it."""

    gateway: Turnarounds
    bare: Turnarounds

    @property
    def terminal_us(self) -> float:
        """Return what the bare loop needed beside t3.5 where nothing else kept it from the CPU."""
        return statistics.quantiles(self.bare.excess_us, n=10)[0]

    @property
    def share(self) -> float:
        """Return the polls made, of those that were possible."""
        return self.gateway.share(self.terminal_us)

    @property
    def excess_us(self) -> float:
        """Return the gateway's pause beyond t3.5, median, with what the terminal takes."""
        return statistics.median(self.gateway.excess_us)


class _Line:
    """The process of a line; ``found`` is what it counted, once it has ended."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.port = process.stdout.readline().strip()
        self.found = Turnarounds()


@contextlib.contextmanager
def _line(baudrate: int) -> Iterator[_Line]:
    program = [sys.executable, "-m", "tests.bench.paced_line"]
    arguments = [str(baudrate), str(REGISTERS), str(TURNAROUND_MS)]
    with subprocess.Popen(
        on_core(1, program + arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        line = _Line(process)
        figures = "{}"
        try:
            yield line
        finally:
            figures, _ = process.communicate()  # closes its input, which ends it
        line.found = Turnarounds(**json.loads(figures))


def _config(folder: Path, port: str, baudrate: int, mqtt: int) -> Path:
    (folder / "bench.toml").write_text(profile_of(REGISTERS))
    generate_signing_key(folder / "gateway.pem")
    device = {"name": "d", "unit": 1, "kind": "profile", "profile": "bench.toml", "period_ms": 1}
    bus = {"name": "b", "type": "rtu", "port": port, "baudrate": baudrate, "device": [device]}
    config = {
        "gateway": {"id": "bench", "state_dir": "state", "key": "gateway.pem"},
        "uplink": {"host": "127.0.0.1", "port": mqtt, "receipt": "puback"},
        "bus": [bus],
    }
    path = folder / "gateway.toml"
    path.write_text(dump_toml(config))
    return path


def _poll_bare(port: str, baudrate: int, seconds: float) -> None:
    silence_s = t35_us(baudrate, BITS) / 1e6
    end = time.monotonic() + seconds
    file = os.open(port, os.O_RDWR | os.O_NOCTTY)
    try:
        tty.setraw(file)
        while time.monotonic() < end:
            os.write(file, _REQUEST)
            came = 0
            while came < _ANSWER:
                select.select([file], [], [])
                came += len(os.read(file, _ANSWER))
            due = time.monotonic() + silence_s
            while time.monotonic() < due:
                pass
    finally:
        os.close(file)


def measure(folder: Path, baudrate: int, mqtt: int, seconds: float) -> BusShare:
    """Poll a device as fast as its line allows, first bare, then with the gateway."""
    with _line(baudrate) as bare:
        _poll_bare(bare.port, baudrate, seconds)
    with _line(baudrate) as line:
        config = _config(folder, line.port, baudrate, mqtt)
        with agent(config) as process:
            while counters(config).readings_recorded == 0:
                if process.poll() is not None:
                    raise RuntimeError(f"the agent ended: {process.communicate()[0]}")
                time.sleep(_LOOK_S)
            time.sleep(seconds)
    return BusShare(line.found, bare.found)
