"""The board's image on QEMU: start, turnaround, heap, rate of polls; and how long the suite takes.

Turnaround and the virtual start are taken with ``-icount``: an instruction then takes a fixed time
of the board's own clock, whatever the host does. QEMU counts no cycles, so a rate of instructions
has to stand for 168 MHz: 125 million a second (``shift=3``), 1.34 cycles for one, which is on the
slow side for a Cortex-M4 whose flash is read through the prefetch buffer and the instruction cache.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from boards.elf import read_symbols
from boards.folder import default_name
from hil.engines.deadline import Deadline
from hil.engines.images import image_of
from hil.engines.qemu import QemuEngine
from hil.engines.qemu_board import QemuBoard
from hil.engines.qemu_command import find_qemu
from hil.errors import EngineError, ImageError
from hil.wires.wire import Wire
from protocols.wire.crc import crc16
from protocols.wire.registers import MAPS
from tests.paths import ROOT

from .board_program import PROGRAM
from .report import Figure
from .requests import BAUD, FIRST_POLLS, POLLS, Request, bench_spec, memory, sample_request

_ICOUNT: Final = 3
_MIPS: Final = 1000 >> _ICOUNT
_START_S: Final = 120.0
_ANSWER_S: Final = 10.0
_LOST_S: Final = 2.0
_TRIES: Final = 3
_CODE_S: Final = 300.0
# While the node starts: a UART that is not enabled yet drops what comes, and requests without a
# pause between them keep a node on a busy host from ever answering.
_ASK_AGAIN_S: Final = 0.05
_ALONE: Final = 2_000
_COUNTS: Final = (1, 20, 60)
_REQUESTS: Final = 1000


def missing(image: Path | None) -> str | None:
    """Return why there is nothing to measure here, in one line; None: there is."""
    try:
        find_qemu()
        if image is None:
            image_of(default_name())
    except (EngineError, ImageError) as error:
        return str(error).splitlines()[0]
    return None


def board_figures(image: Path | None) -> list[Figure]:
    """Measure everything once on ``image`` (None: the one built from this tree)."""
    elf = image or image_of(default_name())
    return [
        *asyncio.run(_start_figures(elf)),
        *asyncio.run(_turnaround_figures(elf)),
        *asyncio.run(_load_figures(elf)),
    ]


def suite_figure(image: Path | None) -> Figure:
    """Run the whole HIL suite on QEMU, two tests at a time on two cores."""
    command = [sys.executable, "-m", "pytest", "hil", "--engine", "qemu", "-n", "2", "-q"]
    command += ["--image", str(image)] if image is not None else []
    if hasattr(os, "sched_setaffinity"):
        cores = ",".join(map(str, sorted(os.sched_getaffinity(0))[:2]))
        command = ["taskset", "-c", cores, *command]
    start = time.monotonic()
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    took = time.monotonic() - start
    last = (run.stdout.splitlines() or ["(nothing)"])[-1].strip("= ")
    if run.returncode:
        raise SystemExit(
            f"the HIL suite failed after {took:.0f} s, so its time means nothing: {last}"
        )
    return Figure("HIL suite on QEMU, 2 cores", "s", "<= 360", last, [took])


class _Line:
    """The master's end of one node's line."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._received = bytearray()
        self._arrived = asyncio.Event()
        self.lost = 0  # requests asked again
        wire.listen(self._receive)

    def _receive(self, data: bytes) -> None:
        self._received += data
        self._arrived.set()

    async def ask(self, request: Request, limit_s: float = _ANSWER_S) -> bytes:
        """Send a request, return the answer. TimeoutError, ValueError for a wrong answer."""
        frame, length = request
        self._received.clear()
        self._wire.write(frame)
        async with asyncio.timeout(limit_s):
            while len(self._received) < length:
                self._arrived.clear()
                await self._arrived.wait()
        answer = bytes(self._received)
        if len(answer) != length or crc16(answer) or answer[:2] != frame[:2]:
            raise ValueError(f"sent {frame.hex()}, expected {length} bytes, got {answer.hex()}")
        return answer

    async def poll(self, request: Request) -> float:
        """Return the seconds until the answer.

        QEMU's UART may tear one request in thousands (see ``hil/engines/fidelity.toml``). Such a
        request is sent again and counted, and the wait for it is left out.
        """
        for _ in range(_TRIES):
            start = time.monotonic()
            try:
                await self.ask(request, _LOST_S)
            except TimeoutError:
                self.lost += 1
                continue
            return time.monotonic() - start
        raise TimeoutError(f"{_TRIES} requests in a row without an answer: {request.frame.hex()}")

    async def first_answer(self, request: Request) -> None:
        """Send the request until there is a valid answer."""
        deadline = Deadline(_START_S)
        while not deadline.over():
            try:
                await self.ask(request, _ASK_AGAIN_S)
            except (TimeoutError, ValueError):
                continue
            return
        raise TimeoutError(f"no valid answer within {_START_S:g} s of power on")


async def _start_figures(elf: Path) -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        async with QemuEngine(elf) as engine:
            board = await engine.board(bench_spec("air", "air", warmup_limit_s=2), Path(folder))
            line = _Line(board.wire("line"))
            start = time.monotonic()
            await board.power()
            await line.first_answer(sample_request("air"))
            real = time.monotonic() - start
    with tempfile.TemporaryDirectory() as folder:
        async with QemuEngine(elf, icount=_ICOUNT) as engine:
            board = await engine.board(bench_spec("air", "air", warmup_limit_s=2), Path(folder))
            line = _Line(board.wire("line"))
            await board.power()
            await line.first_answer(sample_request("air"))
            await board.pause()
            count = await board.read_memory(read_symbols(elf)["milliseconds"], 4)
    virtual = int.from_bytes(count, "little") / 1000
    return [
        Figure("image: power on to first answer, real", "s", None, "QEMU's start included", [real]),
        Figure(
            "image: power on to first answer, virtual", "s", None,
            f"by SysTick, at {_MIPS} MIPS; asked every {_ASK_AGAIN_S:g} s", [virtual],
        ),
    ]  # fmt: skip


async def _turnaround_figures(elf: Path) -> list[Figure]:
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        async with QemuEngine(elf, icount=_ICOUNT) as engine:
            board = await engine.board(bench_spec("air", "air", warmup_limit_s=2), Path(folder))
            await board.start(_START_S)
            await board.repl().raw_exec(PROGRAM, _CODE_S)
            runs = [(f"turnaround({n}, {_REQUESTS})", n) for n in _COUNTS]
            for code, count in [*runs, (f"whole({_COUNTS[-1]}, {_REQUESTS})", _COUNTS[-1])]:
                printed = await board.repl().raw_exec(code, _CODE_S)
                whole = code.startswith("whole")
                what = "request's end to answer" if whole else "turnaround"
                for percent, value in zip(("p50", "p99"), map(int, printed.split()), strict=True):
                    note = f"virtual, {_MIPS} MIPS for 168 MHz"
                    if whole:
                        note = f"with t3.5 of 1.75 ms at {BAUD} Bd; {note}"
                    figures.append(
                        Figure(
                            f"image: {what}, {count} registers, {percent}", "ms",
                            "<= 1" if count == _COUNTS[-1] and not whole else None,
                            note, [value / 1000],
                        )
                    )  # fmt: skip
    return figures


async def _load_figures(elf: Path) -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        async with QemuEngine(elf) as engine:
            boards = {}
            for role in (map.role for map in MAPS):
                spec = bench_spec(role, role, warmup_limit_s=2)
                boards[role] = await engine.board(spec, Path(folder) / role)
            alone = await _polls_per_s(boards["air"])
            # All boards at once: each of them waits for its line most of the time.
            found = await asyncio.gather(*(_heap_figures(board) for board in boards.values()))
    note = "QEMU in the host's time; the line takes no time, t3.5 does"
    rate = Figure("image: fastest polls of one node", "polls/s", None, note, [alone])
    size = Figure(
        "image: size",
        "bytes",
        "<= 393216",
        "384 KiB",
        [elf.with_name("firmware.bin").stat().st_size],
    )
    return [size, rate, *(figure for figures in found for figure in figures)]


async def _polls_per_s(board: QemuBoard) -> float:
    """Return the node's own pace, one poll after the other. The board is off before and after."""
    line = _Line(board.wire("line"))
    poll = sample_request(board.spec.role)
    await board.start(_START_S)
    await line.first_answer(poll)
    took = 0.0
    for _ in range(_ALONE):
        took += await line.poll(poll)
    await board.kill()
    return _ALONE / took


async def _heap_figures(board: QemuBoard) -> list[Figure]:
    line = _Line(board.wire("line"))
    role = board.spec.role
    poll = sample_request(role)
    await board.start(_START_S)
    await line.first_answer(poll)
    for _ in range(FIRST_POLLS):
        await line.poll(poll)
    await asyncio.sleep(3.5)
    before, _ = await memory(line.poll, board.console)
    for _ in range(POLLS):
        await line.poll(poll)
    used, free = await memory(line.poll, board.console)
    await board.kill()
    name = f"image {role}"
    after = "after 10,000 polls"
    note = "share; two pictures of 7 KiB are held" if role == "camera" else "share"
    return [
        Figure(f"{name}: heap in use {after}", "bytes", None, "32-bit words", [used]),
        Figure(f"{name}: heap free {after}", "", ">= 0.5", note, [free / (used + free)]),
        Figure(f"{name}: heap growth over 10,000 polls", "bytes", "<= 0", "", [used - before]),
        Figure(f"{name}: requests lost of 10,000", "", None, "torn by QEMU's UART", [line.lost]),
    ]
