"""The slots of a board that is a process: two files that behave like flash, and a record of them.

An image is received, checked, tried and confirmed here as on a chip, but nothing of it is run: the
interpreter runs the files as they are, whatever version the record has. So a bench of processes
shows every step of an update, and only that the image itself works is for a board to show.
"""

import hashlib
import struct

from micropython import const

from protocols.wire.errors import PeerError
from protocols.wire.update.image_manifest import ROLLBACK, Manifest
from protocols.wire.update.window import (
    BAD_DIGEST,
    BAD_SIGNATURE,
    BELOW_FLOOR,
    NO_MANIFEST,
    NO_MEDIUM,
    NO_RELEASE_KEY,
    NONE,
    NOT_NEWER,
    ON_TRIAL,
    TOO_LARGE,
    WRONG_ABI,
    WRONG_CLASS,
    WRONG_REVISION,
)

from .ed25519 import verify

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from firmware.node.ports import Files

CLASS = b"unix"
REVISION = 1
BASE_ABI = b"unix\x00\x00\x00\x01"
RECORD = "slots"

_SECTOR = const(131072)
_HEADER = const(512)
_SIZE = const(130560)
_PIECE = const(4096)
_MAX_TRIALS = const(3)
_PENDING = const(1)
_ON_TRIAL = const(2)
_CONFIRMED = const(3)
_REVERTED = const(5)
_FORM = ">BBBBIIIIB"  # see FileSlots._keep


class FileSlots:
    """The slots in the directory of a node's store. ``keys``: release keys, 32 bytes each."""

    SIZE = _SIZE

    def __init__(self, directory: str, store: "Files", keys: "list[bytes]") -> None:
        self._directory = directory
        self._store = store
        self._keys = keys
        self._running = self._before = self._outcome = self._trials = 0
        self._versions = [0, 0, 0]  # of the base and of both slots
        self._floor = self._next_floor = 0
        record = store.read(RECORD)
        if record is not None and len(record) == struct.calcsize(_FORM):
            fields = struct.unpack(_FORM, record)
            self._running, self._before, self._outcome, self._trials = fields[:4]
            self._versions = [0, fields[4], fields[5]]
            self._floor, self._next_floor = fields[6:8]

    def boot(self, after_failure: bool) -> None:
        """Decide what runs in the boot that begins: what is ordered, tried on, or was before."""
        if self._outcome == _PENDING:
            self._running, self._before = self._target(), self._running
            self._outcome, self._trials = _ON_TRIAL, 1
        elif self._outcome == _ON_TRIAL and after_failure:
            self._trials += 1
            if self._trials > _MAX_TRIALS:
                self._running, self._outcome = self._before, _REVERTED
        else:
            return
        self._keep()

    def status(self) -> "tuple[int, int, int, int, int, int]":
        """See Slots."""
        trial = int(self._outcome == _ON_TRIAL)
        target = 0 if trial else self._target()
        version = self._versions[self._running]
        return self._running, version, self._floor, trial, self._outcome, target

    def check(self, manifest: bytes) -> int:
        """See Slots."""
        try:
            fields = Manifest(manifest)
        except PeerError:
            return NO_MANIFEST
        if not self._keys:
            return NO_RELEASE_KEY
        if not any(verify(key, fields.signed, fields.signature) for key in self._keys):
            return BAD_SIGNATURE
        version = self._versions[self._running]
        is_back = fields.flags & ROLLBACK and fields.from_version == version
        answers = (
            (fields.board_class != CLASS, WRONG_CLASS),
            (not fields.revision_min <= REVISION <= fields.revision_max, WRONG_REVISION),
            (fields.version <= version and not is_back, NOT_NEWER),
            (fields.version < self._floor, BELOW_FLOOR),
            (fields.base_abi != BASE_ABI, WRONG_ABI),
            (fields.size > _SIZE, TOO_LARGE),
            (self._outcome == _ON_TRIAL, ON_TRIAL),
        )
        for is_wrong, reason in answers:
            if is_wrong:
                return reason
        return NONE

    def erase(self) -> bool:
        """See Slots."""
        if self._outcome == _PENDING:
            self._outcome = 0
        self._versions[self._target()] = 0
        try:
            with open(self._path(), "wb") as file:
                for _ in range(_SECTOR // _PIECE):
                    file.write(b"\xff" * _PIECE)
        except OSError:
            return False
        return self._keep()

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> bool:
        """See Slots. As in flash, only erased words take other bytes than they have."""
        if offset % 4 or len(data) % 4 or offset < 0 or offset + len(data) > _SIZE:
            return False
        try:
            with open(self._path(), "r+b") as file:
                file.seek(_HEADER + offset)
                old = file.read(len(data))
                for at in range(0, len(data), 4):
                    if old[at : at + 4] not in (b"\xff\xff\xff\xff", bytes(data[at : at + 4])):
                        return False
                file.seek(_HEADER + offset)
                file.write(bytes(data))
        except OSError:
            return False
        return True

    def blank(self, offset: int, size: int) -> bool:
        """See Slots."""
        return self._read(offset, size) == b"\xff" * size

    def digest(self, size: int) -> bytes:
        """See Slots."""
        digest = hashlib.sha256()
        for offset in range(0, size, _PIECE):
            digest.update(self._read(offset, min(_PIECE, size - offset)))
        return digest.digest()

    def order(self, manifest: bytes) -> int:
        """See Slots."""
        wrong = self.check(manifest)
        if wrong:
            return wrong
        fields = Manifest(manifest)
        if self.digest(fields.size) != fields.digest:
            return BAD_DIGEST
        self._versions[self._target()] = fields.version
        self._next_floor = fields.floor
        self._outcome = _PENDING
        return NONE if self._keep() else NO_MEDIUM

    def confirm(self) -> bool:
        """See Slots."""
        if self._outcome == _ON_TRIAL:
            self._outcome = _CONFIRMED
            self._floor = max(self._floor, self._next_floor)
        return self._keep()

    def _target(self) -> int:
        return 2 if self._running == 1 else 1

    def _path(self) -> str:
        return self._directory + "/slot" + str(self._target())

    def _read(self, offset: int, size: int) -> bytes:
        try:
            with open(self._path(), "rb") as file:
                file.seek(_HEADER + offset)
                return file.read(size)
        except OSError:
            return b""

    def _keep(self) -> bool:
        record = struct.pack(
            _FORM,
            self._running,
            self._before,
            self._outcome,
            self._trials,
            self._versions[1],
            self._versions[2],
            self._floor,
            self._next_floor,
            0,
        )
        return self._store.write(RECORD, record)
