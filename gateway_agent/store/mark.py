"""A mark records how far a node was read, in the same commit as the records it covers."""

from typing import NamedTuple


class Mark(NamedTuple):
    """The last boot epoch, sample and event sequence (u32 each) taken from one node.

    They hold for the key ``key_id`` (1 to 65535; 0: not known) alone: a node that gets a new key
    may have lost everything it had stored, its boot epoch with it.
    """

    boot_epoch: int
    sample_seq: int
    event_seq: int
    key_id: int = 0
