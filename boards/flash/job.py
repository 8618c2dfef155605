"""One board from whatever is on it to a node that has proven what it is, step by step.

Nothing is erased before the chip is known to be the right one. The block that a chip starts from
is written last, so an image that was cut off never runs. Whatever happens, the same command begins
anew and ends well.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from boards.errors import BoardError
from boards.provision import provision
from boards.recordstore import RecordError, survey
from boards.secret import wipe
from firmware.node.commission import NAME, CommissionError
from firmware.node.commission import parse as parse_commission
from firmware.node.identity import KEY_FILE
from protocols.identity import USB_SERIAL_PATTERN
from protocols.wire.errors import PeerError
from protocols.wire.node_key import parse

from .errors import MISMATCH, WRONG_CHIP, FlashingError
from .key_files import new_key_file
from .method import ChipIdentity, FlashMethod
from .plan import FlashPlan, FoundBoard
from .target import FlashRegion, FlashTarget, chip_name

_BLANK_RUN: Final = 4096  # bytes; what follows so many blank ones is not looked at
_READ_TRIES: Final = 3  # of a piece that differs: a read may have no check of its own


class Watcher(Protocol):
    """Who is shown how the job goes."""

    def begin(self, step: str) -> None:
        """Take that a step begins."""

    def progress(self, done: int, total: int) -> None:
        """Take how many bytes of the step are done."""

    def end(self, text: str) -> None:
        """Take that the step is done, and its result."""

    def ask(self, text: str) -> None:
        """Take what the technician has to do now."""


@dataclass(frozen=True, slots=True)
class WrittenRegion:
    """A region that was read back: its SHA-256 is that of what the chip gave."""

    name: str
    address: int
    size: int
    sha256: str


class FlashJob:
    """The steps, by a method that has been opened. BoardError from every one."""

    def __init__(self, method: FlashMethod, target: FlashTarget, watcher: Watcher) -> None:
        self.verified_by = method.verified_by
        self._method = method
        self._target = target
        self._watcher = watcher

    def identify(self) -> FoundBoard:
        """Read what board it is and what is on it; WRONG_CHIP before anything else happens."""
        target = self._target
        self._watcher.begin("identify")
        found = self._method.identify()
        check_chip(found, target)
        uid, serial = found.uid or "", found.usb_serial or ""
        if not uid and not re.match(USB_SERIAL_PATTERN, serial):
            raise BoardError(
                f"{target.board}: expected the USB serial number of its chip, 12 hex digits that "
                f"stand for its unique id, got {serial!r}; use --method uart or swd"
            )
        image = self._content(target.image_at, target.image_max)
        half = target.store_bytes // 2
        store = b"".join(
            self._content(target.store_at + at, half).ljust(half, b"\xff") for at in (0, half)
        )
        role, key_id = _commissioned(store)
        self._watcher.end(
            f"{chip_name(target.chip_id)}, "
            f"{f'unique id {uid}' if uid else f'USB serial number {serial}'}, "
            f"{_described(image, role)}"
        )
        return FoundBoard(uid, image, role, key_id, serial)

    def write(self, plan: FlashPlan, board: FoundBoard) -> WrittenRegion:
        """Write the image, unless it is there already; read it back."""
        region = FlashRegion("image", self._target.image_at, plan.image)
        self.erase_store()
        if board.image != plan.image.rstrip(b"\xff"):
            return self.put(region)
        return self._read_back(region)

    def erase_store(self) -> None:
        """Erase the old record store: a key that was there must not serve again."""
        target = self._target
        self.erase("erase the record store", target.sectors_of(target.store_at, target.store_bytes))

    def provision(self, plan: FlashPlan, board: FoundBoard) -> tuple[WrittenRegion, Path]:
        """Make a key, store it here, then give it to the board; return its file.

        A key that cannot have reached the board is deleted again. What this process held of it is
        overwritten.
        """
        path = new_key_file(plan, board)
        reached = False
        store = b""
        try:
            made = provision(
                self._target.board, plan.role, path, plan.settings, board.uid or None, plan.release
            )
            store = made.store
            region = FlashRegion("record store", made.address, store)
            reached = True
            self._program(region, erase=False)
            return self._read_back(region), path
        finally:
            wipe(store)
            if not reached:
                path.unlink(missing_ok=True)

    def unlock(self) -> None:
        """Take the read-out protection away: the chip erases itself."""
        self._method.unlock()

    def start(self) -> None:
        """Start the image."""
        self._method.start(self._target.image_at)

    # --- the flash ----------------------------------------------------------------------------

    def _content(self, address: int, size: int) -> bytes:
        """Return what stands there up to the first long blank stretch, without blank end."""
        content = b""
        piece = self._method.piece
        for at in range(0, size, piece):
            content += self._method.read(address + at, min(piece, size - at), _unseen)
            if len(content) - len(content.rstrip(b"\xff")) >= _BLANK_RUN:
                break
            self._watcher.progress(at, size)
        return content.rstrip(b"\xff")

    def put(self, region: FlashRegion) -> WrittenRegion:
        """Write a region and read it back."""
        self._program(region)
        return self._read_back(region)

    def erase(self, step: str, sectors: list[int]) -> None:
        """Erase sectors, as a step of this name."""
        self._watcher.begin(step)
        self._method.erase(sectors, self._watcher.progress)
        self._watcher.end(f"sectors {sectors[0]} to {sectors[-1]}")

    def _program(self, region: FlashRegion, erase: bool = True) -> None:
        size = len(region.content)
        if erase and not self._method.write_erases:
            sectors = self._target.sectors_of(region.address, size)
            self.erase(f"erase for the {region.name}", sectors)
        self._watcher.begin(f"write the {region.name}")
        self._method.write(region.address, region.content, self._watcher.progress)
        self._watcher.end(f"{size} bytes at {region.address:#010x}")

    def _read_back(self, region: FlashRegion) -> WrittenRegion:
        self._watcher.begin(f"read back the {region.name}")
        size = len(region.content)
        piece = self._method.piece
        digest = hashlib.sha256()
        for at in range(0, size, piece):
            wanted = region.content[at : at + piece]
            for _ in range(_READ_TRIES):
                got = self._method.read(region.address + at, len(wanted), _unseen)
                if got == wanted:
                    break
            else:
                place = at + next(
                    n for n, pair in enumerate(zip(got, wanted)) if len(set(pair)) > 1
                )
                raise FlashingError(
                    MISMATCH,
                    f"{region.name}: at offset {place:#x} ({region.address + place:#010x}) "
                    f"expected {region.content[place]:#04x}, the chip has {got[place - at]:#04x}",
                )
            digest.update(got)
            self._watcher.progress(at, size)
        if digest.digest() != hashlib.sha256(region.content).digest():
            raise FlashingError(MISMATCH, f"{region.name}: its SHA-256 is {digest.hexdigest()}")
        self._watcher.end(f"SHA-256 {digest.hexdigest()} of {size} bytes, as written")
        return WrittenRegion(region.name, region.address, size, digest.hexdigest())


def _unseen(done: int, total: int) -> None:
    """Show nothing: a transfer is one piece of a longer step."""


def check_chip(found: ChipIdentity, target: FlashTarget) -> None:
    """Compare what the chip answers with what the board must have. WRONG_CHIP."""
    if found.chip_id not in (None, target.chip_id):
        got = chip_name(found.chip_id or 0)
    elif found.sectors not in (None, target.sectors):
        got = f"flash of {len(found.sectors or ())} sectors, {sum(found.sectors or ())} bytes"
    else:
        return
    raise FlashingError(
        WRONG_CHIP,
        f"{target.board} has {chip_name(target.chip_id)}, the board answers {got}; "
        "nothing was written",
    )


def _commissioned(store: bytes) -> tuple[str, int]:
    """Return role and key id of a record store as the node would read them."""
    try:
        records = survey(store).records
    except RecordError:
        return "", 0
    try:
        key_id = parse(records.get(KEY_FILE, b"")).key_id
    except PeerError:
        key_id = 0
    try:
        return parse_commission(records.get(NAME, b"")).role, key_id
    except CommissionError:
        return "", key_id


def _described(image: bytes, role: str) -> str:
    if not image:
        return "blank"
    digest = hashlib.sha256(image).hexdigest()
    return f"image {digest[:16]} ({len(image)} bytes), {role or 'no'} node in its record store"
