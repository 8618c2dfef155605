"""``tianfu-node flash --lanes``: what each lane does, on the terminal or line by line."""

import dataclasses
import json
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from boards.errors import BoardError
from boards.flash.lanes import FlashLane, LaneResult, flash_lanes, lanes_of, named_lanes
from boards.flash.methods.dfu import DfuMethod
from boards.flash.methods.uart import UartMethod
from boards.flash.run import FlashRequest, way_of
from boards.ports import serial_ports

_WAYS = (UartMethod.name, DfuMethod.name)  # whose boards show that they wait
_DIGITS = 8  # of a unique id, as the last two groups on its label
_LAST = _DIGITS + len(" TF-FLASH-000")
_SHARE = len("100 %")


def run_lanes(request: FlashRequest, text: str, count: int, json_output: bool, bell: bool) -> None:
    """Flash ``count`` boards on the lanes that ``text`` names. BoardError."""
    if request.dry_run:
        raise BoardError("--lanes: a dry run is for one board: name its --port")
    way = way_of(request)
    if way not in _WAYS or (text == "auto" and way == DfuMethod.name):
        raise BoardError(
            f"--lanes: expected boards that wait at serial ports, or on USB as USB-PATH=BUS,..., "
            f"got {text} by {way}"
        )
    lanes = lanes_of(serial_ports()) if text == "auto" else named_lanes(text)
    console = Console(stderr=True)
    shown = _Lanes(console, json_output, bell)
    stop = threading.Event()
    live = Live(get_renderable=shown.table, console=console, refresh_per_second=4)
    with _stopped_by_ctrl_c(stop, console):
        if console.is_terminal:
            with live:
                try:
                    proven = _run(request, count, lanes, shown, stop)
                finally:
                    shown.rest()  # the last picture stays on the terminal
        else:
            proven = _run(request, count, lanes, shown, stop)
    console.print(f"{proven} of {count} boards have proven themselves")
    if proven < count:
        raise BoardError("stopped before all boards were flashed")


def _run(
    request: FlashRequest,
    count: int,
    lanes: list[FlashLane],
    shown: "_Lanes",
    stop: threading.Event,
) -> int:
    first = request.settings["unit_id"]
    return flash_lanes(request, first, count, lanes, shown.watcher, stop)


@contextmanager
def _stopped_by_ctrl_c(stop: threading.Event, console: Console) -> Iterator[None]:
    """Let boards that are being flashed come to their end; the second Ctrl-C ends all at once."""

    def end(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        console.print("ending after the boards in work; Ctrl-C again ends at once")

    before = signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class _Lanes:
    """The state of all lanes."""

    def __init__(self, console: Console, json_output: bool, bell: bool) -> None:
        self._console = console
        self._json = json_output
        self._bell = bell
        self._rows: dict[str, _LaneState] = {}

    def watcher(self, lane: FlashLane) -> "_LaneState":
        """Return who is shown a lane."""
        return self._rows.setdefault(lane.place, _LaneState(self, lane.place))

    def table(self) -> Table:
        """Return the state as a table."""
        table = Table(expand=True)  # as wide as the terminal: columns that move cannot be read
        table.add_column("lane", no_wrap=True)
        table.add_column("step", ratio=1)
        table.add_column("", justify="right", no_wrap=True, width=_SHARE)
        table.add_column("last board", no_wrap=True, width=_LAST)
        for place, row in sorted(self._rows.items()):
            table.add_row(place, row.step, row.share, row.last)
        return table

    def rest(self) -> None:
        """Show that no lane does anything any more."""
        for row in self._rows.values():
            row.step, row.share = "-", ""

    def say(self, text: str, rings: bool = False) -> None:
        """Print a line, and ring if it needs somebody."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
        if rings and self._bell:
            self._console.bell()

    def result(self, result: LaneResult) -> None:
        """Print how a board ended."""
        good = result.report is not None
        if self._json:
            fields = {**dataclasses.asdict(result), "result": "proven" if good else "failed"}
            typer.echo(json.dumps(fields, default=str))
            sys.stdout.flush()
        text = f"proven: {result.uid}, address {result.unit}" if good else result.error
        self.say(f"[{result.lane}] {text}", rings=True)


class _LaneState:
    """One lane's row."""

    def __init__(self, lanes: _Lanes, place: str) -> None:
        self._lanes = lanes
        self.place = place
        self.step = self.share = self.last = ""

    def begin(self, step: str) -> None:
        """Show a step."""
        self.step, self.share = step, ""

    def progress(self, done: int, total: int) -> None:
        """Show how far it is."""
        self.share = f"{100 * done // max(1, total)} %"

    def end(self, text: str) -> None:
        """Do nothing: the next step follows."""

    def ask(self, text: str) -> None:
        """Ask the technician."""
        self.step = text
        self._lanes.say(f"[{self.place}] you: {text}", rings=True)

    def wait(self, text: str) -> None:
        """Show what it waits for."""
        self.step, self.share = f"waits for {text}", ""

    def done(self, result: LaneResult) -> None:
        """Show how a board ended."""
        self.step = self.share = ""
        self.last = (
            f"{result.uid[-_DIGITS:]} {'proven' if result.report else result.code or 'failed'}"
        )
        self._lanes.result(result)
