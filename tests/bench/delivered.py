"""The whole way: gateway, broker and collector with signed receipts, until it is in the database.

What is counted comes from the collector's database, what it costs from the kernel. All processes
share the machine's cores, as on a small server that does everything. A record's age is the time
from the device's answer to the receipt for it, which the collector signs after its commit.
"""

import contextlib
import itertools
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

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from gateway_agent.keys import generate_signing_key, load_public
from gateway_agent.uplink import topics
from hil.site.toml import dump_toml
from protocols.uplink import open_receipt

from .gateway import command, cpu_seconds, peak_mib, profile_of

GATEWAY: Final = "bench"
_DEADLINE_S: Final = 60.0
_LOOK_S: Final = 0.2
_WARM_UP_S: Final = 3.0


@dataclass(frozen=True)
class Load:
    """What is asked of a gateway: every bus has ``units`` devices of ``registers``."""

    registers: int
    units: int
    period_ms: int
    latency: str = "normal"


@dataclass(frozen=True)
class Delivery:
    """The figures of one run; CPU seconds are for a million readings delivered."""

    per_s: float
    gateway_cpu_s: float
    collector_cpu_s: float
    gateway_mib: float
    collector_mib: float
    ages_ms: list[int]

    def age_ms(self, percent: int) -> float:
        """Return what so many per cent of the records were not older than."""
        return statistics.quantiles(self.ages_ms, n=100, method="inclusive")[percent - 1]


class Receipts:
    """Notes when each receipt came, in ms since boot."""

    def __init__(self, port: int, key: Path) -> None:
        self.came: list[tuple[int, int]] = []  # last record, time
        self._key = load_public(key)
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = self._note
        self._client.connect("127.0.0.1", port)
        self._client.subscribe(topics.all_receipts(GATEWAY), qos=1)
        self._client.loop_start()

    def _note(self, _client: paho.Client, _userdata: object, message: paho.MQTTMessage) -> None:
        now_ms = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
        self.came.append((open_receipt(message.payload, self._key).contiguous_to, now_ms))

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    def ages_ms(self, database: Path) -> list[int]:
        """Return the age of each record that the receipts cover, from the second receipt on."""
        came = sorted(self.came)
        ages = []
        with _opened(database) as connection:
            for (before, _), (to, now_ms) in itertools.pairwise(came):
                rows = connection.execute(
                    "SELECT resp_ms FROM records WHERE seq > ? AND seq <= ? AND kind = 'profile'",
                    (before, to),
                )
                ages += [now_ms - resp_ms for (resp_ms,) in rows]
        return ages


def write_site(folder: Path, load: Load, ports: Sequence[int], mqtt: int) -> tuple[Path, Path]:
    """Write the configurations of a gateway with one bus per port and of its collector."""
    (folder / "bench.toml").write_text(profile_of(load.registers))
    for name in ("gateway.pem", "collector.pem"):
        generate_signing_key(folder / name)
    device = {"kind": "profile", "profile": "bench.toml", "period_ms": load.period_ms}
    gateway = {
        "gateway": {"id": GATEWAY, "state_dir": "state", "key": "gateway.pem"},
        "uplink": {
            "host": "127.0.0.1",
            "port": mqtt,
            "collector_key": "collector.pem.pub",
            "latency": load.latency,
        },
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
    files = folder / "gateway.toml", folder / "collector.toml"
    for path, tables in zip(files, (gateway, collector), strict=True):
        path.write_text(dump_toml(tables))
    return files


def deliver(load: Load, ports: Sequence[int], mqtt: int, seconds: float) -> Delivery:
    """Run gateway and collector for ``seconds`` after a warm-up."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        gateway, collector = write_site(folder, load, ports, mqtt)
        database = folder / "collector.db"
        receipts = Receipts(mqtt, folder / "collector.pem.pub")
        with _process("collect", collector) as platform, _process("run", gateway) as agent:
            end = time.monotonic() + _DEADLINE_S
            while not (database.exists() and _verified(database)):
                if time.monotonic() > end or agent.poll() is not None:
                    raise RuntimeError(gateway.with_suffix(".log").read_text())
                time.sleep(_LOOK_S)
            time.sleep(_WARM_UP_S)
            receipts.came.clear()
            start, before = time.monotonic(), _verified(database)
            cpu = [cpu_seconds(process.pid) for process in (agent, platform)]
            time.sleep(seconds)
            took, stored = time.monotonic() - start, _verified(database) - before
            used = [
                cpu_seconds(process.pid) - earlier
                for process, earlier in zip((agent, platform), cpu, strict=True)
            ]
            receipts.close()
            return Delivery(
                stored / took,
                used[0] / stored * 1e6,
                used[1] / stored * 1e6,
                peak_mib(agent.pid),
                peak_mib(platform.pid),
                receipts.ages_ms(database),
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


@contextlib.contextmanager
def _process(name: str, config: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command of ``tianfu-gateway``; it gets SIGTERM at the end."""
    with (
        config.with_suffix(".log").open("wb") as log,
        subprocess.Popen(
            [str(command()), name, "--config", str(config)], stdout=log, stderr=log
        ) as child,
    ):
        try:
            yield child
        finally:
            child.terminate()
            child.wait(_DEADLINE_S)


@contextlib.contextmanager
def _opened(database: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(database, timeout=10)) as connection:
        yield connection


def _verified(database: Path) -> int:
    """Return how many readings the collector has stored so far."""
    with _opened(database) as connection:
        try:
            row = connection.execute(
                "SELECT value FROM counters WHERE name = 'readings_verified'"
            ).fetchone()
        except sqlite3.OperationalError:
            return 0
    return int(row[0]) if row else 0
