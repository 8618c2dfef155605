"""How far the intake of one node has got; stored in the same commit as the records it covers."""

from typing import NamedTuple


class Mark(NamedTuple):
    """The last boot epoch, sample and event sequence (u32 each) taken from one node."""

    boot_epoch: int
    sample_seq: int
    event_seq: int
