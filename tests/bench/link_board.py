"""What the serial link takes of a board: CPU of each frame, flash, heap. See :mod:`.board`."""

import ast
import asyncio
import re
import tempfile
import tomllib
from pathlib import Path
from typing import Final

from boards.folder import default_name
from hil.engines.images import image_of
from hil.engines.qemu import QemuEngine
from protocols.wire.registers import map_of_role
from tests.paths import ROOT

from .report import Figure
from .requests import bench_spec

_ICOUNT: Final = 3
_MIPS: Final = 1000 >> _ICOUNT
_START_S: Final = 120.0
_CODE_S: Final = 300.0
_TURNS: Final = 300
_PART: Final = 484  # fills a frame of 512 bytes

#: Defines ``frames(channel, size, turns)``: it prints p50 and p99 in us of making a frame with one
#: message and of taking its ACK.
PROGRAM: Final = """
import gc, os, time
from array import array
from protocols.wire.link.frame import ACK, HEADER, FrameWriter
from protocols.wire.link.messages import CONFIG, EVENTS, FILE, LOG, SAMPLES
from protocols.wire.link.node import NodeEnd
from protocols.wire.link.session import LinkSession
QUEUES = {SAMPLES: 464, EVENTS: 340, CONFIG: 260, FILE: 976, LOG: 256}
A, B = bytes(32), bytes(range(32))
def ack(writer, other, channel, sequence):
    writer.content[HEADER : HEADER + 6] = bytes((16, 0, 0, 0, 0, 0))
    end = writer.header(ACK, channel, sequence, 6)
    return writer.finish(other.seal(writer.content, writer.view, end), False)
def show(took):
    took = sorted(took)
    print(took[len(took) // 2], took[len(took) * 99 // 100])
def frames(channel, size, turns):
    end = NodeEnd(bytes(12), 1, 1, 1, A, os.urandom, lambda: 0, QUEUES)
    end._begin_session(LinkSession(A, B, 512, 4096), 0)
    other = LinkSession(B, A, 512, 4096)
    writer = FrameWriter()
    message = bytes(index * 7 & 255 for index in range(size))
    made = array("i", bytes(4 * turns))
    taken = array("i", bytes(4 * turns))
    gc.collect()
    for turn in range(turns):
        now = 100 * turn
        if not end.send(channel, message):
            raise ValueError("no room in turn %d" % turn)
        start = time.ticks_us()
        count = end.poll(now)
        made[turn] = time.ticks_diff(time.ticks_us(), start)
        if count <= size:
            raise ValueError("frame of %d bytes in turn %d" % (count, turn))
        count = ack(writer, other, channel, turn + 1)
        start = time.ticks_us()
        end.feed(writer.tx, count, now + 50)
        taken[turn] = time.ticks_diff(time.ticks_us(), start)
        if end.waiting(channel):
            raise ValueError("not acknowledged in turn %d" % turn)
    show(made)
    show(taken)
"""


def flash_bytes() -> int:
    """Return the bytes of the link's compiled modules that a node has, as the budgets pin them."""
    manifest = (ROOT / "boards" / default_name() / "manifest.py").read_text(encoding="utf-8")
    found = re.search(r"^GATEWAYS = (\(.*\))", manifest, re.MULTILINE)
    assert found is not None
    left_out = ast.literal_eval(found[1])
    budgets = tomllib.loads((ROOT / "tests" / "budgets.toml").read_text(encoding="utf-8"))
    sizes: dict[str, int] = budgets["file"]
    return sum(
        size
        for name, size in sizes.items()
        if name.startswith(("firmware/node/link", "protocols/wire/link/"))
        and Path(name).name not in left_out
    )


def link_figures(image: Path | None) -> list[Figure]:
    """Measure everything once on ``image`` (None: the one built from this tree)."""
    elf = image or image_of(default_name())
    figures = asyncio.run(_cpu_figures(elf))
    figures.append(Figure("link: code of a node's half", "bytes", None, "as .mpy", [flash_bytes()]))
    for role in ("air", "camera"):
        without, beside = (asyncio.run(_heap(elf, role, div)) for div in (0, 1152))
        note = "both ways of the link, its queues and its code's objects"
        figures.append(
            Figure(f"link: heap of a node, {role}", "bytes", None, note, [beside - without])
        )
    return figures


async def _cpu_figures(elf: Path) -> list[Figure]:
    sizes = {"a sample": ("SAMPLES", 2 * map_of_role("air").words), "484 bytes": ("FILE", _PART)}
    note = f"virtual, {_MIPS} MIPS for 168 MHz"
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        async with QemuEngine(elf, icount=_ICOUNT) as engine:
            board = await engine.board(bench_spec("air", "air", warmup_limit_s=2), Path(folder))
            await board.start(_START_S)
            await board.repl().raw_exec(PROGRAM, _CODE_S)
            for what, (channel, size) in sizes.items():
                code = f"frames({channel}, {size}, {_TURNS})"
                printed = (await board.repl().raw_exec(code, _CODE_S)).split()
                for part, at in (("making a frame of", 0), ("taking the ACK of", 2)):
                    for percent, value in zip(("p50", "p99"), printed[at : at + 2], strict=True):
                        name = f"link: node's CPU, {part} {what}, {percent}"
                        figures.append(Figure(name, "us", None, note, [float(value)]))
    return figures


async def _heap(elf: Path, role: str, baud_div: int) -> int:
    """Return the bytes in use, after a collection, of a node that has just started."""
    with tempfile.TemporaryDirectory() as folder:
        async with QemuEngine(elf) as engine:
            spec = bench_spec(role, role, warmup_limit_s=2, link_baud_div_100=baud_div)
            board = await engine.board(spec, Path(folder))
            await board.start(_START_S)
            code = "import gc, main; gc.collect(); gc.collect(); print(gc.mem_alloc())"
            return int((await board.repl().raw_exec(code, _CODE_S)).strip())
