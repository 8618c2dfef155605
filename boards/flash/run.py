"""The whole flash of one board, from the port to the proof, and its lines in the station log."""

import getpass
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from boards.errors import BoardError
from boards.records import commission_of
from firmware.node.commission import CommissionError
from protocols.wire.node_key import MAX_KEY_ID

from . import station_log
from .errors import KEY_FILE, READ_PROTECTED, FlashingError
from .job import FlashJob, FlashPlan, FoundBoard, Watcher, WrittenRegion, key_ids, plan_line
from .method import FlashMethod
from .methods.choice import method_of
from .prove import NodeProof, prove
from .target import image_of, target_of

_DEFAULT_BAUD_DIV: Final = 96


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
    unlock: bool = False
    dry_run: bool = False
    prove_s: float = 30.0

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
    """What was done. A dry run has no regions, no key file and no proof."""

    board: str
    uid: str
    plan: str
    image: str  # SHA-256
    regions: tuple[WrittenRegion, ...]
    key_file: Path | None
    proof: NodeProof | None
    seconds: float


def flash(request: FlashRequest, watcher: Watcher) -> FlashReport:
    """Flash, provision and prove one board. BoardError; the same call begins anew."""
    begun = time.monotonic()
    try:
        commission_of(request.role, request.settings)
    except CommissionError as error:
        raise BoardError(str(error)) from error
    target = target_of(request.board)
    content = image_of(target, request.image)
    with method_of("uart", target, request.port, request.baud) as method:
        job = FlashJob(method, target, watcher)
        board = _identified(request, job, method, watcher)
        lines = _StationLines(request, board.uid)
        plan = FlashPlan(
            request.role, request.settings, content, lines.next_key_id(board), request.keys
        )
        text = plan_line(plan, board, target)
        watcher.begin("plan")
        watcher.end(text)
        if request.dry_run:
            seconds = time.monotonic() - begun
            return FlashReport(request.board, board.uid, text, plan.digest, (), None, None, seconds)
        # Before anything is erased: a key id that is written down is never used again.
        lines.add("begun", {"key_id": plan.key_id, "plan": text})
        try:
            image = job.write(plan, board)
            store, _, key_file = job.provision(plan, board)
            job.start()
            watcher.begin("prove")
            proof = prove(
                request.bus_port,
                request.unit,
                request.bus_baud,
                board.uid,
                plan.role,
                plan.digest,
                key_file,
                request.prove_s,
            )
            watcher.end(
                f"{proof.role} node at address {request.unit}: unique id and image are right, "
                f"sample {proof.boot_epoch}/{proof.seq} is signed with key {proof.key_id}"
            )
        except BoardError as error:
            lines.add("failed", {"error": str(error)})
            raise
        lines.add(
            "proven",
            {
                "image": plan.digest,
                "image_verified_by": method.verified_by,
                "role": proof.role,
                "unit": request.unit,
                "key_id": proof.key_id,
                "sample": f"{proof.boot_epoch}/{proof.seq}",
            },
        )
    seconds = time.monotonic() - begun
    return FlashReport(
        request.board, board.uid, text, plan.digest, (image, store), key_file, proof, seconds
    )


def _identified(
    request: FlashRequest, job: FlashJob, method: FlashMethod, watcher: Watcher
) -> FoundBoard:
    try:
        return job.identify()
    except FlashingError as error:
        if error.fault is not READ_PROTECTED or not request.unlock or request.dry_run:
            raise
    watcher.begin("unlock")
    method.unlock()
    watcher.end("the chip has erased itself")
    return job.identify()


class _StationLines:
    """The lines of one board in the station log."""

    def __init__(self, request: FlashRequest, uid: str) -> None:
        self._request = request
        self._uid = uid

    def add(self, event: str, fields: Mapping[str, object]) -> None:
        """Add a line."""
        head = {
            "event": event,
            "board": self._request.board,
            "uid": self._uid,
            "who": getpass.getuser(),
            "station": platform.node(),
        }
        station_log.append(self._request.log, {**head, **fields})

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
