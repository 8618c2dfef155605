"""The node's half of an update over the bus (:mod:`protocols.wire.update.window`).

Imported when somebody asks for its registers, or while what runs is on trial: until then an update
costs no heap. The slots are the board's; what is here decides only what is asked of them, and when.
Everything that can refuse an image is asked before anything is erased. The erase and a restart
follow the answer to the order, so that the master has been given its answer before the node is
busy.

After a restart in the middle the same manifest goes on where it was: its mark is in the store since
the erase, and of each block the first word is written last, so a blank one marks a missing block.
Of a block that comes in pieces, that with the first word is taken last.
"""

import hashlib
import struct

from micropython import const

from protocols.wire.modbus.pdu import (
    BUSY,
    DEVICE_FAILURE,
    ILLEGAL_ADDRESS,
    ILLEGAL_FUNCTION,
    ILLEGAL_VALUE,
    NAK,
)
from protocols.wire.registers import EVENT_UPDATE
from protocols.wire.update.window import (
    ACTIVATE,
    BAD_DIGEST,
    BEGIN,
    BITMAP_WORDS,
    BLOCK_BYTES,
    BLOCK_HEAD,
    BLOCK_OFFSET,
    CANCEL,
    COMPLETE,
    CONFIRM,
    ERASING,
    FAILED,
    IDLE,
    MANIFEST_BYTES,
    MANIFEST_OFFSET,
    NO_MANIFEST,
    NO_MEDIUM,
    NONE,
    NOT_READY,
    OTHER_SESSION,
    PART_BYTES,
    PART_SHIFT,
    RECEIVING,
    RESTARTING,
    SELFTEST,
    STATUS_FORM,
    STATUS_WORDS,
    STEP_ACTIVATED,
    STEP_BEGUN,
    STEP_CANCELLED,
    STEP_COMPLETE,
    STEP_CONFIRMED,
    STEP_FAILED,
    STEP_REFUSED,
    STEP_TRIAL,
    TRIAL,
    UPDATE_ADDRESS,
    block_count,
    block_crc,
)

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from .ports import Slots, UpdatedNode

MARK_FILE = "update"
ERASE_MS = 4000  # as long as erase() of the slowest board takes
TRIAL_MS = 600000  # in which a trial is confirmed, or counts as failed
CONFIRM_POLLS = 3  # answers given by what is on trial before it is confirmed
IDLE_MS = 60000  # without a block, after which another session may take over

_MARK = const(32)  # bytes of it; behind them, once activated, the checks that failed before
_VERSION_AT = const(24)  # in the manifest, as the size and the digest
_SIZE_AT = const(44)
_DIGEST_AT = const(48)
_NUMBER = const(0x3FFF)  # of a block, below the quarter
_QUARTERS = const(15)


class NodeUpdate:
    """The update of one node in one boot."""

    def __init__(self, node: "UpdatedNode", slots: "Slots") -> None:
        self._node = node
        self._slots = slots
        self._store = node.board.store()
        self._offered = bytearray(MANIFEST_BYTES)  # as written last
        self._manifest = bytes(MANIFEST_BYTES)  # of the update that was begun
        self._mark = b""
        self._size = 0
        self._target = 0
        self._bitmap = bytearray(2 * BITMAP_WORDS)
        self._status = bytearray(2 * STATUS_WORDS)
        self._blocks = 0
        self._missing = 0
        self._pieces = 0  # number << 4 | quarters that are there, of the block that comes in pieces
        self._session = 0
        self._reason = NONE
        self._last_ms = 0
        self._state = IDLE
        if slots.status()[3]:
            self._state = TRIAL
            self._event(STEP_TRIAL, slots.status()[1])

    # --- registers -------------------------------------------------------------------------------

    def read_input(self, address: int, count: int, out: bytearray, at: int) -> int:
        """Copy status and bitmap, from UPDATE_ADDRESS on; 0 or an exception code."""
        first = address - UPDATE_ADDRESS
        if first < 0 or first + count > STATUS_WORDS + BITMAP_WORDS:
            return ILLEGAL_ADDRESS
        self._show()
        status = self._status
        bitmap = self._bitmap
        for index in range(2 * first, 2 * (first + count)):
            inside = index < len(status)
            out[at] = status[index] if inside else bitmap[index - len(status)]
            at += 1
        return 0

    def write(self, address: int, count: int, data: bytearray, at: int) -> int:
        """Take a manifest or a block; 0 or an exception code. Neither needs a tag."""
        offset = address - UPDATE_ADDRESS
        if self._state in (ERASING, RESTARTING):
            return BUSY
        if offset == BLOCK_OFFSET:
            return self._block(count, data, at)
        first = 2 * (offset - MANIFEST_OFFSET)
        end = first + 2 * count
        if not 0 <= first < MANIFEST_BYTES or first % PART_BYTES:
            return ILLEGAL_ADDRESS
        if end != MANIFEST_BYTES and (end > MANIFEST_BYTES or end % PART_BYTES):
            return ILLEGAL_VALUE
        self._offered[first:end] = memoryview(data)[at : at + 2 * count]
        return 0

    def order(self, count: int, data: bytearray, at: int) -> int:
        """Obey the registers of a signed write to UPDATE_ADDRESS; 0 or an exception code."""
        values = struct.unpack_from(">" + str(count) + "H", data, at)
        order = values[0]
        if self._state in (ERASING, RESTARTING):
            return BUSY
        if order == BEGIN and len(values) == 4:
            return self._begin(values[1], values[2] << 16 | values[3])
        if order == ACTIVATE and len(values) == 2:
            return self._activate(values[1])
        if order == CONFIRM and len(values) == 3:
            return self._confirm(values[1] << 16 | values[2])
        if order == CANCEL and len(values) == 2:
            if values[1] != self._session:
                return self._refuse(OTHER_SESSION, ILLEGAL_FUNCTION)
            self._event(STEP_CANCELLED, self._target)
            self._forget()
            return 0
        return ILLEGAL_VALUE

    # --- orders ----------------------------------------------------------------------------------

    def _begin(self, session: int, mark: int) -> int:
        manifest = bytes(self._offered)
        digest = hashlib.sha256(manifest).digest()
        if struct.unpack(">I", digest[:4])[0] != mark or not session:
            return self._refuse(NO_MANIFEST, ILLEGAL_VALUE)
        is_same = digest == self._mark
        is_other = self._state == RECEIVING and session != self._session
        if is_other and self._now() - self._last_ms < IDLE_MS:
            return self._refuse(OTHER_SESSION, BUSY)
        if is_same and self._state in (RECEIVING, COMPLETE):
            self._session = session
            return 0
        wrong = self._slots.check(manifest)
        if wrong:
            return self._refuse(wrong, ILLEGAL_VALUE)
        self._manifest = manifest
        self._mark = digest
        self._session = session
        self._target, self._size = _u32(manifest, _VERSION_AT), _u32(manifest, _SIZE_AT)
        self._blocks = block_count(self._size)
        self._missing = self._blocks
        self._pieces = 0
        self._reason = NONE
        self._last_ms = self._now()
        for index in range(len(self._bitmap)):
            self._bitmap[index] = 0
        for number in range(self._blocks):
            self._set(number, True)
        self._event(STEP_BEGUN, self._target)
        if self._is_whole():
            self._complete()
        elif (self._store.read(MARK_FILE) or b"")[:_MARK] == digest:
            self._resume()
        else:
            self._state = ERASING
        return 0

    def _activate(self, session: int) -> int:
        if session != self._session or self._state != COMPLETE:
            return self._refuse(NOT_READY, ILLEGAL_FUNCTION)
        wrong = self._slots.order(self._manifest)
        if wrong:
            self._fail(wrong)
            return DEVICE_FAILURE
        checks = self._node.failed_checks
        self._store.write(MARK_FILE, self._mark + bytes((checks >> 8 & 0xFF, checks & 0xFF)))
        self._event(STEP_ACTIVATED, self._target)
        self._state = RESTARTING
        return 0

    def _confirm(self, version: int) -> int:
        running = self._slots.status()
        if running[1] != version:
            return self._refuse(NOT_READY, ILLEGAL_FUNCTION)
        if not running[3]:
            return 0  # once more, because the answer was lost
        node = self._node
        if node.sample_frame.seq < 1 or node.server.polls < CONFIRM_POLLS:
            return self._refuse(NOT_READY, BUSY)
        # A part that was broken before the update is no fault of it.
        kept = self._store.read(MARK_FILE) or b""
        before = kept[_MARK] << 8 | kept[_MARK + 1] if len(kept) == _MARK + 2 else 0
        if node.failed_checks & ~before:
            return self._refuse(SELFTEST, DEVICE_FAILURE)
        if not self._slots.confirm():
            return self._refuse(NO_MEDIUM, DEVICE_FAILURE)
        self._event(STEP_CONFIRMED, version)
        self._forget()
        return 0

    # --- blocks ----------------------------------------------------------------------------------

    def _block(self, count: int, data: bytearray, at: int) -> int:
        if 2 * count <= BLOCK_HEAD:
            return ILLEGAL_VALUE
        session, number, crc = struct.unpack_from(">HHI", data, at)
        if session != self._session or self._state not in (RECEIVING, COMPLETE):
            return ILLEGAL_FUNCTION
        part = number >> PART_SHIFT
        number &= _NUMBER
        size = 2 * count - BLOCK_HEAD
        block = min(BLOCK_BYTES, self._size - number * BLOCK_BYTES)
        end = part * PART_BYTES + size
        if number >= self._blocks or end > block or (end < block and size % PART_BYTES):
            return ILLEGAL_VALUE
        view = memoryview(data)
        head = at + BLOCK_HEAD
        content = view[head : head + size]
        if block_crc(view[at : at + 4], content) != crc:
            return ILLEGAL_VALUE
        self._last_ms = self._now()
        if not self._is_missing(number):
            return 0
        # Bits of the quarters that are there with this piece, of the newest block alone.
        pieces = (1 << (end + PART_BYTES - 1) // PART_BYTES) - (1 << part)
        if self._pieces >> 4 == number:
            pieces |= self._pieces & _QUARTERS
        if not part and pieces != (1 << (block + PART_BYTES - 1) // PART_BYTES) - 1:
            return NAK
        offset = number * BLOCK_BYTES + part * PART_BYTES
        slots = self._slots
        if not (
            (size == 4 or slots.write(offset + 4, content[4:])) and slots.write(offset, content[:4])
        ):
            self._fail(NO_MEDIUM)
            return DEVICE_FAILURE
        self._pieces = number << 4 | pieces
        if part:
            return 0
        self._set(number, False)
        self._missing -= 1
        if not self._missing:
            self._check()
        return 0

    def _check(self) -> None:
        if self._is_whole():
            self._complete()
        else:
            self._store.write(MARK_FILE, b"")  # the next session erases
            self._fail(BAD_DIGEST)

    def _is_whole(self) -> bool:
        return self._slots.digest(self._size) == self._manifest[_DIGEST_AT : _DIGEST_AT + 32]

    def _complete(self) -> None:
        for number in range(self._blocks):
            self._set(number, False)
        self._missing = 0
        self._state = COMPLETE
        self._event(STEP_COMPLETE, self._target)

    def _resume(self) -> None:
        """Go on after a restart: what is not blank was written, and the digest decides."""
        self._state = RECEIVING
        for number in range(self._blocks):
            if not self._slots.blank(number * BLOCK_BYTES, 4):
                self._set(number, False)
                self._missing -= 1
        if not self._missing:
            self._check()

    def _is_missing(self, number: int) -> int:
        # The register of 16 blocks is big endian: its low byte is the second.
        return self._bitmap[(number >> 3) ^ 1] >> (number & 7) & 1

    def _set(self, number: int, missing: bool) -> None:
        bit = 1 << (number & 7)
        if missing:
            self._bitmap[(number >> 3) ^ 1] |= bit
        else:
            self._bitmap[(number >> 3) ^ 1] &= ~bit & 0xFF

    # --- what happens beside requests ------------------------------------------------------------

    def after_request(self) -> bool:
        """Erase, if that was ordered; return whether the node is to restart."""
        if self._state == ERASING:
            # The mark of what was there before goes first: a cut leaves none rather than a wrong.
            if (
                self._store.write(MARK_FILE, b"")
                and self._slots.erase()
                and self._store.write(MARK_FILE, self._mark)
            ):
                self._state = RECEIVING
                self._last_ms = self._now()
            else:
                self._fail(NO_MEDIUM)
        return self._state == RESTARTING

    def expired(self, now_ms: int) -> bool:
        """Return whether a trial was not confirmed in time; ``now_ms``: since the start."""
        return self._state == TRIAL and now_ms >= TRIAL_MS

    # --- inside ----------------------------------------------------------------------------------

    def _now(self) -> int:
        return self._node.uptime.ms()

    def _forget(self) -> None:
        self._state = IDLE
        self._session = self._blocks = self._missing = self._target = 0
        self._mark = b""
        self._reason = NONE

    def _refuse(self, reason: int, code: int) -> int:
        self._reason = reason
        self._event(STEP_REFUSED, reason)
        return code

    def _fail(self, reason: int) -> None:
        self._state = FAILED
        self._reason = reason
        self._mark = b""
        self._event(STEP_FAILED, reason)

    def _event(self, step: int, argument: int) -> None:
        self._node.events.push(EVENT_UPDATE, step << 8 | argument & 0xFF, self._now())

    def _show(self) -> None:
        running, version, floor, trial, outcome, _ = self._slots.status()
        mark = self._mark
        struct.pack_into(
            STATUS_FORM,
            self._status,
            0,
            self._state,
            self._session,
            self._reason,
            self._blocks,
            self._missing,
            running,
            version,
            floor,
            trial,
            outcome,
            ERASE_MS,
            self._target,
            self._slots.SIZE,
            _u32(mark, 0) if mark else 0,
        )


def _u32(data: bytes, at: int) -> int:
    return data[at] << 24 | data[at + 1] << 16 | data[at + 2] << 8 | data[at + 3]
