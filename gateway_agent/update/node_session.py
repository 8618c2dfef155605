"""The way of one node through an update, without I/O: requests out, answers in, time injected.

Whatever was interrupted, on either side, the status of the node decides what comes next, so a
session needs no memory of its own: it begins with the status. An answer that did not come is asked
for again if that changes nothing; for an order, or after some attempts, the status is.
"""

import struct
from typing import Final, Literal, NamedTuple, TypeAlias

from gateway_agent.keys import SharedKey
from protocols.modbus_client import (
    Read,
    Request,
    WriteCounter,
    read_request,
    signed_write_request,
    write_request,
)
from protocols.wire.errors import PeerError
from protocols.wire.hmac import HmacSha256
from protocols.wire.modbus.pdu import BUSY, ILLEGAL_ADDRESS, NAK, READ_HOLDING, READ_INPUT
from protocols.wire.registers import WRITE_COUNTER_ADDRESS
from protocols.wire.update.status import (
    OUTCOME_NAMES,
    REASON_NAMES,
    STATUS_BYTES,
    UpdateStatus,
    is_missing,
    read_status,
)
from protocols.wire.update.window import (
    ACTIVATE,
    BEGIN,
    COMPLETE,
    CONFIRM,
    ERASING,
    FAILED,
    MANIFEST_BYTES,
    MANIFEST_OFFSET,
    NO_MANIFEST,
    NOT_READY,
    OTHER_SESSION,
    PARTS,
    RECEIVING,
    RESTARTING,
    STATUS_WORDS,
    UPDATE_ADDRESS,
    block_count,
    part_count,
)

from .image import SignedImage
from .write_length import WriteLength

Phase: TypeAlias = Literal[
    "waiting",
    "asking",
    "beginning",
    "erasing",
    "receiving",
    "restarting",
    "trial",
    "done",
    "failed",
]

CONFIRM_POLLS: Final = 3  # with a good tag, from what runs on trial
RESTART_MS: Final = 8_000  # in which a node is expected to answer again
ACTIVATE_MS: Final = 120_000  # in which it runs what was activated
SILENCE_MS: Final = 600_000  # without any answer, after which a node is given up
RIVAL_MS: Final = 180_000  # in which another session has to end
LOOK_MS: Final = 500
_MAX_WAIT_MS: Final = 10_000
_TRIES: Final = 3
_PENDING: Final = 1  # outcome: ordered, and not started yet
_FORGOTTEN: Final = (NO_MANIFEST, NOT_READY)  # reasons: also of a node that has just restarted
_LOST: Final = (4, 5, 6)  # outcomes: refused, reverted, damaged
_ADVICE: Final = {
    "no-manifest": "another gateway writes to this node; stop it, then order the update again",
    "no-release-key": "provision the node with the release key",
    "bad-signature": "the node has another release key than update_keys; provision it",
    "wrong-class": "the image is for another board; name the image of this one",
    "wrong-revision": "the image is for other hardware; name the image of this revision",
    "wrong-abi": "the image needs another base; flash the base of its release first",
    "not-newer": "this or a newer release runs; going back takes a signed rollback",
    "below-floor": "the release was withdrawn; take a newer one",
    "too-large": "make the image smaller",
    "on-trial": "another release runs on trial; wait until it is confirmed or reverted",
    "bad-digest": "order the update again; if it fails again, the flash is worn: replace the board",
    "no-medium": "the flash takes nothing: replace the board",
    "other-session": "another gateway updates this node; stop it",
    "selftest": "the image does not work on this node; the release before comes back by itself",
}


class UpdateTarget(NamedTuple):
    """A node that is to be updated."""

    device_id: str
    name: str
    unit: int
    uid: bytes
    key: SharedKey


class NodeSession:
    """One node. ``missing`` are the blocks it still needs, while it ``wants_blocks``."""

    def __init__(self, target: UpdateTarget, image: SignedImage, session: int, now_ms: int) -> None:
        self.target = target
        self.phase: Phase = "asking"
        self.problem = ""
        self.missing: set[int] = set()
        self.blocks = 0
        self.length = WriteLength()  # of the bus, once it is one of its nodes
        self.away_until = 0  # the node may not answer before
        self._image = image
        self._session = session
        self._mac = HmacSha256(target.key.key)
        self._mark = image.manifest.mark()
        self._next: Literal["status", "manifest", "counter", "order", "blocks", "samples"] = (
            "status"
        )
        self._order = 0
        self._counter = WriteCounter(0, 0)
        self._wait_until = now_ms
        self._heard_ms = now_ms
        self._silent = 0
        self._begun = 0
        self._erase_ms = 0
        self._denied = 0
        self._forgotten = 0  # orders refused because the node had restarted before them
        self._refused = False  # an order was refused: the status has the reason
        self._rival_ms: int | None = None
        self._activated_ms: int | None = None
        self._samples = 0
        self._manifest_at = 0  # bytes of the manifest that the node has
        self._piece = (-1, 0)  # a block that comes in pieces, and how many quarters are to come
        self._to_all: set[int] = set()  # blocks that were sent to all since the last status
        bitmap = (block_count(image.manifest.size) + 15) // 16
        self._read = Read(READ_INPUT, UPDATE_ADDRESS, STATUS_WORDS + bitmap)

    @property
    def is_over(self) -> bool:
        """Return whether nothing more will be asked."""
        return self.phase in ("done", "failed")

    @property
    def wants_blocks(self) -> bool:
        """Return whether blocks are what it needs now."""
        return self._next == "blocks" and not self.is_over

    @property
    def holds_others(self) -> bool:
        """Return whether a pass of blocks for many should wait until this one can take them."""
        return self.phase in ("asking", "beginning", "erasing") and self._silent < _TRIES

    def next(self, now_ms: int) -> Request | None:
        """Return what to ask now; None while there is nothing."""
        if self.is_over or now_ms < self._wait_until:
            return None
        unit = self.target.unit
        if self._next == "status":
            return read_request(unit, self._read)
        if self._next == "manifest":
            at = self._manifest_at
            data = self._image.manifest.data[at:][: self._manifest_step]
            return write_request(unit, UPDATE_ADDRESS + MANIFEST_OFFSET + at // 2, _words(data))
        if self._next == "counter":
            return read_request(unit, Read(READ_HOLDING, WRITE_COUNTER_ADDRESS, 4))
        if self._next == "order":
            values = self._values()
            uid = self.target.uid
            return signed_write_request(unit, UPDATE_ADDRESS, values, self._mac, uid, self._counter)
        return None

    @property
    def open_block(self) -> int | None:
        """Return the block of which a part has come, if it is still to be sent."""
        number, left = self._piece
        return number if left and number in self.missing else None

    def piece(self, number: int) -> tuple[int, int]:
        """Return which quarter of a block to send next, and how many: its end goes first."""
        if self._piece[0] != number or not self._piece[1]:
            self._piece = (number, part_count(number, self._image.manifest.size))
        left = self._piece[1]
        first = max(0, left - self.length.quarters)
        return first, left - first

    def wait_ms(self, now_ms: int) -> int:
        """Return for how long there is nothing to ask; a look every LOOK_MS is enough."""
        return max(0, self._wait_until - now_ms) or LOOK_MS

    # --- what came -------------------------------------------------------------------------------

    def answered(self, data: bytes, now_ms: int) -> None:
        """Take the registers of the answer to what :meth:`next` gave; empty: of a write."""
        self._heard_ms, self._silent = now_ms, 0
        if self._next == "status":
            self._decide(data, now_ms)
        elif self._next == "manifest":
            self._manifest_at += self._manifest_step
            self.length.note(1, 0)
            if self._manifest_at >= MANIFEST_BYTES:
                self._next = "counter"
        elif self._next == "counter":
            self._counter = WriteCounter(*struct.unpack(">II", data[:8]))
            self._next = "order"
        elif self._next == "order":
            self._taken(now_ms)

    def refused(self, code: int, now_ms: int) -> None:
        """Take an exception."""
        self._heard_ms, self._silent = now_ms, 0
        what, self._next = self._next, "status"
        self._piece = (-1, 0)
        self._wait_until = now_ms + LOOK_MS
        if what == "status":
            if code == ILLEGAL_ADDRESS:
                self._fail("the node has no slots: flash a base that has them first")
            else:
                self._wait(now_ms)
        elif what == "order" and code == NAK:
            self._denied += 1
            if self._denied > _TRIES:
                self._fail("the node refuses the signature of its own key: compare its key file")
        elif code == BUSY:
            self._wait_until = now_ms + 4 * LOOK_MS
        elif what == "order":
            self._refused = True

    def silent(self, now_ms: int) -> None:
        """Note that no good answer came: ask again, or see in the status what the node has done."""
        if self._next == "order" and self._order != CONFIRM:
            self.away_until = now_ms + RESTART_MS  # it may have taken the order
        self._silent += 1
        if self._next in ("manifest", "blocks"):
            self.length.note(0, 1)
        if self._next not in ("manifest", "counter", "blocks") or self._silent % _TRIES == 0:
            self._next = "status"
            self._wait(now_ms)
        if now_ms - self._heard_ms > SILENCE_MS:
            self._fail("the node does not answer: look at `tianfu-gateway status`, order it again")

    def block_taken(self, number: int, now_ms: int) -> None:
        """Note that the node has taken a block, or the piece of it that was to be sent."""
        self._heard_ms, self._silent = now_ms, 0
        first, _ = self.piece(number)
        self._piece = (number, first)
        self.length.note(1, 0)
        if not first:
            self._sent(number)

    def block_sent(self, number: int) -> None:
        """Note that all nodes were sent a block; the status will show whether it came."""
        self._to_all.add(number)
        self._sent(number)

    def polled(self) -> None:
        """Note a sample of this node with a good tag."""
        if self.phase == "trial":
            self._samples += 1
            if self._next == "samples" and self._samples >= CONFIRM_POLLS:
                self._order, self._next = CONFIRM, "counter"

    # --- inside ----------------------------------------------------------------------------------

    def _decide(self, data: bytes, now_ms: int) -> None:
        try:
            status = read_status(data)
        except PeerError as error:
            self._fail(f"{error}; the node and this gateway are of different releases")
            return
        manifest = self._image.manifest
        self._erase_ms = status.erase_ms
        if self._refused and status.reason in _FORGOTTEN and self._forgotten < _TRIES:
            self._refused = False
            self._forgotten += 1
        if status.state not in (ERASING, RESTARTING):
            self.away_until = now_ms
        if status.trial:
            self._on_trial(status)
        elif status.version == manifest.version:
            self.phase = "done"
        elif self._activated_ms is not None:
            self._restarted(status, now_ms)
        elif self._refused:
            self._refused = False
            reason = REASON_NAMES[status.reason]
            self._fail(f"the node refuses the image: {reason}; {_advice(reason)}")
        elif status.state in (ERASING, RESTARTING):
            self._wait_until = now_ms + LOOK_MS
        elif self._is_ours(status) and status.state == RECEIVING:
            self.phase, self.blocks, self._rival_ms = "receiving", status.blocks, None
            bitmap = data[STATUS_BYTES:]
            self.missing = {at for at in range(status.blocks) if is_missing(bitmap, at)}
            lost = len(self._to_all & self.missing)
            self.length.note(len(self._to_all) - lost, lost)
            self._to_all.clear()
            self._next = "blocks"
        elif self._is_ours(status) and status.state == COMPLETE:
            self.phase, self.blocks, self.missing = "receiving", status.blocks, set()
            self._order, self._next = ACTIVATE, "counter"
        else:
            self._begin(status, now_ms)

    def _begin(self, status: UpdateStatus, now_ms: int) -> None:
        reason = REASON_NAMES[status.reason]
        if status.state == FAILED and self._begun >= _TRIES:
            self._fail(f"the update ended {self._begun} times: {reason}; {_advice(reason)}")
        elif status.state == RECEIVING and status.reason == OTHER_SESSION:
            if self._rival_ms is None:
                self._rival_ms = now_ms
            if now_ms - self._rival_ms > RIVAL_MS:
                self._fail(f"the node is busy: {reason}; {_advice(reason)}")
                return
            self._next, self._manifest_at = "manifest", 0
            self._order = BEGIN
            self._wait_until = now_ms + _MAX_WAIT_MS
        else:
            self.phase = "beginning"
            self._order, self._next, self._manifest_at = BEGIN, "manifest", 0
            self._refused = False

    @property
    def _manifest_step(self) -> int:
        return 2 * self.length.words if self.length.quarters < PARTS else MANIFEST_BYTES

    def _sent(self, number: int) -> None:
        self.missing.discard(number)
        if not self.missing:
            self._next = "status"

    def _on_trial(self, status: UpdateStatus) -> None:
        if status.version != self._image.manifest.version:
            self._fail(f"version {status.version} runs on trial; {_advice('on-trial')}")
            return
        if self._refused:
            self._refused = False
            reason = REASON_NAMES[status.reason]
            self._fail(f"the node does not keep the image: {reason}; {_advice(reason)}")
            return
        self.phase = "trial"
        self._order = CONFIRM
        self._next = "counter" if self._samples >= CONFIRM_POLLS else "samples"

    def _restarted(self, status: UpdateStatus, now_ms: int) -> None:
        """Judge a node that was to restart into the image, and runs something else."""
        assert self._activated_ms is not None
        if status.outcome in _LOST:
            outcome = OUTCOME_NAMES[status.outcome]
            self._fail(
                f"the node runs version {status.version} again: the image was {outcome};"
                " read its log (`tianfu-node console`) before another attempt"
            )
        elif now_ms - self._activated_ms > ACTIVATE_MS:
            self._fail(f"the node still runs version {status.version}: restart it, order it again")
        else:
            self._wait_until = now_ms + 2 * LOOK_MS

    def _values(self) -> tuple[int, ...]:
        if self._order == BEGIN:
            return (BEGIN, self._session, *struct.unpack(">HH", self._mark[:4]))
        if self._order == ACTIVATE:
            return (ACTIVATE, self._session)
        version = self._image.manifest.version
        return (CONFIRM, version >> 16, version & 0xFFFF)

    def _taken(self, now_ms: int) -> None:
        """Note that the node has taken an order."""
        self._next, self._denied = "status", 0
        self._wait_until = now_ms + LOOK_MS
        if self._order == BEGIN:
            self._begun += 1
            self.phase = "erasing"
            self.away_until = now_ms + self._erase_ms
        elif self._order == ACTIVATE:
            self.phase = "restarting"
            self._activated_ms, self.away_until = now_ms, now_ms + RESTART_MS
            self._wait_until = now_ms + 2 * LOOK_MS

    def _is_ours(self, status: UpdateStatus) -> bool:
        mark = status.mark.to_bytes(4, "big")
        return mark == self._mark[:4] and status.session == self._session

    def _wait(self, now_ms: int) -> None:
        wait = min(LOOK_MS << min(self._silent // _TRIES, 6), _MAX_WAIT_MS)
        self._wait_until = now_ms + (2 * LOOK_MS if now_ms < self.away_until else wait)

    def _fail(self, problem: str) -> None:
        self.phase, self.problem, self.away_until = "failed", problem, 0


def _advice(reason: str) -> str:
    return _ADVICE.get(reason, "order the update again")


def _words(data: bytes) -> tuple[int, ...]:
    return struct.unpack(f">{len(data) // 2}H", data)
