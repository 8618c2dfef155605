"""The whole way: gateway, broker and collector with signed receipts, until it is in the database.

What is counted comes from the collector's database, what it costs from the kernel. All processes
share the machine's cores, as on a small server that does everything. Signing, ``synchronous=FULL``
and receipts are on, as they are by default. With ``receipt = "puback"`` there is no collector and
what is counted is what the gateway has recorded, by its own status.
"""

import contextlib
import os
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway_agent.keys import generate_signing_key
from gateway_agent.status_socket import StatusError, read_status
from hil.site.toml import dump_toml

from .gateway import command, profile_of
from .process import count_when_it_rises, cpu_seconds, peak_mib, resident_mib, running
from .wire import Wire

GATEWAY: Final = "bench"
_ALL_S: Final = 60.0  # within which each device has been read


@dataclass(frozen=True)
class Load:
    """What is asked of a gateway: every bus has ``units`` devices of ``registers``."""

    registers: int
    units: int
    period_ms: int
    latency: str = "normal"
    receipt: str = "signed"
    commit_ms: int = 50
    observe: bool = False  # the batches on the wire too: for low rates, as it costs time
    warm_up_s: float = 3.0


@dataclass(frozen=True)
class Delivery:
    """The figures of one run; CPU seconds are for a million readings delivered."""

    per_s: float
    gateway_cpu_s: float
    collector_cpu_s: float
    gateway_mib: float
    gateway_peak_mib: float
    collector_mib: float
    wire: Wire | None

    @property
    def cpu_s(self) -> float:
        """Return the CPU seconds of gateway and collector together."""
        return self.gateway_cpu_s + self.collector_cpu_s


@dataclass(frozen=True)
class Site:
    """The files of a gateway and its collector in one folder."""

    folder: Path

    @property
    def gateway(self) -> Path:
        """Return the gateway's configuration."""
        return self.folder / "gateway.toml"

    @property
    def collector(self) -> Path:
        """Return the collector's configuration."""
        return self.folder / "collector.toml"

    @property
    def collector_key(self) -> Path:
        """Return the public key that receipts are verified with."""
        return self.folder / "collector.pem.pub"

    def stored(self) -> int:
        """Return how many readings the collector has stored, by its database."""
        database = self.folder / "collector.db"
        if not database.exists():
            return 0
        with contextlib.closing(sqlite3.connect(database, timeout=10)) as connection:
            try:
                row = connection.execute(
                    "SELECT value FROM counters WHERE name = 'readings_verified'"
                ).fetchone()
            except sqlite3.OperationalError:
                return 0
        return int(row[0]) if row else 0

    def devices(self) -> int:
        """Return of how many devices the collector has stored something."""
        with contextlib.closing(sqlite3.connect(self.folder / "collector.db")) as connection:
            return int(connection.execute("SELECT count(*) FROM devices").fetchone()[0])

    def recorded(self) -> int:
        """Return how many readings the gateway has recorded, by its status. StatusError."""
        return read_status(self.folder / "state").counters.readings_recorded


def write_site(folder: Path, load: Load, ports: Sequence[int], mqtt: int) -> Site:
    """Write the configurations of a gateway with one bus per port and of its collector."""
    site = Site(folder)
    (folder / "bench.toml").write_text(profile_of(load.registers))
    for name in ("gateway.pem", "collector.pem"):
        generate_signing_key(folder / name)
    device = {"kind": "profile", "profile": "bench.toml", "period_ms": load.period_ms}
    uplink = {"host": "127.0.0.1", "port": mqtt, "latency": load.latency, "receipt": load.receipt}
    if load.receipt == "signed":
        uplink["collector_key"] = site.collector_key.name
    gateway = {
        "gateway": {"id": GATEWAY, "state_dir": "state", "key": "gateway.pem"},
        "uplink": uplink,
        "outbox": {"commit_ms": load.commit_ms},
        "bus": [
            {
                "name": f"b{bus}",
                "type": "tcp",
                "host": "127.0.0.1",
                "port": port,
                "device": [
                    {"name": f"d{bus}-{unit}", "unit": unit, **device}
                    for unit in range(1, load.units + 1)
                ],
            }
            for bus, port in enumerate(ports)
        ],
    }
    collector = {
        "collector": {"key": "collector.pem", "database": "collector.db"},
        "broker": {"host": "127.0.0.1", "port": mqtt},
        "gateway": [{"id": GATEWAY, "keys": ["gateway.pem.pub"]}],
    }
    for path, tables in ((site.gateway, gateway), (site.collector, collector)):
        path.write_text(dump_toml(tables))
    return site


@dataclass(frozen=True)
class Running:
    """The processes of a site; no collector if what the broker acknowledges is enough."""

    site: Site
    gateway: subprocess.Popen[bytes]
    collector: subprocess.Popen[bytes] | None

    def count_when_it_rises(self) -> tuple[float, int]:
        """Return the time at which more readings are stored, or else recorded, and how many."""
        count = self.site.stored if self.collector else self._recorded
        return count_when_it_rises(count, self.gateway, self.site.gateway.with_suffix(".log"))

    def wait_until_all_have_come(self, devices: int) -> None:
        """Wait for something of each device: its first record costs the collector twenty others."""
        deadline = time.monotonic() + _ALL_S
        while self.collector is not None and self.site.devices() < devices:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.site.devices()} of {devices} devices in {_ALL_S:.0f} s")
            time.sleep(0.5)

    def _recorded(self) -> int:
        try:
            return self.site.recorded()
        except StatusError:
            return 0  # its socket is not there yet

    def cpu_seconds(self) -> tuple[float, float]:
        """Return the processor time of gateway and collector so far."""
        collector = cpu_seconds(self.collector.pid) if self.collector else 0.0
        return cpu_seconds(self.gateway.pid), collector


@contextlib.contextmanager
def running_site(site: Site, collect: bool = True) -> Iterator[Running]:
    """Run the collector, if there is one, and the gateway."""
    with contextlib.ExitStack() as stack:

        def start(name: str, config: Path) -> subprocess.Popen[bytes]:
            program = [str(command()), name, "--config", str(config)]
            return stack.enter_context(running(program, config.with_suffix(".log")))

        collector = start("collect", site.collector) if collect else None
        yield Running(site, start("run", site.gateway), collector)


def deliver(load: Load, ports: Sequence[int], mqtt: int, seconds: float) -> Delivery:
    """Run gateway and collector for ``seconds`` after a warm-up.

    What waited from before counts only if as much was recorded meanwhile: it cannot go on so.
    """
    with tempfile.TemporaryDirectory() as name:
        site = write_site(Path(name), load, ports, mqtt)
        with running_site(site, load.receipt == "signed") as site_now:
            site_now.count_when_it_rises()
            site_now.wait_until_all_have_come(len(ports) * load.units)
            time.sleep(load.warm_up_s)
            wire = Wire(mqtt, GATEWAY, site.collector_key) if load.observe else None
            recorded = site.recorded()
            start, before = site_now.count_when_it_rises()
            cpu = site_now.cpu_seconds()
            time.sleep(seconds)
            end, after = site_now.count_when_it_rises()
            used = [now - was for now, was in zip(site_now.cpu_seconds(), cpu, strict=True)]
            if wire is not None:
                wire.close()
            million = (after - before) / 1e6
            lasting = min(after - before, site.recorded() - recorded)
            collector = site_now.collector
            return Delivery(
                lasting / (end - start),
                used[0] / million,
                used[1] / million,
                resident_mib(site_now.gateway.pid),
                peak_mib(site_now.gateway.pid),
                peak_mib(collector.pid) if collector else 0.0,
                wire,
            )


def fsync_ms(folder: Path, times: int = 50) -> float:
    """Return the median time of an fsync of a page in ``folder``: what a commit waits for."""
    took = []
    descriptor = os.open(folder / "fsync", os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        for _ in range(times):
            os.write(descriptor, bytes(4096))
            start = time.perf_counter()
            os.fsync(descriptor)
            took.append(time.perf_counter() - start)
    finally:
        os.close(descriptor)
    return 1000 * statistics.median(took)
