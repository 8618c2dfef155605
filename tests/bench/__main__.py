"""``make bench``: measure everything, print the table, with ``--write`` renew docs/benchmarks.md.

Aims for speed are given twice: as the project set them, and as a ratio to the naive script
measured in the same run, which can be compared between machines.
"""

import argparse
import asyncio
import datetime as dt
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import track

from tests.paths import ROOT

from . import bus_share, line, mixed
from .board import board_figures, missing, suite_figure
from .delivered import Delivery, Load, deliver, fsync_ms
from .gateway import first_poll_s, measure, profile_of
from .node import ROLES, core_requests_per_s, node_figures
from .report import Figure, markdown, print_table
from .servers import modbus_servers, mosquitto, on_core
from .uplink import bytes_per_reading, node_records, profile_records

_PAGE: Final = ROOT / "docs" / "benchmarks.md"
_SERVERS: Final = 8
_EVEN_MS: Final = 20
_BUSES: Final = 32  # a bus polls a device at most once in a millisecond
# Readings per second: the aim, and what it is of the naive script on the machine it was set on.
_AIMS: Final = {10: (25_000, 1.19), 100: (150_000, 0.84)}


class Figures:
    """The figures measured so far, in the order they first came up."""

    def __init__(self) -> None:
        self.all: dict[str, Figure] = {}

    def add(
        self, name: str, unit: str, value: float, aim: str | None = None, note: str = ""
    ) -> None:
        """Add one run's value of a figure."""
        self.take(Figure(name, unit, aim, note, [value]))

    def take(self, figure: Figure) -> None:
        """Add the runs of a figure to those there are."""
        known = self.all.setdefault(figure.name, figure)
        if known is not figure:
            known.runs += figure.runs


def bench_core(figures: Figures) -> None:
    """Measure the Modbus server core on both runtimes."""
    rate, _ = core_requests_per_s(False)
    figures.add("Modbus server core, CPython", "requests/s", rate, note="FC 04, 28 registers")
    rate, growth = core_requests_per_s(True)
    figures.add("Modbus server core, MicroPython unix port", "requests/s", rate)
    figures.add("heap growth of the core over 5,000 requests", "bytes", growth, "<= 0")


def bench_nodes(figures: Figures) -> None:
    """Measure heap and polls of a node process of each role."""
    for role in ROLES:
        with tempfile.TemporaryDirectory() as folder:
            run = asyncio.run(node_figures(role, Path(folder)))
        figures.add(f"node {role}: heap after start", "bytes", run.heap_start, note="64-bit words")
        figures.add(f"node {role}: heap growth over 10,000 polls", "bytes", run.heap_growth, "<= 0")
        figures.add(f"node {role}: polls over a pty", "polls/s", run.polls_per_s)


def bench_gateway(figures: Figures, seconds: float) -> None:
    """Measure the agent under full load beside the naive script, and its start."""
    for registers, (aim, ratio) in _AIMS.items():
        with (
            tempfile.TemporaryDirectory() as folder,
            mosquitto(Path(folder)) as mqtt,
            modbus_servers(_SERVERS, registers) as ports,
        ):
            buses = ports * (_BUSES // _SERVERS)
            load = measure(Path(folder), profile_of(registers), buses, mqtt, seconds)
            naive = _naive(seconds, registers, mqtt, buses)
        what = f"gateway, {registers} registers"
        figures.add(f"{what}: recorded", "readings/s", load.readings_per_s, f">= {aim}")
        figures.add(
            f"naive script, {registers} registers", "readings/s", naive,
            note="pymodbus to MQTT, no store, no signature",
        )  # fmt: skip
        figures.add(f"{what}: ratio to naive", "", load.readings_per_s / naive, f">= {ratio}")
        figures.add(f"{what}: CPU per million readings", "s", load.cpu_s_per_million)
        figures.add(f"{what}: peak memory", "MiB", load.peak_mib, "<= 100")
        figures.add(
            f"{what}: delivered of recorded", "", load.delivered_share,
            note="while recording at full speed on one core",
        )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, mosquitto(Path(folder)) as mqtt:
        figures.add("gateway: start to first poll", "s", first_poll_s(Path(folder), mqtt), "<= 1")


def bench_delivery(figures: Figures, seconds: float) -> None:
    """Measure the whole way with signed receipts, all processes on all cores."""
    with tempfile.TemporaryDirectory() as name:
        figures.add("fsync of 4 KiB", "ms", fsync_ms(Path(name)), note="what a commit waits for")
    full = {10: Load(10, 75, 250), 100: Load(100, 40, 250)}
    for registers, load in full.items():
        what = f"whole way, {registers} registers"
        note = f"{_BUSES * load.units} devices offered at 250 ms: more than is possible"
        most = _deliver(load, seconds)
        figures.add(f"{what}: delivered", "readings/s", most.per_s, note=note)
        figures.add(f"{what}: CPU of the gateway per million", "s", most.gateway_cpu_s)
        figures.add(f"{what}: CPU of the collector per million", "s", most.collector_cpu_s)
        twice = _deliver(replace(load, units=2 * load.units), seconds)
        figures.add(
            f"{what}: delivered of that when twice is offered", "", twice.per_s / most.per_s,
            ">= 0.95",
        )  # fmt: skip
    fixed = _deliver(Load(10, 25, 1000), seconds, buses=4)
    what = "whole way, 100 devices of 10 registers each second"
    total = fixed.gateway_cpu_s + fixed.collector_cpu_s
    figures.add(f"{what}: CPU of both per million", "s", total, "<= 6")
    figures.add(f"{what}: memory of the gateway", "MiB", fixed.gateway_mib, "<= 45")
    figures.add(f"{what}: memory of the collector", "MiB", fixed.collector_mib)
    low = _deliver(Load(10, 25, 1000, "low"), seconds, buses=4)
    for percent, aim in ((50, 60), (99, 150)):
        figures.add(
            f'age of a reading when stored, latency = "low", p{percent}', "ms",
            low.age_ms(percent), f"<= {aim}", "1,000 readings/s",
        )  # fmt: skip


def _deliver(load: Load, seconds: float, buses: int = _BUSES) -> Delivery:
    with (
        tempfile.TemporaryDirectory() as folder,
        mosquitto(Path(folder), on_second_core=False) as mqtt,
        modbus_servers(4, load.registers, on_second_core=False) as ports,
    ):
        return deliver(load, (ports * buses)[:buses], mqtt, seconds)


def bench_profiles(figures: Figures, seconds: float) -> None:
    """Measure 100 points of mixed kinds against 100 plain registers of the same answer."""
    profiles = {"plain": mixed.plain_profile(), "mixed": mixed.mixed_profile()}
    cost = {}
    for name, profile in profiles.items():
        with (
            tempfile.TemporaryDirectory() as folder,
            mosquitto(Path(folder)) as mqtt,
            modbus_servers(_SERVERS, "mixed") as ports,
        ):
            buses = ports * (_BUSES // _SERVERS)
            load = measure(Path(folder), profile, buses, mqtt, seconds)
            # At one rate, so that what a commit costs is shared by as many polls.
            (even := Path(folder) / "even").mkdir()
            at_rate = measure(even, profile, buses, mqtt, seconds, _EVEN_MS)
        recorded = mixed.POINTS - (mixed.TEXTS if name == "mixed" else 0)
        cost[name] = at_rate.cpu_s_per_million * recorded / mixed.POINTS
        what = f"profile of 100 {name} points"
        figures.add(f"{what}: recorded", "readings/s", load.readings_per_s)
        figures.add(
            f"{what}: CPU per million points polled", "s", cost[name],
            note=f"{_BUSES} devices, each every {_EVEN_MS} ms",
        )  # fmt: skip
    figures.add(
        "profile of 100 mixed points: CPU against plain", "", cost["mixed"] / cost["plain"],
        "<= 1.5", "40 bits, 20 scaled by a register, 18 floats, 17 scaled, 5 strings",
    )  # fmt: skip
    for baudrate in line.BAUDRATES:
        with tempfile.TemporaryDirectory() as folder:
            took, predicted = line.poll_ms(Path(folder), baudrate)
        what = f"one poll of 100 mixed points at {baudrate:,} baud, pauses of {line.GAP_MS} ms"
        figures.add(what, "ms", took)
        figures.add(f"{what}: against the plan of `check`", "", took / predicted, "<= 1.1")


def bench_line(figures: Figures, seconds: float) -> None:
    """Measure which share of a serial line's time the gateway uses, and whether it keeps t3.5."""
    for baudrate in bus_share.BAUDRATES:
        with tempfile.TemporaryDirectory() as folder, mosquitto(Path(folder)) as mqtt:
            run = bus_share.measure(Path(folder), baudrate, mqtt, seconds)
        what = f"serial line at {baudrate:,} baud"
        figures.add(
            f"{what}: polls made of those possible", "", run.share, ">= 0.99",
            f"{bus_share.REGISTERS} registers, turnaround {bus_share.TURNAROUND_MS} ms",
        )  # fmt: skip
        figures.add(f"{what}: pauses below t3.5", "", run.gateway.violations, "<= 0")
        figures.add(f"{what}: pause beyond t3.5", "us", run.excess_us)
        figures.add(f"{what}: pause beyond t3.5 of a bare loop", "us", run.terminal_us)


def bench_uplink(figures: Figures, seed: int) -> None:
    """Measure the bytes per reading of signed batches of 1,000 readings."""
    kinds = (
        ("third-party, 10 registers", profile_records(10, seed), 1000),
        ("third-party, 100 registers", profile_records(100, seed), 1000),
        ("air node with frame and tag", node_records(seed), 7 * len(node_records(seed))),
    )
    for name, records, readings in kinds:
        for compress in (True, False):
            how = "zstd" if compress else "not compressed"
            figures.add(
                f"uplink, {name}, {how}", "bytes/reading",
                bytes_per_reading(records, readings, compress), "<= 6" if compress else None,
            )  # fmt: skip


def bench_board(figures: Figures, image: Path | None, suite: bool) -> None:
    """Measure the board's image on QEMU, or the time of the HIL suite; nothing without QEMU."""
    if (why := missing(image)) is not None:
        print(f"board: not measured: {why}", file=sys.stderr)
        return
    for figure in [suite_figure(image)] if suite else board_figures(image):
        figures.take(figure)


def _naive(seconds: float, registers: int, mqtt: int, ports: list[int]) -> float:
    command = [sys.executable, "-m", "tests.bench.naive", str(seconds), str(registers), str(mqtt)]
    answer = subprocess.run(
        on_core(0, command + [str(port) for port in ports]),
        capture_output=True,
        text=True,
        check=True,
    )
    return float(answer.stdout)


def _steps(
    figures: Figures, run: int, seconds: float, only: str | None, image: Path | None
) -> Iterator[Callable[[], None]]:
    steps: dict[str, Callable[[], None]] = {
        "core": lambda: bench_core(figures),
        "node": lambda: bench_nodes(figures),
        "gateway": lambda: bench_gateway(figures, seconds),
        "delivery": lambda: bench_delivery(figures, seconds),
        "line": lambda: bench_line(figures, seconds),
        "profiles": lambda: bench_profiles(figures, seconds),
        "uplink": lambda: bench_uplink(figures, run),
        "board": lambda: bench_board(figures, image, suite=False),
        "suite": lambda: bench_board(figures, image, suite=True),
    }
    if only is not None and only not in steps:
        raise SystemExit(f"--only: expected one of {', '.join(steps)}, got {only}")
    return (
        step
        for name, step in steps.items()
        if only in ((None, name) if name != "suite" else (name,))
    )


def main() -> None:
    """Run the steps, show the table."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="runs of each figure (5)")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of a load run (5)")
    parser.add_argument(
        "--only", help="core, node, gateway, delivery, line, profiles, uplink, board or suite"
    )
    parser.add_argument("--image", type=Path, help="the board's image (ELF); built if not given")
    parser.add_argument(
        "--write", action="store_true", help="renew the figures measured in docs/benchmarks.md"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for machines")
    arguments = parser.parse_args()
    figures = Figures()
    console = Console(stderr=arguments.json, width=None if sys.stdout.isatty() else 140)
    for run in track(range(arguments.runs), "measuring", console=console):
        for step in _steps(figures, run, arguments.seconds, arguments.only, arguments.image):
            step()
    found = list(figures.all.values())
    if arguments.json:
        print(json.dumps({f.name: {"unit": f.unit, "runs": f.runs, "aim": f.aim} for f in found}))
    else:
        print_table(found, console)
    if arguments.write:
        today = dt.datetime.now(dt.UTC).date().isoformat()
        page = _PAGE.read_text(encoding="utf-8") if _PAGE.exists() else ""
        _PAGE.write_text(markdown(found, today, page), encoding="utf-8")
        console.print(f"wrote {_PAGE}")


if __name__ == "__main__":
    main()
