"""Figures of flashing: a technician's actions and time per board, and what must never happen.

The board of the first figures is the real image on QEMU, booted from the model's flash. The counts
over hundreds of boards are taken with a node that is a process (``hil/boot_rom/place.py``).
"""

import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final, TypedDict

from boards import build as images
from boards.elf import read_symbols
from boards.errors import BoardError
from boards.flash import station_log
from boards.flash.lanes import FlashLane, LaneResult, flash_lanes, named_lanes
from boards.flash.run import FlashRequest, flash
from boards.folder import default_name
from hil.boot_rom.cable import BootRomBoard
from hil.boot_rom.chip import BootRom
from hil.boot_rom.place import BoardPlace
from hil.boot_rom.started import StartedBoard

from .report import Figures

LANES: Final = 4
_BITS: Final = 11  # of a byte on the bootloader's line: start, 8, even parity, stop
_BYTES: Final = 20_000  # of the stand-in image
_OTHER_CHIP: Final = 0x431
_UNIT: Final = 7


def stand_in_image(size: int) -> bytes:
    """Return what begins like an image of the board and is nothing that a chip could run."""
    vectors = (0x20004000).to_bytes(4, "little") + (0x08000101).to_bytes(4, "little")
    return vectors + random.Random(size).randbytes(size - 9) + b"\x01"


class FlashedBoard(TypedDict):
    """What is used of the report of the command."""

    human_actions: list[str]
    seconds: float


class Hands:
    """A technician: connects the next of ``boards``, cycles the power, takes the board out."""

    def __init__(self, place: BoardPlace, boards: list[bytes], results: list[LaneResult]) -> None:
        self._place = place
        self._boards = boards
        self._results = results
        self.roms: list[BootRom] = []
        self.actions = 0

    def begin(self, step: str) -> None:
        """Look at nothing."""

    def progress(self, done: int, total: int) -> None:
        """Look at nothing."""

    def end(self, text: str) -> None:
        """Look at nothing."""

    def ask(self, text: str) -> None:
        """Do what is asked for."""
        assert "take the board's power away" in text, text
        self.actions += 1
        self._place.power_cycle()

    def wait(self, text: str) -> None:
        """Connect the next board if the lane is free."""
        if text.startswith("a board") and self._place.is_empty and self._boards:
            self.roms.append(self._place.put_in(self._boards.pop(0)))

    def done(self, result: LaneResult) -> None:
        """Stick the label on if there is one, and take the board out."""
        self.actions += 1 + (result.report is not None)  # connected; the label
        self._results.append(result)
        self._place.take_out()


def stand_in_request(folder: Path) -> FlashRequest:
    """Return what is asked of boards whose node is a process, without ports and address."""
    image = folder / "image.bin"
    image.write_bytes(stand_in_image(_BYTES))
    return FlashRequest(
        default_name(),
        "air",
        {"fitted": 0, "baud_div_100": 1152, "sample_period_ds": 2, "unit_id": _UNIT},
        "",
        115200,
        "",
        folder / "keys",
        folder / "station.jsonl",
        image,
        folder / "labels",
    )


def side_by_side(
    request: FlashRequest, folder: Path, boards: list[list[bytes]], count: int
) -> tuple[int, list[LaneResult], list[Hands]]:
    """Flash boards, a list for each lane, until ``count`` are proven."""
    results: list[LaneResult] = []
    with ExitStack() as stack:
        places = [stack.enter_context(BoardPlace(folder / f"{n}")) for n in range(len(boards))]
        lanes = named_lanes(",".join(f"{each.port}={each.bus_port}" for each in places))
        hands = {
            lane.place: Hands(place, uids, results)
            for lane, place, uids in zip(lanes, places, boards, strict=True)
        }

        def watcher(lane: FlashLane) -> Hands:
            return hands[lane.place]

        proven = flash_lanes(request, 1, count, lanes, watcher, threading.Event())
    return proven, results, list(hands.values())


def bench_lanes(figures: Figures, count: int) -> None:
    """Flash many boards side by side; count labels without two proofs, addresses given twice."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        request = stand_in_request(folder)
        numbers = [number.to_bytes(12, "big") for number in range(1, count + LANES)]
        boards = [numbers[lane::LANES] for lane in range(LANES)]
        begun = time.monotonic()
        proven, results, hands = side_by_side(request, folder, boards, count)
        seconds = time.monotonic() - begun
        lines = [line for line in station_log.entries(request.log) if line.get("event") == "proven"]
        twice = {
            line["uid"]
            for line in lines
            if _epoch(line["sample_after_power_cycle"]) > _epoch(line["sample"])
        }
        labels = {path.stem for path in (folder / "labels").iterdir()}
        units = [line["unit"] for line in lines]
    note = f"{count} boards, {LANES} lanes, the node is a process"
    figures.add("flash: boards proven of those connected", "", proven / count, ">= 1", note)
    figures.add("flash: labels without two proofs", "", len(labels - twice), "<= 0", note)
    figures.add("flash: addresses given twice", "", len(units) - len(set(units)), "<= 0", note)
    actions = sum(each.actions for each in hands) / max(1, len(results))
    figures.add("flash: human actions per board on lanes", "", actions, "<= 3", note)
    figures.add("flash: time per board on lanes", "s", seconds / count, note=note)


def bench_cable(figures: Figures, pulls: int) -> None:
    """Pull the cable at every so many parts of the way; the same command must end well."""
    recovered = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with BoardPlace(folder / "whole") as place:
            place.put_in(bytes(12))
            request = _at(stand_in_request(folder), place)
            flash(request, Hands(place, [], []))
            total = place.cable.taken
        for number in range(pulls):
            (own := folder / f"{number}").mkdir()
            with BoardPlace(own / "place") as place:
                place.put_in(number.to_bytes(12, "big"))
                place.cable.keeps_power = bool(number % 2)
                place.cable.pull_at = 1 + total * number // pulls
                request = _at(stand_in_request(own), place)
                try:
                    flash(request, Hands(place, [], []))
                except BoardError:
                    report = flash(request, Hands(place, [], []))
                    recovered += (
                        place.cable.pulls == 1 and report.proof_after_power_cycle is not None
                    )
    figures.add(
        "flash: recovered by the same command after a pulled cable",
        "",
        recovered / pulls,
        ">= 1",
        f"pulled at each of {pulls} parts of the way",
    )


def bench_refused(figures: Figures, tries: int) -> None:
    """Connect wrong boards, and two boards with one unique id: nothing may be written."""
    refused = twins = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(tries):
            rom = BootRom(number.to_bytes(12, "big"), chip_id=_OTHER_CHIP)
            (own := folder / f"{number}").mkdir()
            with BootRomBoard(rom, own) as board:
                request = stand_in_request(folder)
                try:
                    flash(_replaced(request, str(board.port), ""), _Nobody())
                except BoardError as error:
                    refused += "TF-FLASH-020" in str(error) and not rom.erased
        # The twin of each board comes on the other lane, between boards that are none.
        pairs = [number.to_bytes(12, "big") for number in range(1, tries + 1)]
        others = [(1 << 80 | number).to_bytes(12, "big") for number in range(tries + 1)]
        request = stand_in_request(folder)
        place = folder / "twins"
        proven: set[str] = set()
        with BoardPlace(place) as bench:
            lanes = named_lanes(f"{bench.port}={bench.bus_port}")
            queue = [
                uid
                for pair, other in zip(pairs, others[1:], strict=True)
                for uid in (pair, pair, other)
            ]
            results: list[LaneResult] = []
            hands = Hands(bench, queue, results)
            flash_lanes(request, 1, 2 * tries, lanes, lambda _: hands, threading.Event())
        for result, rom in zip(results, hands.roms, strict=False):
            twins += result.code == "TF-FLASH-024" and result.uid in proven and not rom.erased
            proven.add(result.uid)
    note = "nothing was erased"
    figures.add("flash: wrong boards refused", "", refused / tries, ">= 1", note)
    figures.add("flash: second boards with one unique id refused", "", twins / tries, ">= 1", note)


def bench_one(figures: Figures) -> None:
    """Flash the real image by the real command; QEMU is the node."""
    image = images.build(default_name())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with StartedBoard(folder, symbols=read_symbols(image.elf)) as node:
            rom = BootRom(bytes(range(12)), on_go=node.go)
            node.rom = rom
            with BootRomBoard(rom, folder) as board:
                report = _command(folder, board, node)
                line_bytes = board.taken + board.given
    note = f"image of {image.flash_bytes} bytes, emulated board"
    figures.add("flash: human actions per board", "", len(report["human_actions"]), "<= 3", note)
    figures.add("flash: time per board against the model", "s", report["seconds"], "<= 60", note)
    for baud, aim in ((115200, None), (230400, "<= 60")):
        figures.add(
            f"flash: time on the bootloader's line at {baud:,} baud",
            "s",
            line_bytes * _BITS / baud,
            aim,
            "computed from the bytes that went; erases and turnarounds come on top",
        )


def _command(folder: Path, board: BootRomBoard, node: StartedBoard) -> FlashedBoard:
    command = [str(Path(sys.executable).parent / "tianfu-node"), "flash", "--json"]
    command += ["--port", str(board.port), "--bus-port", node.bus_port]
    command += ["--role", "air", "--unit", str(_UNIT)]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        for line in process.stderr:
            if line.startswith("[you]"):
                node.power_cycle()
        report: FlashedBoard = json.loads(process.stdout.read())
    return report


class _Nobody:
    """Looks at nothing and does nothing."""

    def begin(self, step: str) -> None: ...
    def progress(self, done: int, total: int) -> None: ...
    def end(self, text: str) -> None: ...
    def ask(self, text: str) -> None: ...


def _at(request: FlashRequest, place: BoardPlace) -> FlashRequest:
    return _replaced(request, place.port, place.bus_port)


def _replaced(request: FlashRequest, port: str, bus_port: str) -> FlashRequest:
    return replace(request, port=port, bus_port=bus_port)


def _epoch(sample: object) -> int:
    return int(str(sample).split("/")[0])
