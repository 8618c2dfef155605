"""A gateway and a collector stop in time while names that no server resolves keep threads busy."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway_agent import threads
from gateway_agent.keys import generate_signing_key, public_path

from .test_agent import write_site

STOP_S = 10.0  # what `run` promises
HANGING = """
import os, socket, sys, time
from pathlib import Path
resolve = socket.getaddrinfo
def hanging(host, *more, **named):
    if host is not None and str(host).endswith(".invalid"):
        os.write(1, host.encode() + b"\\n")
        time.sleep(60)
    return resolve(host, *more, **named)
socket.getaddrinfo = hanging
"""
GATEWAY = HANGING + "from gateway_agent.service import run\nrun(Path(sys.argv[1]))\n"
COLLECTOR = HANGING + "from gateway_agent.collector.process import run\nrun(Path(sys.argv[1]))\n"


def gateway(folder: Path) -> Path:
    """More buses with hanging names than asyncio's pool has threads, and such a broker."""
    path = write_site(folder, 502)
    head, bus = path.read_text().split("[[bus]]")
    head = head.replace('host = "127.0.0.1"', 'host = "broker.invalid"')
    buses = (
        bus.replace('"plant"', f'"plant{number}"')
        .replace('"basin"', f'"basin{number}"')
        .replace('"127.0.0.1"', f'"meter{number}.invalid"')
        for number in range(40)
    )
    path.write_text(head + "".join(f"[[bus]]{text}\n" for text in buses))
    return path


def collector(folder: Path) -> Path:
    generate_signing_key(folder / "collector.pem")
    generate_signing_key(folder / "gateway.pem")
    path = folder / "collector.toml"
    path.write_text(f"""
[collector]
key = "collector.pem"
database = "collector.db"
[broker]
host = "broker.invalid"
[[gateway]]
id = "gw-1"
keys = ["{public_path(folder / "gateway.pem")}"]
""")
    return path


@pytest.mark.parametrize(
    ("script", "make", "names"),
    [(GATEWAY, gateway, 6), (COLLECTOR, collector, 1)],
    ids=["gateway", "collector"],
)
def test_it_stops_in_time(
    tmp_path: Path, script: str, make: Callable[[Path], Path], names: int
) -> None:
    program = [sys.executable, "-c", script, str(make(tmp_path))]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(names):  # these hang
            assert process.stdout.readline().endswith(".invalid\n")
        begin = time.monotonic()
        process.send_signal(signal.SIGTERM)
        try:
            assert process.wait(50) == 0
        finally:
            process.kill()
        assert time.monotonic() - begin < STOP_S


def test_results_and_errors_come_back() -> None:
    async def main() -> list[object]:
        loop = asyncio.get_running_loop()
        good, bad = loop.run_in_executor(None, int, "7"), asyncio.to_thread(int, "x")
        return [*await asyncio.gather(good, bad, return_exceptions=True)]

    good, bad = threads.run(main())
    assert good == 7
    assert isinstance(bad, ValueError)
