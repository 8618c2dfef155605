"""The whole flash of one board, from the port to the proof, and its lines in the station log."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from boards import spec as specs
from boards.errors import BoardError
from boards.label import Label, write_png, write_sheet, zpl
from boards.records import commission_of
from firmware.node.commission import CommissionError

from .board_lines import BoardLines
from .errors import READ_PROTECTED, FlashingError
from .job import FlashJob, Watcher, WrittenRegion
from .key_files import named_key_file
from .methods.choice import method_of
from .plan import FlashPlan, FoundBoard, plan_line
from .prove import NodeProof, NodeProver
from .silence import silence_of
from .target import image_of, target_of

if TYPE_CHECKING:
    from .stock import StockJob

_DEFAULT_BAUD_DIV: Final = 96
#: What a technician does with each board, besides sticking its label on.
CONNECT: Final = "connect the board with BOOT0 high"
POWER_CYCLE: Final = "set BOOT0 low, take the board's power away and give it back"
STICK: Final = "stick the label on the board"


@dataclass(frozen=True, slots=True)
class FlashRequest:
    """What a technician asks for. ``settings`` has the node's address too."""

    board: str
    role: str
    settings: Mapping[str, int]
    port: str
    baud: int
    bus_port: str
    keys: Path
    log: Path
    image: Path | None = None
    labels: Path | None = None  # the folder for the labels; None: no label is made
    unlock: bool = False
    dry_run: bool = False
    lane: str = ""  # the place of the ports, where several boards are flashed side by side
    prove_s: float = 30.0
    power_s: float = 120.0  # how long the power cycle may take
    replaces: str = ""  # the unique id of the broken node that this board continues
    method: str = ""  # of boards/flash/methods; empty: the first in board.toml
    firmware: Path | None = None  # a release of MicroPython for a stock board that has none
    release: bytes = b""  # the public keys whose updates the node takes

    @property
    def unit(self) -> int:
        """The node's Modbus address."""
        return self.settings["unit_id"]

    @property
    def bus_baud(self) -> int:
        """The speed of the node's bus."""
        return 100 * self.settings.get("baud_div_100", _DEFAULT_BAUD_DIV)


@dataclass(frozen=True, slots=True)
class FlashReport:
    """What was done. A dry run has no regions, no key file and no proofs."""

    board: str
    uid: str
    plan: str
    image: str  # SHA-256
    regions: tuple[WrittenRegion, ...]
    key_file: Path | None
    proof: NodeProof | None
    proof_after_power_cycle: NodeProof | None
    human_actions: tuple[str, ...]
    label: tuple[Path, ...]  # the same label as files of several kinds
    seconds: float


def flash(
    request: FlashRequest, watcher: Watcher, allow: Callable[[str], None] = lambda _uid: None
) -> FlashReport:
    """Flash, provision and prove one board, twice. BoardError; the same call begins anew.

    ``allow`` gets the unique id before anything is erased, and raises BoardError if that board
    must not be flashed.
    """
    begun = time.monotonic()
    try:
        commission_of(request.role, request.settings)
    except CommissionError as error:
        raise BoardError(str(error)) from error
    if request.release and not specs.load(request.board).has_image:
        raise BoardError(
            f"{request.board}: expected no release key: it has no slots for updates over its bus"
        )
    if request.method and not specs.load(request.board).has_image:
        raise BoardError(
            f"{request.board}: expected no --method: its files go over the REPL at --port; what "
            "--firmware names goes by the board's own way"
        )
    if request.firmware is not None and specs.load(request.board).has_image:
        raise BoardError(
            f"{request.board}: expected no --firmware: the image of the node itself is all that "
            "is on it; name another one with --image"
        )
    with _job(request, watcher) as (job, content):
        board = _identified(request, job, watcher)
        if board.uid:
            allow(board.uid)
        chip_uid = board.uid
        if request.replaces:
            # Its name and its series go on, so it is commissioned with the id they have.
            board = replace(board, uid=request.replaces)
        lines = BoardLines(request.log, board, request.board, request.lane, begun)
        plan = FlashPlan(
            request.role,
            request.settings,
            content,
            lines.next_key_id(board, request.keys),
            request.keys,
            request.release,
        )
        text = plan_line(plan, board, request.board)
        watcher.begin("plan")
        watcher.end(text)
        if request.dry_run:
            seconds = time.monotonic() - begun
            return FlashReport(
                request.board, board.name, text, plan.digest, (), None, None, None, (), (), seconds
            )
        # Before anything is erased: a key id that is written down is never used again.
        lines.add("begun", {"key_id": plan.key_id, "plan": text, "chip_uid": chip_uid})
        with lines.failing():
            image = job.write(plan, board)
            store, key_file = job.provision(plan, board)
            job.start()
    with lines.failing():
        prover = NodeProver(
            request.bus_port,
            request.unit,
            request.bus_baud,
            board.uid,
            plan.role,
            plan.digest,
            key_file,
            board.usb_serial,
        )
        first = _proven_once(prover, request, watcher)
        if not board.uid:
            allow(first.uid)
            lines.known(first.uid)
            key_file = named_key_file(key_file, first.uid)
            prover = replace(prover, uid=first.uid, key=key_file)
        second = _proven_again(prover, first, request, watcher)
    # Written from what the node itself showed, and by nothing before the second proof.
    proven = lines.add(
        "proven",
        {
            "image": second.image,
            "image_verified_by": job.verified_by,
            "role": second.role,
            "unit": request.unit,
            "key_id": second.key_id,
            "sample": first.sample,
            "sample_after_power_cycle": second.sample,
            "silent_parts": second.silent_parts,
        },
        job.verified_by,
    )
    files = _labelled(request, lines, Label.of_line(proven), watcher)
    return FlashReport(
        request.board,
        second.uid,
        text,
        plan.digest,
        (image, store),
        key_file,
        first,
        second,
        (CONNECT, POWER_CYCLE, STICK) if files else (CONNECT, POWER_CYCLE),
        files,
        time.monotonic() - begun,
    )


def _proven_once(prover: NodeProver, request: FlashRequest, watcher: Watcher) -> NodeProof:
    """Let the node prove itself."""
    watcher.begin("prove")
    try:
        first = prover.prove(request.prove_s)
    except FlashingError as error:
        raise silence_of(error, way_of(request), request.port, request.baud) from error
    watcher.end(_shown(first, request.unit))
    return first


def _proven_again(
    prover: NodeProver, first: NodeProof, request: FlashRequest, watcher: Watcher
) -> NodeProof:
    """Let the node lose its power and prove itself again."""
    watcher.begin("prove after a power cycle")
    watcher.ask(POWER_CYCLE)
    second = prover.prove_again(first, request.power_s, watcher.ask)
    watcher.end(_shown(second, request.unit))
    return second


def _labelled(
    request: FlashRequest, lines: BoardLines, label: Label, watcher: Watcher
) -> tuple[Path, ...]:
    """Draw the label of a board that has proven itself twice."""
    if request.labels is None:
        return ()
    watcher.begin("label")
    try:
        request.labels.mkdir(parents=True, exist_ok=True)
        picture, sheet, printer = (
            request.labels / f"{label.uid}.{kind}" for kind in ("png", "pdf", "zpl")
        )
        write_png(label, picture)
        write_sheet([label], sheet)
        printer.write_text(zpl(label), encoding="utf-8")
    except OSError as error:
        raise BoardError(
            f"{request.labels}: expected a folder for labels, got: {error.strerror}; the board is "
            "proven: make its label with `tianfu-node label`"
        ) from error
    files = (picture, sheet, printer)
    lines.add("labelled", {"label": label.text, "files": list(map(str, files))})
    watcher.end(f"{label.text} in {sheet}")
    return files


def _shown(proof: NodeProof, unit: int) -> str:
    silent = [str(bit + 1) for bit in range(8) if proof.silent_parts >> bit & 1]
    parts = f" but for sensors that do not answer: number {', '.join(silent)}" if silent else ""
    return (
        f"{proof.role} node at address {unit}: unique id and image are right, self-test passed"
        f"{parts}, sample {proof.sample} is signed with key {proof.key_id}"
    )


@contextmanager
def _job(request: FlashRequest, watcher: Watcher) -> "Iterator[tuple[FlashJob | StockJob, bytes]]":
    """Reach the board; yield its job and the image that shall be on it."""
    spec = specs.load(request.board)
    if spec.stubs:
        try:
            from .stock import stock_job, write_firmware
        except ImportError as error:
            raise BoardError(
                f"{error.name} is not installed; flashing a stock board needs it: "
                "pip install 'tianfu-edge[station]'"
            ) from error
        if request.firmware is not None and not request.dry_run:
            nobody = FoundBoard("", b"", "", 0)  # known once MicroPython runs
            lines = BoardLines(request.log, nobody, request.board, request.lane, time.monotonic())
            digest, how = write_firmware(
                request.board, request.firmware, request.port, "", watcher, request.unlock
            )
            lines.add("firmware", {"firmware": digest}, how)
        with stock_job(request.board, request.port, watcher) as found:
            yield found
        return
    target = target_of(request.board)
    content = image_of(target, request.image)
    with method_of(way_of(request), target, request.port, request.baud) as method:
        yield FlashJob(method, target, watcher), content


def way_of(request: FlashRequest) -> str:
    """Return the name of the way in: what was asked for, or the board's own."""
    return request.method or specs.load(request.board).flash.method


def _identified(request: FlashRequest, job: "FlashJob | StockJob", watcher: Watcher) -> FoundBoard:
    try:
        return job.identify()
    except FlashingError as error:
        if error.fault is not READ_PROTECTED or not request.unlock or request.dry_run:
            raise
    watcher.begin("unlock")
    job.unlock()
    watcher.end("the chip has erased itself")
    return job.identify()
