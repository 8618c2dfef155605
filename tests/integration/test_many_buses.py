"""A gateway of two thousand TCP devices, each with a connection of its own, in one process."""

import asyncio
import signal
import struct
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import pytest

from gateway_agent.keys import generate_signing_key
from gateway_agent.status_socket import read_status
from hil.site.toml import dump_toml
from tests.paths import ROOT
from tests.promise.site import COMMAND, until
from tests.unit.gateway_agent.slave import Reply, TcpSlave, mbap

DEVICES: Final = 2000
UNITS: Final = 200  # ten devices have each unit id
PERIOD_MS: Final = 5000
MOST_KB: Final = 60_000 + 30 * DEVICES  # what a gateway of one device has, and 30 KB for each
PROFILE: Final = """
[profile]
name = "one"
title = "one register"
source = "this test"
[[point]]
name = "v"
register = 0
type = "u16"
"""


def resident_kb(pid: int) -> int:
    """The most memory that a process has had."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


@pytest.mark.timeout(240)
async def test_two_thousand_devices_in_one_process(tmp_path: Path) -> None:
    """Started with the soft limit of open files that systemd gives, 1024."""
    served: Counter[int] = Counter()

    def answer(segment: bytes) -> Iterable[Reply]:
        tid, unit = struct.unpack(">H", segment[:2])[0], segment[6]
        served[unit] += 1
        yield 0.0, mbap(tid, unit, struct.pack(">BBH", segment[7], 2, unit))

    slave = TcpSlave(answer)
    await slave.start()
    (tmp_path / "one.toml").write_text(PROFILE, encoding="utf-8")
    generate_signing_key(tmp_path / "gateway.pem")
    device = {"kind": "profile", "profile": "one.toml", "period_ms": PERIOD_MS}
    bus = {"type": "tcp", "host": "127.0.0.1", "port": slave.port, "timeout_ms": 10_000}
    config = {
        "gateway": {"id": "gw-1", "state_dir": "state", "key": "gateway.pem"},
        "uplink": {"host": "127.0.0.1", "port": 9, "receipt": "puback"},
        "bus": [
            {
                "name": f"b{at}",
                **bus,
                "device": [{"name": f"d{at}", "unit": at % UNITS + 1, **device}],
            }
            for at in range(DEVICES)
        ],
    }
    path = tmp_path / "gateway.toml"
    path.write_text(dump_toml(config), encoding="utf-8")
    agent = await asyncio.create_subprocess_exec(
        "prlimit", "--nofile=1024:4096", *COMMAND, "run", "--config", str(path),
        cwd=ROOT, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip

    try:
        each_twice = 2 * DEVICES // UNITS
        await until(
            lambda: len(served) == UNITS and min(served.values()) >= each_twice, "answers", 180
        )
        status = read_status(tmp_path / "state")
        assert len(status.nodes) == DEVICES
        assert status.reconciliation is not None
        assert status.reconciliation.unaccounted == 0
        assert not status.counters.poll_errors
        assert resident_kb(agent.pid) <= MOST_KB
        agent.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(agent.wait(), 60) == 0
    finally:
        if agent.returncode is None:
            agent.kill()
            await agent.wait()
        await slave.close()
