"""What a station log holds for a gateway: nodes that proved themselves twice, with their keys."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from protocols.enrolment import EnrolmentError, open_sealed, recipient_id
from protocols.exit_status import FAULT
from protocols.station_log import (
    HEAD_RULE,
    SEALED,
    ChainError,
    StationLine,
    is_head,
    proven_boards,
    read_chain,
)

from .errors import OperatorError

MAX_LOG_BYTES: Final = 1 << 28


class NotEnrolled(OperatorError):
    """Nothing was written; the text has the reason and the remedy."""

    exit_status = FAULT


@dataclass(frozen=True, slots=True)
class ProvenNode:
    """A node of the log, its key opened."""

    uid: str
    role: str
    unit: int
    key_id: int
    content: bytes  # of the key file: a secret

    @property
    def file_name(self) -> str:
        """Where its key goes, relative to the configuration."""
        return f"keys/{self.uid}-{self.key_id}.json"

    def __repr__(self) -> str:
        return f"ProvenNode({self.uid}, key {self.key_id})"


def read_nodes(
    log: Path, key: X25519PrivateKey, uids: tuple[str, ...], head: str = ""
) -> list[ProvenNode]:
    """Return the proven nodes of a log, or those of ``uids``. NotEnrolled.

    ``head`` is what the station has as its log's head, or the beginning of it: a log that was
    shortened on the way has another.
    """
    try:
        with log.open("rb") as file:
            content = file.read(MAX_LOG_BYTES)
        found = read_chain(content)
    except OSError as error:
        raise NotEnrolled(f"{log}: cannot be read: {error.strerror}") from error
    except ChainError as error:
        raise NotEnrolled(f"{log}, {error}; copy the log from its station again") from error
    if found.cut:
        raise NotEnrolled(
            f"{log}, line {found.cut[-1]}: expected a whole line, it is cut off; copy the log from "
            "its station again (`tianfu-node log --verify` checks it there)"
        )
    if head and not is_head(found, head):
        raise NotEnrolled(
            f"{log}: expected a log whose last line has the head {head} ({HEAD_RULE}), it has "
            f"{found.head}: lines are missing at its end, or were added, or it is another log; "
            "copy it again, and ask its station for the head (`tianfu-node log --verify` there)"
        )
    proven = proven_boards(found.lines)
    for uid in uids:
        if uid not in proven:
            raise NotEnrolled(
                f"{log}: expected node {uid} to have proven itself before and after a power cycle, "
                "the log does not show it; flash it again with `tianfu-node flash`"
            )
    own = recipient_id(key.public_key())
    return [_opened(log, found.lines, proven[uid], own, key) for uid in uids or proven]


def _opened(
    log: Path, lines: list[StationLine], line: StationLine, own: str, key: X25519PrivateKey
) -> ProvenNode:
    uid, role, unit, key_id = (line.get(name) for name in ("uid", "role", "unit", "key_id"))
    if not (isinstance(uid, str) and isinstance(role, str)) or not (
        isinstance(unit, int) and isinstance(key_id, int)
    ):
        raise NotEnrolled(
            f"{log}: expected unique id, role, address and key id in the line of node {uid!r}, one "
            "of them is not there; flash it again"
        )
    sealed = [
        each
        for each in lines
        if (each.get("event"), each.get("uid"), each.get("key_id")) == (SEALED, uid, key_id)
    ]
    for each in sealed:
        if each.get("recipient") == own:
            try:
                content = open_sealed(each.get("sealed"), uid, key_id, key)
            except EnrolmentError as error:
                raise NotEnrolled(f"{log}: {error}") from error
            return ProvenNode(uid, role, unit, key_id, content)
    others = ", ".join(str(each.get("recipient")) for each in sealed) or "nobody"
    raise NotEnrolled(
        f"{log}: expected key {key_id} of node {uid} sealed to {own}, got one sealed to {others}; "
        "on the station run `tianfu-node log --seal FILE.pub` with this gateway's public file, and "
        "copy the log again"
    )
