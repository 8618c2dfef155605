"""Signed writes: only who has a node's key changes what the node measures, shows or answers to.

One request writes one block of holding registers, with FC 10 (or 17) to ``SIGNED_ADDRESS``::

     0  boot epoch  u32     the counter that the node shows at WRITE_COUNTER_ADDRESS;
     4  number      u32     it takes each counter once
     8  register    u16     the first register that is meant: a setting or the command register
    10  values      1 to MAX_VALUES registers
    -16 tag         16 bytes

The tag is HMAC-SHA256 with the node's own key over ``WRITE_ID``, ``WRITE_VERSION`` and the unit id
(16 bit each), every byte of the block before the tag, and the node's unique id, cut to 16 bytes. No
frame begins with ``WRITE_ID``, so no tag of a frame is one of a write.

The boot epoch rises at every boot and is on the medium before a master sees it, so a write that was
recorded is of no use in any later boot, and no write wears the medium for the counter's sake.
"""

import struct

from .hmac import HmacSha256
from .sample import TAG_BYTES

WRITE_ID = 0x01FE
WRITE_VERSION = 1
MAX_VALUES = 4  # a whole calibration; its events (3 for each value) fit into the queue

MIN_WORDS = 14  # of a block with one value
MAX_WORDS = 17


def tag(mac: HmacSha256, unit: int, uid: bytes, signed: bytes | bytearray) -> bytes:
    """Return the tag of a block; ``signed`` is all of the block before it."""
    message = struct.pack(">HHH", WRITE_ID, WRITE_VERSION, unit) + signed
    return mac.digest(message, uid)[:TAG_BYTES]
