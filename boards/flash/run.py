"""The whole flash of one board, from the port to the proof, and its lines in the station log."""

import getpass
import platform
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
from protocols.wire.node_key import MAX_KEY_ID

from . import station_log
from .errors import KEY_FILE, READ_PROTECTED, FlashingError
from .job import FlashJob, FlashPlan, FoundBoard, Watcher, WrittenRegion, key_ids, plan_line
from .methods.choice import method_of
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
    with _job(request, watcher) as (job, content):
        board = _identified(request, job, watcher)
        allow(board.uid)
        chip_uid = board.uid
        if request.replaces:
            # Its name and its series go on, so it is commissioned with the id they have.
            board = replace(board, uid=request.replaces)
        lines = _StationLines(request, board.uid, begun)
        plan = FlashPlan(
            request.role,
            request.settings,
            content,
            lines.next_key_id(board),
            request.keys,
            request.release,
        )
        text = plan_line(plan, board, request.board)
        watcher.begin("plan")
        watcher.end(text)
        if request.dry_run:
            seconds = time.monotonic() - begun
            return FlashReport(
                request.board, board.uid, text, plan.digest, (), None, None, None, (), (), seconds
            )
        # Before anything is erased: a key id that is written down is never used again.
        lines.add("begun", {"key_id": plan.key_id, "plan": text, "chip_uid": chip_uid})
        with lines.failing():
            image = job.write(plan, board)
            store, key_file = job.provision(plan, board)
            job.start()
    with lines.failing():
        first, second = _proven(request, plan, board.uid, key_file, watcher)
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
        board.uid,
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


def _proven(
    request: FlashRequest, plan: FlashPlan, uid: str, key: Path, watcher: Watcher
) -> tuple[NodeProof, NodeProof]:
    """Let the node prove itself, lose its power, and prove itself again."""
    prover = NodeProver(
        request.bus_port, request.unit, request.bus_baud, uid, plan.role, plan.digest, key
    )
    watcher.begin("prove")
    try:
        first = prover.prove(request.prove_s)
    except FlashingError as error:
        raise silence_of(error, request.port, request.baud) from error
    watcher.end(_shown(first, request.unit))
    watcher.begin("prove after a power cycle")
    watcher.ask(POWER_CYCLE)
    second = prover.prove_again(first, request.power_s, watcher.ask)
    watcher.end(_shown(second, request.unit))
    return first, second


def _labelled(
    request: FlashRequest, lines: "_StationLines", label: Label, watcher: Watcher
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
            watcher.begin("write MicroPython")
            how = write_firmware(
                request.board, request.firmware, request.port, "", watcher.progress
            )
            watcher.end(f"verified by {how}")
        with stock_job(request.board, request.port, watcher) as found:
            yield found
        return
    target = target_of(request.board)
    content = image_of(target, request.image)
    name = request.method or spec.flash.method
    with method_of(name, target, request.port, request.baud) as method:
        yield FlashJob(method, target, watcher), content


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


class _StationLines:
    """The lines of one board in the station log."""

    def __init__(self, request: FlashRequest, uid: str, begun: float) -> None:
        self._request = request
        self._uid = uid
        self._begun = begun

    @contextmanager
    def failing(self) -> Iterator[None]:
        """Add a line if what is done inside fails."""
        try:
            yield
        except BoardError as error:
            self.add("failed", {"error": str(error)})
            raise

    def add(
        self, event: str, fields: Mapping[str, object], verified_by: str = ""
    ) -> Mapping[str, object]:
        """Add a line; ``verified_by`` is how what was written was read again."""
        head = {
            "event": event,
            "board": self._request.board,
            "uid": self._uid,
            "who": getpass.getuser(),
            "station": platform.node(),
            "lane": self._request.lane,
            "seconds": round(time.monotonic() - self._begun, 1),
            "verified_by": verified_by,
        }
        line = {**head, **fields}
        station_log.append(self._request.log, line)
        return line

    def next_key_id(self, board: FoundBoard) -> int:
        """Return a key id that the board never had, as far as it, the log and the folder show."""
        used = [board.key_id, *key_ids(self._request.keys, board.uid)]
        for line in station_log.entries(self._request.log):
            key_id = line.get("key_id")
            if line.get("uid") == board.uid and isinstance(key_id, int):
                used.append(key_id)
        if max(used) >= MAX_KEY_ID:
            raise FlashingError(
                KEY_FILE, f"{board.uid}: expected a key id up to {MAX_KEY_ID}, all are used"
            )
        return max(used) + 1
