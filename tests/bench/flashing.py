"""Figures of flashing: a technician's actions and time per board, and what must never happen."""

import random


def stand_in_image(size: int) -> bytes:
    """Return what begins like an image of the board and is nothing that a chip could run."""
    vectors = (0x20004000).to_bytes(4, "little") + (0x08000101).to_bytes(4, "little")
    return vectors + random.Random(size).randbytes(size - 9) + b"\x01"
