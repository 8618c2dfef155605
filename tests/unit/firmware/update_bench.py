"""A node with slots in a directory, and the master's side of its registers. Both runtimes."""

import asyncio
import hashlib
import struct
from binascii import crc32, unhexlify

from boards.unix.slots import FileSlots
from protocols.wire.hmac import HmacSha256
from protocols.wire.registers import SIGNED_ADDRESS
from protocols.wire.update.status import read_status
from protocols.wire.update.window import BITMAP_WORDS, STATUS_WORDS, UPDATE_ADDRESS
from tests.dual import vectors
from tests.unit.firmware.node_fakes import KEY, KEY_BYTES, UID, Board, Directory, make_node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from protocols.wire.update.status import UpdateStatus

VECTORS = vectors("update")
RELEASE_KEY = unhexlify(VECTORS["release_key"])
IMAGE = unhexlify(VECTORS["image"])
MANIFEST = unhexlify(VECTORS["manifest"])
SESSION = VECTORS["session"]
MANIFEST_AT = 0x0410
BLOCK_AT = 0x0480
ORDER_AT = 0x0400


class UpdateBench:
    """One node whose boots share a directory. Addresses and layouts are those of docs/update.md."""

    def __init__(self, keys: "tuple[bytes, ...]" = (RELEASE_KEY,)) -> None:
        self.directory = Directory()
        self.directory.put("node.key", KEY)
        self.keys = list(keys)
        self.erases = 0
        self.number = 0
        self.unit = 1
        self.slots: FileSlots | None = None
        self.boot(False)

    def boot(self, after_failure: bool = False) -> None:
        """Begin a boot, as after a reset."""
        board = Board(self.directory.path)
        if self.slots is None:
            self.slots = FileSlots(self.directory.path, board.files, self.keys)
            self.slots.boot(False)
        else:
            self.slots = FileSlots(self.directory.path, board.files, self.keys)
            self.slots.boot(after_failure)
        board.app_slots = self.slots
        self.board = board
        self.node, self.role = make_node(board, "water", {"unit_id": self.unit})
        self.bank = self.node.bank
        self.number = 0

    def close(self) -> None:
        """Remove the directory."""
        self.directory.remove()

    def write(self, address: int, data: bytes) -> int:
        """Write registers as FC 10 does, and do what follows an answer."""
        code = self.bank.write_holding(address, len(data) // 2, bytearray(7) + data, 7)
        self.node.after_request()
        return code

    def order(self, *values: int, mac: "HmacSha256 | None" = None) -> int:
        """Send a signed order made without the product's own writer."""
        epoch = self.node.epoch.value
        block = struct.pack(">IIH", epoch, self.number, ORDER_AT)
        for value in values:
            block += struct.pack(">H", value)
        message = struct.pack(">HHH", 0x01FE, 1, self.unit) + block
        tag = (mac or HmacSha256(KEY_BYTES)).digest(message, UID)[:16]
        if mac is None:
            self.number += 1
        return self.write(SIGNED_ADDRESS, block + tag)

    def begin(self, manifest: bytes = MANIFEST, session: int = SESSION) -> int:
        """Write a manifest and order its beginning."""
        assert self.write(MANIFEST_AT, manifest) == 0
        digest = hashlib.sha256(manifest).digest()
        return self.order(1, session, *struct.unpack(">HH", digest[:4]))

    def status(self) -> "UpdateStatus":
        """Return what the status registers have."""
        return read_status(self.registers(0, STATUS_WORDS))

    def registers(self, first: int, count: int) -> bytes:
        """Return input registers from UPDATE_ADDRESS + first on."""
        out = bytearray(3 + 2 * count)
        assert self.bank.read_input(UPDATE_ADDRESS + first, count, out, 3) == 0
        return bytes(out[3:])

    def missing(self) -> "list[int]":
        """Return the blocks that the bitmap has as missing."""
        bitmap = self.registers(STATUS_WORDS, BITMAP_WORDS)
        words = struct.unpack(">" + str(BITMAP_WORDS) + "H", bitmap)
        return [
            16 * at + bit for at in range(len(words)) for bit in range(16) if words[at] >> bit & 1
        ]

    def poll_and_sample(self, polls: int = 3) -> None:
        """Take a sample and pretend that a master polled."""
        asyncio.run(self.node.sample_once())
        self.node.server.polls = polls

    def install(self, name: str, version: int, session: int = 9) -> None:
        """Take an image of the vectors through all steps."""
        manifest, image = unhexlify(VECTORS[name]), unhexlify(VECTORS[name + "_image"])
        assert self.begin(manifest, session) == 0
        for number in range((len(image) + 235) // 236):
            assert self.write(BLOCK_AT, pack(session, number, image)) == 0
        assert self.order(2, session) == 0
        self.boot()
        self.poll_and_sample()
        assert self.order(3, 0, version) == 0


def pack(session: int, number: int, image: bytes) -> bytes:
    """Return a block, laid out by hand."""
    data = image[236 * number : 236 * number + 236]
    head = struct.pack(">HH", session, number)
    return head + struct.pack(">I", crc32(head + data) & 0xFFFFFFFF) + data
