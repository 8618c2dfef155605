"""What a batch brings to be stored, and whose fault it is when that fails."""

import sqlite3
from typing import NamedTuple

from gateway_agent.store.errors import StoreError
from protocols.uplink import KIND_NAMES, MAX_NUMBER, Decoded
from protocols.wire.errors import PeerError


class FrameId(NamedTuple):
    """What identifies a frame of a node: no two of them have the same."""

    device: str
    kind: str
    key_id: int
    boot_epoch: int
    seq: int

    def __str__(self) -> str:
        return (
            f"{self.device}: {self.kind} frame {self.seq} of boot {self.boot_epoch} under key"
            f" {self.key_id}"
        )


class NewRecord(NamedTuple):
    """One record to store: decoded with its verdict, or refused with the reason."""

    seq: int
    data: bytes
    decoded: Decoded | None
    auth: str
    boot_epoch: int | None
    sample_seq: int | None
    reason: str
    key_id: int | None = None

    @property
    def frame(self) -> FrameId | None:
        """Return which frame of a node the record was made of; None if of none."""
        if (
            self.decoded is None
            or self.key_id is None
            or self.boot_epoch is None
            or self.sample_seq is None
        ):
            return None
        kind = KIND_NAMES[self.decoded.kind]
        return FrameId(self.decoded.device_id, kind, self.key_id, self.boot_epoch, self.sample_seq)

    def refuse(self, reason: str) -> "NewRecord":
        """Return the same record, refused."""
        return NewRecord(self.seq, self.data, None, "", None, None, reason)

    def too_wide(self) -> str:
        """Return which value no integer column takes, as the reason of a refusal; "" for none."""
        for name, _, value in self.decoded.values if self.decoded is not None else ():
            if isinstance(value, int) and not -MAX_NUMBER - 1 <= value <= MAX_NUMBER:
                limits = f"{-MAX_NUMBER - 1} to {MAX_NUMBER}"
                return f"v of {name}: expected {limits}, as the database holds, got {value}"
        return ""


def is_of_medium(error: Exception) -> bool:
    """Return whether the database or its medium failed, and not what was to be stored in it."""
    if isinstance(error, sqlite3.Error):
        ours = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError)
        return not isinstance(error, ours)
    return isinstance(error, (OSError, MemoryError, StoreError))


def shown(error: Exception) -> str:
    """Return the reason as people read it; an error that nobody foresaw shows its type."""
    return str(error) if isinstance(error, PeerError) else f"{type(error).__name__}: {error}"
