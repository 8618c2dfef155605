"""The registers of an update: orders, manifest, blocks, status, and the bitmap of missing blocks.

All words are big endian. Nothing here lasts but what a signed write ordered::

    holding 0x0400  orders    only as the registers of a signed write (protocols.wire.signed_write)
            0x0410  manifest  80 registers in one request or more; checked when an order names it
            0x0480  block     6 to 122 registers, to one node or to all (address 0, no answer)
    input   0x0400  status    STATUS_WORDS, and behind them the bitmap

A block is ``session u16, number u16, CRC-32 u32`` over session, number and data, and the data:
``BLOCK_BYTES`` from ``number * BLOCK_BYTES`` on, or what is left of the image. Blocks may come in
any order and any number of times.

On a line that damages long requests a block comes in pieces, as short as a quarter of it. The two
highest bits of the number are the quarter (``PART_BYTES``) in which the data begins; it ends at the
end of a quarter or of the block. Pieces are of one block at a time, and that with the beginning of
the block comes last: what is not whole then is refused with NAK.
"""

import binascii
import struct

MANIFEST_BYTES = 160
MANIFEST_WORDS = 80
MAX_IMAGE_BYTES = 131072  # no slot of any board is larger

UPDATE_ADDRESS = 0x0400
ORDER_OFFSET = 0  # from UPDATE_ADDRESS on, as all offsets here
MANIFEST_OFFSET = 0x0010
BLOCK_OFFSET = 0x0080
BLOCK_BYTES = 236  # times of 4, because flash is written by words; all that fits into a request
BLOCK_HEAD = 8
PART_BYTES = 60
PARTS = 4  # of a block of BLOCK_BYTES
PART_SHIFT = 14  # of the number
MAX_BLOCKS = (MAX_IMAGE_BYTES + BLOCK_BYTES - 1) // BLOCK_BYTES

STATUS_WORDS = 19  # see protocols.wire.update.status
STATUS_FORM = ">HHHHHHIIHHHIII"
BITMAP_WORDS = (MAX_BLOCKS + 15) // 16

# Orders: the first value of a signed write to UPDATE_ADDRESS.
BEGIN = 1  # session, first 4 bytes of the SHA-256 of the manifest that was written before
ACTIVATE = 2  # session: take the image on trial, which restarts the node
CONFIRM = 3  # version u32: what runs on trial stays
CANCEL = 4  # session: forget the update

# States.
IDLE = 0
ERASING = 1  # or about to: the node is busy and may not answer for erase_ms
RECEIVING = 2
COMPLETE = 3  # every block is there and the image has its digest
TRIAL = 4  # what runs is on trial
FAILED = 5  # the reason has what went wrong; a new BEGIN starts again
RESTARTING = 6

# Reasons: why the newest order was refused, or what ended the update. Up to NO_MEDIUM they are
# what the slots of a board return.
NONE = 0
NO_MANIFEST = 1  # what was written is no manifest, or not the one that the order names
NO_RELEASE_KEY = 2  # the node has none
BAD_SIGNATURE = 3
WRONG_CLASS = 4
WRONG_REVISION = 5
NOT_NEWER = 6  # than what runs
BELOW_FLOOR = 7
WRONG_ABI = 8
TOO_LARGE = 9
ON_TRIAL = 10  # what runs has to be confirmed first
BAD_DIGEST = 11  # every block came, but the image is another
NO_MEDIUM = 12  # the flash or the store did not take it
OTHER_SESSION = 13  # another one is under way
NOT_READY = 14  # for this order, in this state
SELFTEST = 15  # of the image on trial has failed

# Steps that are events: arg of EVENT_UPDATE is step << 8 | reason, or | low byte of the version.
STEP_REFUSED = 1  # reason
STEP_BEGUN = 2  # version
STEP_COMPLETE = 3  # version
STEP_FAILED = 4  # reason
STEP_ACTIVATED = 5  # version
STEP_TRIAL = 6  # version
STEP_CONFIRMED = 7  # version
STEP_CANCELLED = 8  # version


def block_count(size: int) -> int:
    """Return into how many blocks an image of ``size`` bytes is cut."""
    return (size + BLOCK_BYTES - 1) // BLOCK_BYTES


def block_crc(head: bytes | bytearray | memoryview, data: bytes | bytearray | memoryview) -> int:
    """Return the CRC-32 of a block: over session and number (``head``, 4 bytes) and the data."""
    return binascii.crc32(data, binascii.crc32(head)) & 0xFFFFFFFF


def part_count(number: int, size: int) -> int:
    """Return how many quarters block ``number`` of an image of ``size`` bytes has."""
    left = min(BLOCK_BYTES, size - number * BLOCK_BYTES)
    return (left + PART_BYTES - 1) // PART_BYTES


def pack_block(
    session: int, number: int, image: bytes, first: int = 0, count: int = PARTS
) -> bytes:
    """Return block ``number`` of an image, or ``count`` quarters of it, as it is written."""
    block = image[number * BLOCK_BYTES : (number + 1) * BLOCK_BYTES]
    data = block[first * PART_BYTES : (first + count) * PART_BYTES]
    head = struct.pack(">HH", session, first << PART_SHIFT | number)
    return head + struct.pack(">I", block_crc(head, data)) + data
