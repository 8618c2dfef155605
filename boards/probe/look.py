"""Find out what is at a port, by asking for what can be asked without changing anything.

The order matters. A bootloader that was just started takes its speed from the first byte, so it is
asked first, with the one byte that it waits for; a node on a bus takes that byte for noise, and a
prompt for an empty line. A bus comes last: its requests would be rubbish for the others.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from boards import spec as specs
from boards.errors import BoardError
from boards.flash.an3155 import RomLoader
from boards.flash.errors import CABLE, NO_LOADER, READ_PROTECTED, SILENT, FlashingError
from boards.flash.job import FlashJob, Watcher
from boards.flash.methods.choice import method_of
from boards.flash.methods.uart import UartMethod
from boards.flash.plan import FoundBoard
from boards.flash.serial_port import FlashPort, open_line
from boards.flash.target import chip_name, target_of
from boards.node_line import NodeLine, NodeLineError, NodeRefusal, NodeSilence
from boards.node_port import is_gateway, speed_at
from protocols.wire.register_names import STATUS_NAMES

from .findings import Finding, FoundConsole, FoundLoader, FoundNode, FoundOther, PortLook

CONSOLE_BAUD: Final = 115200
_LISTEN_S: Final = 0.3
_LINE_MAX: Final = 65536  # bytes of a console that are looked at
_PROMPT: Final = ">>> "


@dataclass(frozen=True, slots=True)
class LookPlan:
    """What is asked: addresses of nodes, the speed of a bus, how long a console is listened to."""

    units: Sequence[int] = range(1, 17)
    baud: int = 0  # that of a port, see boards.node_port
    loader_baud: int = CONSOLE_BAUD
    listen_s: float = _LISTEN_S
    answer_s: float = 0.25


def look(port: str, plan: LookPlan, watcher: Watcher) -> PortLook:
    """Return what is at a port; it never fails, a port that cannot be used has a problem."""
    watcher.begin(f"look at {port}")
    try:
        found = _look(port, plan, watcher)
    except BoardError as error:
        return PortLook(port, problem=str(error))
    return PortLook(port, tuple(found))


def _look(port: str, plan: LookPlan, watcher: Watcher) -> list[Finding]:
    if is_gateway(port):
        return list(nodes_at(port, plan, watcher.progress))
    loader = loader_at(port, plan.loader_baud, watcher)
    if loader is not None:
        return [loader]
    console = console_at(port, plan.listen_s, ask=True)
    if console is not None:
        return [console]
    return list(nodes_at(port, plan, watcher.progress))


def loader_at(port: str, baud: int, watcher: Watcher) -> FoundLoader | None:
    """Return the bootloader at a port and what is on its chip; None if none answers. BoardError."""
    with FlashPort(port, baud) as opened:
        loader = RomLoader(opened, wakes=1)
        try:
            loader.connect()
        except FlashingError as error:
            if error.fault in (SILENT, NO_LOADER):
                return None
            raise
        chip_id = loader.chip_id()
    boards = tuple(name for name in specs.names() if _has_chip(name, chip_id))
    found = FoundLoader(loader.version, chip_name(chip_id), boards)
    if not boards:
        return found
    target = target_of(boards[0])
    with UartMethod(target, port, baud) as method:
        try:
            board = FlashJob(method, target, watcher).identify()
        except FlashingError as error:
            if error.fault is READ_PROTECTED:
                return FoundLoader(loader.version, found.chip, boards, read_protected=True)
            raise
    return _described(loader.version, found.chip, boards, board)


def chip_by(way: str, board: str, port: str, watcher: Watcher) -> FoundLoader:
    """Return what is on a board's chip, reached without a serial port. BoardError.

    Also of one that is another chip or is protected; ``port`` empty: the only one there is.
    """
    target = target_of(board)
    with method_of(way, target, port, 0) as method:
        found = FlashJob(method, target, watcher).identify()
    return _described("", chip_name(target.chip_id), (board,), found)


def _described(version: str, chip: str, boards: tuple[str, ...], board: FoundBoard) -> FoundLoader:
    image = board.image
    digest = hashlib.sha256(image).hexdigest() if image else ""
    return FoundLoader(
        version, chip, boards, False, board.name, digest, len(image), board.role, board.key_id
    )


def console_at(port: str, listen_s: float, ask: bool) -> FoundConsole | None:
    """Return what a console prints within ``listen_s``; ``ask``: after an empty line is typed.

    FlashingError if the port fails.
    """
    with open_line(port, CONSOLE_BAUD, 0.02) as opened:
        try:
            if ask:
                opened.reset_input_buffer()
                opened.write(b"\r")
            came = b""
            end = time.monotonic() + listen_s
            while time.monotonic() < end and len(came) < _LINE_MAX:
                came += opened.read(max(1, opened.in_waiting))
        except OSError as error:
            raise FlashingError(CABLE, f"{port}: {error}") from error
    text = came.decode("latin-1")
    printed = tuple(_objects(text.splitlines()))
    prompt = text.endswith(_PROMPT)
    return FoundConsole(prompt, printed) if prompt or printed else None


def nodes_at(
    port: str, plan: LookPlan, progress: Callable[[int, int], None]
) -> Iterable[FoundNode | FoundOther]:
    """Yield who answers on a bus, address by address. BoardError."""
    units, speed = plan.units, speed_at(port, plan.baud)
    with NodeLine(port, units[0], speed, answer_s=plan.answer_s, tries=1) as line:
        for count, unit in enumerate(units):
            progress(count, len(units))
            line.unit = unit
            found = _node_at(line)
            if found is not None:
                yield found


def _node_at(line: NodeLine) -> FoundNode | FoundOther | None:
    try:
        identity = line.identity()
    except NodeSilence as error:
        if not error.noise_bytes:
            return None
        return FoundOther(
            line.unit,
            f"{error.noise_bytes} bytes that are no answer: another speed, two nodes with one "
            "address, or A and B swapped",
        )
    except NodeRefusal:
        return FoundOther(line.unit, "a device that does not identify itself")
    except NodeLineError as error:
        return FoundOther(line.unit, str(error))
    state = line.write_state()
    _, sample = line.sample(identity.map)
    header = sample.header
    return FoundNode(
        line.unit,
        identity.map.role,
        identity.product,
        identity.uid.hex(),
        identity.image,
        header.key_id,
        state.commissioned,
        f"{header.boot_epoch}/{header.seq}",
        tuple(name for bit, name in enumerate(STATUS_NAMES) if header.status & 1 << bit),
    )


def _has_chip(board: str, chip_id: int) -> bool:
    rom = specs.load(board).flash.rom
    return rom is not None and rom.chip_id == chip_id


def _objects(lines: Iterable[str]) -> Iterable[dict[str, object]]:
    """Yield the JSON objects among lines; what is cut or is something else is left out."""
    for line in lines:
        if line.startswith("{"):
            try:
                fields = json.loads(line)
            except ValueError:
                continue
            if isinstance(fields, dict):
                yield fields
