"""The rows of the whole way, from the devices to a database, beside the naive script."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from .beside import NaiveRun, naive_run
from .delivered import Delivery, Load, deliver, fsync_ms
from .report import Figures
from .returned import BrokerReturn, broker_returns
from .servers import broker_of, modbus_servers

_SERVERS: Final = 4
_SHORT_UNITS: Final = 2
_PER_CORE: Final = {10: 200_000, 100: 1_000_000}  # aims by registers, readings/s


@dataclass(frozen=True)
class Extent:
    """How much of it is done: ``seconds`` of each run, on how many buses.

    ``short`` shows that everything works, and its figures mean nothing.
    """

    seconds: float
    short: bool = False

    @property
    def buses(self) -> int:
        """Return the number of buses under full load."""
        return _SERVERS if self.short else 32

    def of(self, load: Load) -> Load:
        """Return what this run asks for in place of ``load``."""
        if not self.short:
            return load
        return replace(load, units=_SHORT_UNITS, latency="low", warm_up_s=0.1)


def bench_delivery(figures: Figures, extent: Extent) -> None:
    """Measure how much is delivered at most, of twice of it, and beside the naive script."""
    with tempfile.TemporaryDirectory() as name:
        figures.add("fsync of 4 KiB", "ms", fsync_ms(Path(name)), note="what a commit waits for")
    many, wide = Load(10, 75, 250), Load(100, 40, 250)
    most = _full_load(figures, extent, many)
    _full_load(figures, extent, wide)
    at_once = _deliver(extent, replace(many, commit_ms=0))
    what = "whole way, 10 registers, commit_ms = 0"
    figures.add(f"{what}: delivered of that with 50", "", at_once.per_s / most.per_s)
    figures.add(f"{what}: CPU of the gateway per million", "s", at_once.gateway_cpu_s)


def _full_load(figures: Figures, extent: Extent, full: Load) -> Delivery:
    what = f"whole way, {full.registers} registers"
    naive_what = f"naive script, {full.registers} registers"
    devices = extent.buses * extent.of(full).units
    offered = f"{devices} devices offered at {full.period_ms} ms: more than is possible"
    most = _deliver(extent, full)
    naive = _naive(extent, full)
    figures.add(f"{what}: delivered", "readings/s", most.per_s, note=offered)
    figures.add(
        f"{naive_what}: stored", "readings/s", naive.per_s,
        note="the same devices; pymodbus, JSON, MQTT, SQLite; no signature, no receipt",
    )  # fmt: skip
    figures.add(f"{what}: ratio to naive", "", most.per_s / naive.per_s, ">= 1")
    figures.add(f"{what}: CPU of the gateway per million", "s", most.gateway_cpu_s)
    figures.add(f"{what}: CPU of the collector per million", "s", most.collector_cpu_s)
    figures.add(
        f"{what}: verified and stored by one core", "readings/s", 1e6 / most.collector_cpu_s,
        f">= {_PER_CORE[full.registers]}", "the collector's CPU time alone",
    )  # fmt: skip
    figures.add(f"{naive_what}: CPU per million", "s", naive.cpu_s)
    twice = _deliver(extent, replace(full, units=2 * full.units))
    figures.add(
        f"{what}: delivered of that when twice is offered", "", twice.per_s / most.per_s, ">= 0.95"
    )
    puback = _deliver(extent, replace(full, receipt="puback"))
    figures.add(
        f'{what}, receipt = "puback": recorded', "readings/s", puback.per_s,
        note="no collector: counts what the gateway recorded, not what a database has",
    )  # fmt: skip
    return most


def bench_fixed(figures: Figures, extent: Extent) -> None:
    """Measure what 100 devices of 10 registers each second cost, and how old their readings are."""
    # A thousand readings a second take little time: a longer run makes it countable.
    longer = replace(extent, seconds=4 * extent.seconds)
    load = Load(10, 25, 1000, observe=True)
    what = "100 devices of 10 registers each second"
    fixed = _deliver(longer, load, _SERVERS)
    naive = _naive(longer, load, _SERVERS)
    assert fixed.wire is not None
    figures.add(f"{what}: CPU of the gateway per million", "s", fixed.gateway_cpu_s)
    figures.add(f"{what}: CPU of the collector per million", "s", fixed.collector_cpu_s)
    figures.add(f"{what}: CPU of both per million", "s", fixed.cpu_s, "<= 6")
    figures.add(f"{what}: CPU of the naive script per million", "s", naive.cpu_s)
    at_once = _deliver(longer, replace(load, commit_ms=0, observe=False), _SERVERS)
    figures.add(
        f"{what}, commit_ms = 0: CPU of the gateway per million", "s", at_once.gateway_cpu_s,
        note="each poll is committed before its bus polls again",
    )  # fmt: skip
    figures.add(f"{what}: memory of the gateway", "MiB", fixed.gateway_mib, "<= 45")
    figures.add(f"{what}: peak memory of the gateway", "MiB", fixed.gateway_peak_mib)
    figures.add(f"{what}: peak memory of the collector", "MiB", fixed.collector_mib)
    figures.add(
        f"{what}: on the uplink", "bytes/reading", fixed.wire.bytes_per_reading(), "<= 3",
        "signatures and headers of the batches included",
    )  # fmt: skip
    low = _deliver(extent, replace(load, latency="low"), _SERVERS)
    assert low.wire is not None
    for percent, aim in ((50, 60), (99, 150)):
        figures.add(
            f'age of a reading when stored, latency = "low", p{percent}', "ms",
            low.wire.age_ms(percent), f"<= {aim}", "1,000 readings/s",
        )  # fmt: skip


def bench_return(figures: Figures, extent: Extent) -> None:
    """Measure how soon everything is in the database after the broker was away."""
    load = extent.of(Load(10, 25, 1000))
    away_s = 2 * extent.seconds
    with (
        tempfile.TemporaryDirectory() as folder,
        broker_of(Path(folder)) as broker,
        modbus_servers(_SERVERS, load.registers, on_second_core=False) as ports,
    ):
        came: BrokerReturn = broker_returns(load, ports, broker, away_s)
    what = f"broker back after {away_s:.0f} s"
    figures.add(
        f"{what}: until the database has everything", "s", came.complete_s, "<= 5",
        "from when the broker listens; 1,000 readings/s",
    )  # fmt: skip
    figures.add(
        f"{what}: on the wire twice", "records", came.repeated,
        note="a batch whose connection died is sent again",
    )  # fmt: skip


def _deliver(extent: Extent, load: Load, buses: int | None = None) -> Delivery:
    load, count = extent.of(load), buses or extent.buses
    with (
        tempfile.TemporaryDirectory() as folder,
        broker_of(Path(folder)) as broker,
        modbus_servers(_SERVERS, load.registers, on_second_core=False) as ports,
    ):
        return deliver(load, (ports * count)[:count], broker.port, extent.seconds)


def _naive(extent: Extent, load: Load, buses: int | None = None) -> NaiveRun:
    load, count = extent.of(load), buses or extent.buses
    with (
        tempfile.TemporaryDirectory() as folder,
        broker_of(Path(folder)) as broker,
        modbus_servers(_SERVERS, load.registers, on_second_core=False) as ports,
    ):
        return naive_run(load, (ports * count)[:count], broker.port, extent.seconds)
