"""Ten million readings through gateway and collector: memory and open files stay as they are.

As fast as the machine can: a year of a small site. The processes are looked at from outside, by the
kernel's count, again and again in the second half. The first half is a warm-up: the collector seals
its first segment of the archive in it, which takes 4 MiB once.
"""

import asyncio
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from gateway_agent.status_socket import read_status
from hil.site.mosquitto import MosquittoBroker
from tests.bench.delivered import Load, running_site, write_site
from tests.bench.process import resident_mib
from tests.bench.servers import modbus_servers

pytestmark = [pytest.mark.exhaustive, pytest.mark.mosquitto, pytest.mark.timeout(3600)]

READINGS: Final = 10_000_000
WARM_UP: Final = READINGS // 2
STEP: Final = 500_000
#: Between the means of the first and the second half of the looks, which are 2.5 million readings
#: apart, so 0.6 bytes a reading: a look may find a batch in memory or none.
SLACK_MIB: Final = 1.5
SLACK_FILES: Final = 2
_BUSES: Final = 16


class Look(NamedTuple):
    """What a process holds at a moment."""

    mib: float
    files: int


def look(pid: int) -> Look:
    return Look(resident_mib(pid), len(list(Path(f"/proc/{pid}/fd").iterdir())))


async def test_memory_and_open_files_are_flat_over_ten_million_readings(
    broker: MosquittoBroker, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    load = Load(registers=100, units=10, period_ms=250)
    with modbus_servers(4, load.registers, on_second_core=False) as ports:
        site = write_site(tmp_path, load, (ports * _BUSES)[:_BUSES], broker.port)
        with running_site(site) as running:
            assert running.collector is not None
            pids = {"gateway": running.gateway.pid, "collector": running.collector.pid}
            looks: dict[str, list[Look]] = {name: [] for name in pids}
            begin = time.monotonic()
            for count in range(WARM_UP + STEP, READINGS + 1, STEP):
                while await asyncio.to_thread(site.stored) < count:
                    assert running.gateway.poll() is None
                    assert running.collector.poll() is None
                    await asyncio.sleep(1)
                for name, pid in pids.items():
                    looks[name].append(look(pid))
            seconds = time.monotonic() - begin
            books = read_status(tmp_path / "state").reconciliation
    record_property("seconds", seconds)
    for name, found in looks.items():
        record_property(name, found)
    assert books is not None
    assert books.unaccounted == 0, books
    for name, found in looks.items():
        mib, half = [one.mib for one in found], len(found) // 2
        grown = statistics.mean(mib[half:]) - statistics.mean(mib[:half])
        assert grown <= SLACK_MIB, (name, found)
        assert max(one.files for one in found) <= found[0].files + SLACK_FILES, (name, found)
