"""Figures, their medians, and the two forms they are shown in: a terminal table and Markdown."""

import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass
class Figure:
    """One line of the table: what was measured, in which unit, in how many runs.

    ``aim`` is a bound in the same unit: ``>= 25000`` or ``<= 6``; None where there is none.
    ``note`` is the condition it was measured under.
    """

    name: str
    unit: str
    aim: str | None = None
    note: str = ""
    runs: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Return the figure to quote."""
        return statistics.median(self.runs)

    def as_dict(self) -> dict[str, object]:
        """Return it for machines."""
        return {
            "unit": self.unit,
            "median": self.median,
            "runs": self.runs,
            "aim": self.aim,
            "met": self.met,
            "note": self.note,
        }

    @property
    def met(self) -> bool | None:
        """Return True if the median meets the aim, None without an aim."""
        if self.aim is None:
            return None
        relation, bound = self.aim.split()
        return self.median >= float(bound) if relation == ">=" else self.median <= float(bound)


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


def show(value: float) -> str:
    """Return three significant digits, thousands grouped."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def cells(figure: Figure) -> list[str]:
    """Return the row of a figure."""
    met = {None: "", True: "met", False: "missed"}[figure.met]
    return [
        figure.name,
        figure.unit,
        show(figure.median),
        f"{show(min(figure.runs))} to {show(max(figure.runs))}",
        str(len(figure.runs)),
        figure.aim or "",
        met,
        figure.note,
    ]


HEADINGS = ("figure", "unit", "median", "range", "runs", "aim", "", "note")
_MACHINE = "Machine: "


def machine() -> str:
    """Return one line on the machine: processor, cores, memory, kernel, interpreters."""
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()}, "
        f"Python {platform.python_version()}"
    )


def print_table(figures: Sequence[Figure], console: Console) -> None:
    """Print the table for people."""
    table = Table(title="tianfu-edge benchmarks", caption=machine())
    for index, heading in enumerate(HEADINGS):
        table.add_column(
            heading, justify="right" if 2 <= index <= 4 else "left", overflow="fold",
            no_wrap=heading != "note",
        )  # fmt: skip
    for figure in figures:
        colour = {None: "", True: "green", False: "red"}[figure.met]
        table.add_row(*cells(figure), style=colour)
    console.print(table)


def _all_rows(page: str) -> dict[str, str]:
    rows = [line for line in page.splitlines() if line.startswith("| ")][1:]
    return {row.split(" | ")[0].removeprefix("| "): row for row in rows}


def rows_of(page: str) -> dict[str, str]:
    """Return the rows of a page that :func:`markdown` wrote on such a machine, by figure."""
    return _all_rows(page) if f"{_MACHINE}{machine()}." in page.splitlines() else {}


def of_another_machine(page: str) -> str:
    """Return, for people, what :func:`markdown` will drop of a page; "" if nothing."""
    if not _all_rows(page) or rows_of(page):
        return ""
    line = next((line for line in page.splitlines() if line.startswith(_MACHINE)), "no machine")
    return (
        f"the page was measured on another machine or kernel ({line}), this is {machine()}: rows"
        " that are not measured now will be dropped"
    )


def dropped(figures: Sequence[Figure], page: str) -> list[str]:
    """Return the names of a page's rows that :func:`markdown` drops."""
    names = {cells(figure)[0] for figure in figures}
    return [name for name in _all_rows(page) if name not in names and name not in rows_of(page)]


_WHOLE_WAY = """\
## What the figures of the whole way mean

Everything is on, as it is by default: a signature over each batch, `synchronous=FULL` in the
gateway's outbox and in the collector's database, signed receipts. *Delivered* counts the readings
that the collector's database has; it verified them first, and the gateway then got the receipt.
It is measured when the collector has met each device, whose first record costs it twenty others;
what waited from before counts only if as much was recorded meanwhile.
Devices, broker, gateway and collector share the machine's cores. The naive script
([tests/bench/naive.py](../tests/bench/naive.py)) reads the same devices in the same run and counts
the rows in its database; it signs nothing, and what gets lost on its way it does not miss. A row
with `receipt = "puback"` has no collector and counts what the gateway recorded. A commit waits for
the medium, so *fsync of 4 KiB* stands beside the figures. A gateway commits at most once in
`commit_ms`; what comes while a commit runs is in the next one, here and at the collector. So a disk
with an fsync of 5 ms adds about that much to the age of a reading at each of the two. With
`commit_ms = 0` a bus is polled again when its last poll is committed: a kill or a power cut then
loses one poll of each bus at most, not those of 50 ms.
"""


def markdown(figures: Sequence[Figure], today: str, page: str = "") -> str:
    """Return ``docs/benchmarks.md``; rows of the old ``page`` that were not measured now stay."""
    rows = rows_of(page)
    for figure in figures:
        name, *others = cells(figure)
        rows[name] = "| " + " | ".join((name, *others, today)) + " |"
    lines = [
        "# Benchmarks",
        "",
        "<!-- written by `make bench`; do not edit by hand -->",
        "",
        f"{_MACHINE}{machine()}.",
        "",
        "Medians; every run is a process of its own after a warm-up. The machine was shared, so",
        "compare ratios, not absolute times, with another machine's. Loopback only; no real serial",
        "driver and no real microcontroller took part.",
        "",
        *_WHOLE_WAY.splitlines(),
        "",
        "## What the figures of the image mean",
        "",
        "`image` is the STM32F405 image on QEMU; the other nodes run on the host's MicroPython.",
        "QEMU counts instructions, not cycles: it has neither wait states nor a pipeline. For",
        "*virtual* figures every instruction takes 8 ns (`-icount shift=3`, 125 MIPS), which",
        "stands for a Cortex-M4 of 168 MHz at 1.34 cycles an instruction: repeatable, and a real",
        "chip may be some tens of per cent off. *Turnaround* is the node's own work from a",
        "complete request to an answer that is ready, on its real register bank, while it takes",
        "no sample; the silence of t3.5 that ends a request and the server's look at the line",
        "once a millisecond come on top, as *request's end to answer* has them. Start to first",
        "answer is without the time before SysTick runs (3 ms in QEMU, whose clock flags never",
        "come). Polls a second and real times are the host's: they show what a bench can do, not",
        "what a chip can. Heap is the image's, with its 32-bit words and the chip's RAM. `make",
        "bench ARGS='--only suite --runs 1'` measures the time of the whole HIL suite.",
        "",
        "## Figures",
        "",
        "| " + " | ".join((*HEADINGS, "measured on")) + " |",
        "|" + "---|" * (len(HEADINGS) + 1),
        *rows.values(),
    ]
    return "\n".join(lines) + "\n"
