"""The gateway as its users run it: ``tianfu-gateway run`` on one core, all else on another.

What is counted comes from the agent's own status socket, what it costs from the kernel
(``/proc/PID``). Signing and ``synchronous = FULL`` are always on; there is no switch for them.
"""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway_agent.counters import Counters
from gateway_agent.keys import generate_signing_key
from gateway_agent.status_socket import StatusError, read_status
from hil.site.toml import dump_toml

from .process import cpu_seconds, resident_mib
from .servers import on_core

_DEADLINE_S: Final = 20.0
_LOOK_S: Final = 0.1
_NO_BYTE_CODE: Final = "PYTHONDONTWRITEBYTECODE"  # a package brings byte code, so it is written


def command() -> Path:
    """Return the ``tianfu-gateway`` beside this interpreter."""
    return Path(sys.executable).with_name("tianfu-gateway")


def profile_of(registers: int) -> str:
    """Return a profile of registers with a tenth as unit and bounds, as sensors have them."""
    points = [
        {
            "name": f"p{index}",
            "unit": "Cel",
            "table": "holding",
            "register": index,
            "type": "u16",
            "exp10": -1,
            "low": 0,
            "high": 6553.5,
            "what": f"register {index}",
        }
        for index in range(registers)
    ]
    source = "tests/bench/modbus_server.py"
    about = {"name": "bench", "title": "bench", "source": source}
    return dump_toml({"profile": about, "point": points})


def write_config(
    directory: Path, profile: str, modbus_ports: Sequence[int], mqtt_port: int, period_ms: int
) -> Path:
    """Write a gateway with one bus per port and one device on each, and its profile."""
    (directory / "bench.toml").write_text(profile)
    generate_signing_key(directory / "gateway.pem")
    device = {"unit": 1, "kind": "profile", "profile": "bench.toml", "period_ms": period_ms}
    config = {
        "gateway": {"id": "bench", "state_dir": "state", "key": "gateway.pem"},
        "uplink": {"host": "127.0.0.1", "port": mqtt_port, "receipt": "puback"},
        "bus": [
            {
                "name": f"b{index}",
                "type": "tcp",
                "host": "127.0.0.1",
                "port": port,
                "device": [{"name": f"d{index}", **device}],
            }
            for index, port in enumerate(modbus_ports)
        ],
    }
    path = directory / "gateway.toml"
    path.write_text(dump_toml(config))
    return path


@contextlib.contextmanager
def agent(config: Path) -> Iterator[subprocess.Popen[str]]:
    """Run an agent; it gets SIGTERM at the end."""
    with subprocess.Popen(
        on_core(0, [str(command()), "run", "--config", str(config)]),
        env={name: value for name, value in os.environ.items() if name != _NO_BYTE_CODE},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.communicate(timeout=_DEADLINE_S)


def counters(config: Path) -> Counters:
    """Return the agent's counters, read from its status socket; try until it is up."""
    deadline = time.monotonic() + _DEADLINE_S
    while True:
        try:
            return read_status(config.parent / "state").counters
        except StatusError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_LOOK_S)


@dataclass(frozen=True)
class Recording:
    """The figures of a loaded agent in one run."""

    readings_per_s: float
    cpu_s_per_million: float


def measure(
    directory: Path,
    profile: str,
    ports: Sequence[int],
    mqtt: int,
    seconds: float,
    period_ms: int = 1,
) -> Recording:
    """Poll all servers for ``seconds`` after a warm-up of one; with 1 ms as fast as it can."""
    config = write_config(directory, profile, ports, mqtt, period_ms)
    with agent(config) as process:
        while counters(config).readings_recorded == 0:
            if process.poll() is not None:
                raise RuntimeError(f"the agent ended: {process.stdout and process.stdout.read()}")
            time.sleep(_LOOK_S)
        time.sleep(1.0)
        before, start, cpu = counters(config), time.monotonic(), cpu_seconds(process.pid)
        time.sleep(seconds)
        after, end, cpu_end = counters(config), time.monotonic(), cpu_seconds(process.pid)
        recorded = after.readings_recorded - before.readings_recorded
        return Recording(
            recorded / (end - start),
            (cpu_end - cpu) / recorded * 1e6,
        )


def first_poll_s(directory: Path, mqtt_port: int) -> float:
    """Return the seconds from starting ``tianfu-gateway run`` to its first request."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(_DEADLINE_S)
        port = server.getsockname()[1]
        config = write_config(directory, profile_of(10), [port], mqtt_port, period_ms=1000)
        start = time.monotonic()
        with agent(config):
            connection, _ = server.accept()
            with connection:
                connection.settimeout(_DEADLINE_S)
                if not connection.recv(1):
                    raise ConnectionError("the agent closed the connection")
                return time.monotonic() - start


def rest_mib(directory: Path, mqtt_port: int, seconds: float, console: bool) -> float:
    """Return the memory of a gateway that asks one device each 5 s, after ``seconds``, in MiB.

    One is started before it, so that all byte code is written, as the package brings it: a gateway
    that compiles its own modules keeps up to 5 MiB more.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        config = write_config(directory, profile_of(10), [port], mqtt_port, period_ms=5000)
        if console:
            config.write_text(config.read_text() + '\n[web]\nlisten = "127.0.0.1:0"\n')
        with agent(config):
            counters(config)
        with agent(config) as process:
            counters(config)
            time.sleep(seconds)
            return resident_mib(process.pid)
