"""The manifest of an application image: what a node checks before it erases anything.

160 bytes, big endian, signed with a release key (Ed25519, RFC 8032)::

     0  magic         4   "TFU1"                24  version       u32  number of the release, from 1
     4  format        u8  1                     28  floor         u32  releases below it are refused
     5  flags         u8  1: rollback                                  once this one is confirmed
     6  revision_min  u8  of the hardware       32  from_version  u32  rollback: only from this one
     7  revision_max  u8                        36  base_abi      8    of the base that can run it
     8  class         16  ASCII, zero padded    44  size          u32  of the image, times of 4
                                                48  digest        32   SHA-256 of the image
                                                80  key_id        4    see key_id()
                                                84  reserved      12   zero
                                                96  signature     64   over bytes 0 to 95

An image file is the manifest and the bytes of the image behind it. The signature covers class,
revisions, version and ABI, so a genuine image of another board or an older one is refused by the
node itself. A manifest has one encoding: what breaks this table is a PeerError.
"""

import hashlib
import struct

from protocols.wire.errors import BAD_VALUE, TOO_LONG, TRUNCATED, UNKNOWN, PeerError
from protocols.wire.update.window import MANIFEST_BYTES, MAX_IMAGE_BYTES

SIGNED_BYTES = 96
KEY_ID_BYTES = 4

MAGIC = b"TFU1"
FORMAT = 1
ROLLBACK = 1  # flag: an older release, or one that runs no more, by order of who signs

_HEAD = ">4sBBBB16sIII8sI32s4s12s"


class Manifest:
    """The fields of a manifest; ``data`` is all of it."""

    def __init__(self, data: bytes) -> None:
        """PeerError for anything that is no manifest. The signature is not verified here."""
        if len(data) != MANIFEST_BYTES:
            code = TRUNCATED if len(data) < MANIFEST_BYTES else TOO_LONG
            raise PeerError(code, "length of a manifest", -1, MANIFEST_BYTES, len(data))
        (
            magic,
            form,
            self.flags,
            self.revision_min,
            self.revision_max,
            name,
            self.version,
            self.floor,
            self.from_version,
            self.base_abi,
            self.size,
            self.digest,
            self.key_id,
            reserved,
        ) = struct.unpack(_HEAD, data[:SIGNED_BYTES])
        self.data = data
        self.signature = data[SIGNED_BYTES:]
        self.board_class = name.rstrip(b"\x00")
        if magic != MAGIC:
            raise PeerError(UNKNOWN, "magic of a manifest", 0, MAGIC, magic)
        if form != FORMAT:
            raise PeerError(UNKNOWN, "format of a manifest", 4, FORMAT, form)
        if self.flags not in (0, ROLLBACK):
            raise PeerError(BAD_VALUE, "flags of a manifest", 5, "0 or 1", self.flags)
        if self.revision_min > self.revision_max:
            raise PeerError(BAD_VALUE, "revision", 6, self.revision_max, self.revision_min)
        if not self.board_class or b"\x00" in self.board_class:
            raise PeerError(BAD_VALUE, "class of a manifest", 8, "ASCII, zero padded", name)
        if self.version < 1 or self.floor > self.version:
            raise PeerError(BAD_VALUE, "version and floor", 24, self.version, self.floor)
        if bool(self.from_version) != bool(self.flags & ROLLBACK):
            raise PeerError(BAD_VALUE, "from_version", 32, "0 without rollback", self.from_version)
        if not 4 <= self.size <= MAX_IMAGE_BYTES or self.size % 4:
            raise PeerError(BAD_VALUE, "size of an image", 44, "4 to 131072, by 4", self.size)
        if reserved != bytes(12):
            raise PeerError(BAD_VALUE, "reserved bytes of a manifest", 84, "zero", reserved)

    @property
    def signed(self) -> bytes:
        """Return the bytes that the signature covers."""
        return self.data[:SIGNED_BYTES]

    def mark(self) -> bytes:
        """Return the SHA-256 of the manifest, which names what is being received."""
        return hashlib.sha256(self.data).digest()


def key_id(public_key: bytes) -> bytes:
    """Return the name of a release key: the first 4 bytes of the SHA-256 of its 32 bytes."""
    return hashlib.sha256(public_key).digest()[:KEY_ID_BYTES]


def unsigned(
    board_class: str,
    revisions: "tuple[int, int]",
    version: int,
    floor: int,
    base_abi: bytes,
    image: bytes,
    key: bytes,
    from_version: int = 0,
) -> bytes:
    """Return the bytes of the manifest of ``image`` that are to be signed.

    ``key``: :func:`key_id` of the key that will; ``from_version`` above 0: it is a rollback.
    """
    return struct.pack(
        _HEAD,
        MAGIC,
        FORMAT,
        ROLLBACK if from_version else 0,
        revisions[0],
        revisions[1],
        board_class.encode(),
        version,
        floor,
        from_version,
        base_abi,
        len(image),
        hashlib.sha256(image).digest(),
        key,
        bytes(12),
    )
