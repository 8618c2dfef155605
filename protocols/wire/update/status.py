"""What a node shows of an update, read: the status registers, and the names of their numbers."""

import struct

from protocols.wire.errors import BAD_VALUE, TRUNCATED, PeerError
from protocols.wire.update.window import MAX_BLOCKS, STATUS_FORM, STATUS_WORDS

STATUS_BYTES = 2 * STATUS_WORDS

# By number, as in protocols.wire.update.window.
STATE_NAMES = ("idle", "erasing", "receiving", "complete", "trial", "failed", "restarting")
REASON_NAMES = (
    "none",
    "no-manifest",
    "no-release-key",
    "bad-signature",
    "wrong-class",
    "wrong-revision",
    "not-newer",
    "below-floor",
    "wrong-abi",
    "too-large",
    "on-trial",
    "bad-digest",
    "no-medium",
    "other-session",
    "not-ready",
    "selftest",
)
STEP_NAMES = (
    "",
    "refused",
    "begun",
    "complete",
    "failed",
    "activated",
    "trial",
    "confirmed",
    "cancelled",
)

# What became of the last image that was taken on trial.
OUTCOME_CONFIRMED = 3
OUTCOME_NAMES = (
    "none",
    "pending",
    "on-trial",
    "confirmed",
    "refused",  # at the start: it was damaged, or did not fit the base
    "reverted",  # its trials failed
    "damaged",  # it had been confirmed
)


class UpdateStatus:
    """What a node shows of its slots and of the update under way, in the order of the registers."""

    def __init__(
        self,
        state: int,
        session: int,
        reason: int,
        blocks: int,
        missing: int,
        running: int,
        version: int,
        floor: int,
        trial: int,
        outcome: int,
        erase_ms: int,
        target: int,
        capacity: int,
        mark: int,
    ) -> None:
        self.state = state
        self.session = session
        self.reason = reason
        self.blocks = blocks  # of the image that is received
        self.missing = missing
        self.running = running  # 0: the base, 1: slot A, 2: slot B
        self.version = version  # of what runs
        self.floor = floor
        self.trial = trial  # 1: what runs is on trial
        self.outcome = outcome
        self.erase_ms = erase_ms  # for which an erase may keep the node from answering
        self.target = target  # version that is received
        self.capacity = capacity  # bytes of the longest image
        self.mark = mark  # first 4 bytes of the SHA-256 of the manifest that is received


def read_status(data: bytes) -> UpdateStatus:
    """Return the status that ``data`` begins with; PeerError if it cannot be one."""
    if len(data) < STATUS_BYTES:
        raise PeerError(TRUNCATED, "status of an update", -1, STATUS_BYTES, len(data))
    status = UpdateStatus(*struct.unpack(STATUS_FORM, data[:STATUS_BYTES]))
    if status.state >= len(STATE_NAMES):
        raise PeerError(BAD_VALUE, "state of an update", 0, "0 to 6", status.state)
    if status.reason >= len(REASON_NAMES):
        raise PeerError(BAD_VALUE, "reason of an update", 4, "0 to 15", status.reason)
    if status.blocks > MAX_BLOCKS or status.missing > status.blocks:
        raise PeerError(BAD_VALUE, "blocks of an update", 6, status.blocks, status.missing)
    if status.outcome >= len(OUTCOME_NAMES):
        raise PeerError(BAD_VALUE, "outcome of an update", 22, "0 to 6", status.outcome)
    return status


def is_missing(bitmap: bytes, number: int) -> bool:
    """Return whether the bitmap of a node has a block as missing."""
    word = number >> 4
    return bool((bitmap[2 * word] << 8 | bitmap[2 * word + 1]) >> (number & 15) & 1)
