"""The hash chain over a stream's records: ``head_n = SHA-256(head_(n-1) || record_n)``.

``record_n`` are the stored bytes of the record with sequence number n (deterministic CBOR, so the
bytes are the record). The chain begins at GENESIS before record 1. A head proves that no record
before it was changed, dropped, added or reordered.
"""

import hashlib
from collections.abc import Iterable
from typing import Final

HEAD_BYTES: Final = 32
GENESIS: Final = bytes(HEAD_BYTES)


def link(head: bytes, record: bytes) -> bytes:
    """Return the head after ``record``; ``head`` is the 32 byte head before it."""
    return hashlib.sha256(head + record).digest()


def fold(head: bytes, records: Iterable[bytes]) -> bytes:
    """Return the head after all of ``records``, in their order."""
    for record in records:
        head = hashlib.sha256(head + record).digest()
    return head
