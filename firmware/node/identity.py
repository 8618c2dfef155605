"""The identity of a node: the key that authenticates its samples, and its device identification."""

import binascii

from micropython import const

from protocols.wire.errors import PeerError
from protocols.wire.hmac import HmacSha256
from protocols.wire.node_key import parse

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from protocols.wire.registers import RegisterMap

    from .ports import Files

KEY_FILE = "node.key"
REVISION = b"0.1.0"


class NodeKey:
    """``mac`` is None without a usable key; ``problem`` then has the reason and the remedy."""

    def __init__(self, store: "Files") -> None:
        self.key_id = 0
        self.mac: HmacSha256 | None = None
        self.problem = ""
        content = store.read(KEY_FILE)
        where = store.directory + "/" + KEY_FILE
        if content is None:
            self.problem = where + " is missing: provision the node with a key of its own"
            return
        try:
            file = parse(content)
        except PeerError as error:
            self.problem = "%s %s" % (where, error)
            return
        self.key_id = file.key_id
        self.mac = HmacSha256(file.key)


def secret(store: "Files") -> bytes:
    """Return the key itself, of a store whose key a :class:`NodeKey` can use."""
    return parse(store.read(KEY_FILE) or b"").key


def identification(
    map: "RegisterMap", uid: bytes, image: "bytes | None" = None
) -> "dict[int, bytes]":
    """Return the objects of Read Device Identification (FC 2B/0E; application protocol 6.21).

    ``image`` is the SHA-256 of the image that runs, which shows what was flashed; a board that runs
    files as they are has none.
    """
    objects = {
        0x00: b"tianfu-edge",
        0x01: map.product.encode(),
        0x02: REVISION,
        0x04: ("tianfu-edge " + map.role + " node").encode(),
        0x05: map.role.encode(),
        0x80: binascii.hexlify(uid),
        0x81: ("%04x.%d" % (map.map_id, map.version)).encode(),
    }
    if image is not None:
        objects[0x82] = image  # as bytes: in hex it would be 32 more on the heap
    return objects
