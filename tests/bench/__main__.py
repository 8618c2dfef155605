"""``make bench``: measure everything, print the table, with ``--write`` renew docs/benchmarks.md.

What can be compared between machines is the ratio to the naive script measured in the same run.
"""

import argparse
import asyncio
import datetime as dt
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final

from rich.console import Console

from tests.paths import ROOT

from . import (
    alarm_age,
    backlog,
    bus_share,
    console_viewers,
    flashing,
    line,
    line_alone,
    link,
    link_board,
    mixed,
    reload,
    update,
)
from .board import board_figures, missing, suite_figure
from .exporters import bench_exporters, bench_outage
from .gateway import first_poll_s, measure, rest_mib
from .history import bench_history
from .node import ROLES, core_requests_per_s, node_figures
from .report import Figures, dropped, markdown, of_another_machine, print_table
from .servers import modbus_servers, mosquitto
from .uplink import bytes_per_reading, node_records, profile_records
from .whole_way import Extent, bench_delivery, bench_fixed, bench_return

_PAGE: Final = ROOT / "docs" / "benchmarks.md"
_SERVERS: Final = 8
_EVEN_MS: Final = 20
ONLY_IF_ASKED: Final = "suite"  # takes half an hour
# Take long and give much the same each time: heaps, virtual times, ratios.
ONCE: Final = (
    "node",
    "profiles",
    "link",
    "board",
    "flash",
    "update",
    "alarms",
    "outage",
    "history",
)
_BUSES: Final = 32  # a bus polls a device at most once in a millisecond


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


def bench_start(figures: Figures, short: bool) -> None:
    """Measure how soon a gateway that is started asks its first device, and opens a backlog."""
    with tempfile.TemporaryDirectory() as folder, mosquitto(Path(folder)) as mqtt:
        figures.add("gateway: start to first poll", "s", first_poll_s(Path(folder), mqtt), "<= 1")
    readings = 100_000 if short else 10_000_000
    with tempfile.TemporaryDirectory() as folder:
        took_s = backlog.open_s(Path(folder), readings)
    figures.add(f"outbox: open with a backlog of {readings:,} readings", "s", took_s, "<= 2")


def bench_reload(figures: Figures, short: bool) -> None:
    """Measure how long a change of the configuration takes at run time."""
    devices = 8 if short else reload.DEVICES
    with (
        tempfile.TemporaryDirectory() as folder,
        mosquitto(Path(folder)) as mqtt,
        modbus_servers(_SERVERS, 10) as ports,
    ):
        times = reload.reload_times(Path(folder), ports, mqtt, devices)
    what = f"reload of a gateway of {devices} devices"
    figures.add(f"{what}: one is changed", "s", times.one_s, "<= 1")
    figures.add(f"{what}: polls that others missed", "", times.missed, "<= 0")
    figures.add(f"{what}: all are changed", "s", times.all_s, "<= 2")


def bench_rest(figures: Figures, seconds: float) -> None:
    """Measure what a gateway takes that has nothing to do, and the packages that were built."""
    for console, aim in ((False, "<= 45"), (True, None)):
        with tempfile.TemporaryDirectory() as folder, mosquitto(Path(folder)) as mqtt:
            found = rest_mib(Path(folder), mqtt, seconds, console)
        what = "gateway at rest" + (" with a console" if console else "")
        figures.add(f"{what}: memory", "MiB", found, aim, note="1 MiB is 1.049 MB")
    packages = sorted((ROOT / "dist").glob("tianfu-edge-*.deb"))
    if not packages:
        print("packages: not measured: `make deb` has built none in dist", file=sys.stderr)
    for path in packages:
        name = path.name.partition("_")[0]
        figures.add(f"package {name}", "MiB", path.stat().st_size / (1 << 20))


def bench_console(figures: Figures, seconds: float) -> None:
    """Measure what the console's page takes, and what its viewers cost the gateway."""
    with (
        tempfile.TemporaryDirectory() as folder,
        mosquitto(Path(folder)) as mqtt,
        console_viewers.site(Path(folder), mqtt) as (pid, port),
    ):
        alone = console_viewers.busy_percent(pid, port, seconds, 0)
        watched = console_viewers.busy_percent(pid, port, seconds, console_viewers.VIEWERS)
        took = console_viewers.interactive_ms(port)
    figures.add("console, nobody looks: CPU of the gateway", "% of a core", alone)
    figures.add(
        f"console, {console_viewers.VIEWERS} viewers: CPU more", "% of a core", watched - alone
    )
    if took is None:
        print("console's page: not measured: no chromium or no selenium", file=sys.stderr)
    else:
        figures.add("console's page until it can be used", "ms", took)


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
        what = f"serial line at {baudrate:,} baud"
        asked = bus_share.REGISTERS, bus_share.TURNAROUND_MS
        with tempfile.TemporaryDirectory() as folder:
            share, below = line_alone.share(Path(folder), baudrate, *asked)
        figures.add(
            f"{what}: polls made of those possible", "", share, ">= 0.99",
            "{} registers, turnaround {} ms; the gateway's CPU time in virtual time".format(*asked),
        )  # fmt: skip
        figures.add(f"{what}: pauses below t3.5", "", below, "<= 0")
        with tempfile.TemporaryDirectory() as folder, mosquitto(Path(folder)) as mqtt:
            run = bus_share.measure(Path(folder), baudrate, mqtt, seconds)
        what += ", on a terminal"
        figures.add(
            f"{what}: polls made of those possible", "", run.share,
            note="what else runs on the machine included",
        )  # fmt: skip
        figures.add(f"{what}: pauses below t3.5", "", run.gateway.violations, "<= 0")
        figures.add(f"{what}: pause beyond t3.5", "us", run.excess_us)
        figures.add(f"{what}: pause beyond t3.5 of a bare loop", "us", run.terminal_us)


def bench_alarms(figures: Figures, short: bool) -> None:
    """Measure how old an alarm is when it leaves, on a loaded line of eight devices."""
    what = f"alarm, {alarm_age.DEVICES} devices at {alarm_age.BAUDRATE:,} baud, a cycle of"
    what += f" {alarm_age.CYCLE_S:.2f} s: from the value"
    aim = f"<= {alarm_age.LIMIT_S:.2f}"
    with tempfile.TemporaryDirectory() as folder:
        ages = alarm_age.virtual_ages(Path(folder), 20 if short else 1000)
    name = f"{what} to its announcement, p99 in virtual time"
    figures.add(name, "s", alarm_age.p99(ages.announced), aim, "two cycles and 100 ms")
    with tempfile.TemporaryDirectory() as folder, mosquitto(Path(folder)) as mqtt:
        ages = alarm_age.real_ages(Path(folder), mqtt, 2 if short else 100)
    for name, found in (("announcement", ages.announced), ("signed record", ages.recorded)):
        figures.add(f"{what} to a subscriber of its {name}, p99", "s", alarm_age.p99(found), aim)


def bench_uplink(figures: Figures, seed: int) -> None:
    """Measure the bytes per reading of signed batches of 1,000 readings."""
    kinds = (
        ("third-party, 10 registers", profile_records(10, seed), 1000, 3),
        ("third-party, 100 registers", profile_records(100, seed), 1000, 3),
        ("air node with frame and tag", node_records(seed), 7 * len(node_records(seed)), 6),
    )
    for name, records, readings, aim in kinds:
        packings = ("zstd", "short", "none") if "node" in name else ("zstd", "none")
        for compression in packings:
            figures.add(
                f'uplink, {name}, compression = "{compression}"', "bytes/reading",
                bytes_per_reading(records, readings, compression),
                None if compression == "none" else f"<= {aim}",
            )  # fmt: skip


def bench_link(figures: Figures, image: Path | None) -> None:
    """Measure the serial link in virtual time, and what it takes of the board's image."""
    for figure in link.figures():
        figures.take(figure)
    if (why := missing(image)) is not None:
        print(f"link of the board: not measured: {why}", file=sys.stderr)
        return
    for figure in link_board.link_figures(image):
        figures.take(figure)


def bench_board(figures: Figures, image: Path | None, suite: bool) -> None:
    """Measure the board's image on QEMU, or the time of the HIL suite; nothing without QEMU."""
    if (why := missing(image)) is not None:
        print(f"board: not measured: {why}", file=sys.stderr)
        return
    for figure in [suite_figure(image)] if suite else board_figures(image):
        figures.take(figure)


def bench_flash(figures: Figures, image: Path | None, short: bool) -> None:
    """Measure flashing against the model: one board, many, and what goes wrong."""
    if (why := missing(image)) is not None:
        print(f"flash of the real image: not measured: {why}", file=sys.stderr)
    else:
        flashing.bench_one(figures)
    flashing.bench_lanes(figures, 8 if short else 200)
    flashing.bench_cable(figures, 4 if short else 100)
    flashing.bench_refused(figures, 2 if short else 100)


def bench_update(figures: Figures, short: bool) -> None:
    """Measure an update of nodes over their bus, in virtual time."""
    for figure in update.figures(4096 if short else update.SIZE):
        figures.take(figure)


def _steps(
    figures: Figures, run: int, extent: Extent, image: Path | None
) -> dict[str, Callable[[], None]]:
    return {
        "core": lambda: bench_core(figures),
        "node": lambda: bench_nodes(figures),
        "rest": lambda: bench_rest(figures, extent.seconds),
        "start": lambda: bench_start(figures, extent.short),
        "reload": lambda: bench_reload(figures, extent.short),
        "console": lambda: bench_console(figures, extent.seconds),
        "delivery": lambda: bench_delivery(figures, extent),
        "fixed": lambda: bench_fixed(figures, extent),
        "return": lambda: bench_return(figures, extent),
        "line": lambda: bench_line(figures, extent.seconds),
        "alarms": lambda: bench_alarms(figures, extent.short),
        "profiles": lambda: bench_profiles(figures, extent.seconds),
        "uplink": lambda: bench_uplink(figures, run),
        "exporters": lambda: bench_exporters(figures, extent.short),
        "outage": lambda: bench_outage(figures, extent.short),
        "link": lambda: bench_link(figures, image),
        "board": lambda: bench_board(figures, image, suite=False),
        "flash": lambda: bench_flash(figures, image, extent.short),
        "update": lambda: bench_update(figures, extent.short),
        "history": lambda: bench_history(figures, extent.short),
        ONLY_IF_ASKED: lambda: bench_board(figures, image, suite=True),
    }


def _measure(
    figures: Figures, runs: int, extent: Extent, only: str | None, image: Path | None
) -> list[str]:
    """Run the steps so many times, with a line for each on standard error; return what failed."""
    start = time.monotonic()
    failed = []
    for run in range(runs):
        steps = _steps(figures, run, extent, image)
        if only is not None and only not in steps:
            raise SystemExit(f"--only: expected one of {', '.join(steps)}, got {only}")
        leave_out = (ONLY_IF_ASKED, *(ONCE if run else ()))
        chosen = [only] if only else [name for name in steps if name not in leave_out]
        for number, name in enumerate(chosen, 1):
            minutes, seconds = divmod(int(time.monotonic() - start), 60)
            print(
                f"{minutes:2}:{seconds:02} run {run + 1} of {runs}, "
                f"step {number} of {len(chosen)}: {name}",
                file=sys.stderr,
                flush=True,
            )
            try:
                steps[name]()
            except Exception:  # noqa: BLE001 - the others took minutes: they are shown
                traceback.print_exc()
                failed.append(f"run {run + 1}, step {name}")
    return failed


def main() -> None:
    """Run the steps, show the table."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="runs of each figure (3)")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of a load run (5)")
    parser.add_argument("--only", help=f"one of {', '.join(_steps(Figures(), 0, Extent(0), None))}")
    parser.add_argument("--image", type=Path, help="the board's image (ELF); built if not given")
    parser.add_argument(
        "--short", action="store_true",
        help="one moment at small loads: shows that it works, the figures mean nothing",
    )  # fmt: skip
    parser.add_argument(
        "--write", action="store_true", help="renew the figures measured in docs/benchmarks.md"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for machines")
    arguments = parser.parse_args()
    if arguments.short and arguments.write:
        parser.error("--short: its figures mean nothing; measure without it to --write")
    figures = Figures()
    extent = Extent(0.3, short=True) if arguments.short else Extent(arguments.seconds)
    runs = 1 if arguments.short else arguments.runs
    page = _PAGE.read_text(encoding="utf-8") if _PAGE.exists() else ""
    if arguments.write and (warning := of_another_machine(page)):
        print(f"--write: {warning}", file=sys.stderr)
    failed = _measure(figures, runs, extent, arguments.only, arguments.image)
    found = list(figures.all.values())
    console = Console(stderr=arguments.json, width=None if sys.stdout.isatty() else 140)
    if arguments.json:
        print(json.dumps({figure.name: figure.as_dict() for figure in found}))
    else:
        print_table(found, console)
    if arguments.write:
        today = dt.datetime.now(dt.UTC).date().isoformat()
        _PAGE.write_text(markdown(found, today, page), encoding="utf-8")
        console.print(f"wrote {_PAGE}")
        for name in dropped(found, page):
            console.print(f"dropped, as it was measured on another machine or kernel: {name}")
    if failed:
        sys.exit(f"not measured: {'; '.join(failed)}")


if __name__ == "__main__":
    main()
