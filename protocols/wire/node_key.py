"""The key file of a node: the same file for the node, its gateway and its collector.

::

    {"key_id": 1, "key": "<64 hex>", "uid": "<24 hex>", "check": "<8 hex>"}

``check`` is the CRC-32 of the text ``key_id key uid`` (one space between, hex digits in lower case,
an absent ``uid`` empty), so that a file with a flipped bit is no key instead of another one. Files
from before it have no ``check``. ``uid`` is the unique id of the node that the key was made for; it
may be absent. What else stands in the file is not read.
"""

import binascii
import json

from micropython import const

from .errors import BAD_TAG, BAD_VALUE, PeerError
from .uid import parse_uid

MAX_KEY_ID = 0xFFFF
KEY_BYTES = 32  # as long as the hash (RFC 2104, section 3)
FORM = '{"key_id": 1 to 65535, "key": "<64 hex>"}'

_HEX = const(64)


class NodeKeyFile:
    """What a key file holds. ``uid`` is None where it names none; ``checked``: it has a check."""

    def __init__(self, key_id: int, key: bytes, uid: "bytes | None", checked: bool) -> None:
        self.key_id = key_id
        self.key = key
        self.uid = uid
        self.checked = checked


def check_of(key_id: int, key: bytes, uid: "bytes | None") -> str:
    """Return the check of a key file."""
    parts = (str(key_id), binascii.hexlify(key).decode(), binascii.hexlify(uid or b"").decode())
    return "%08x" % (binascii.crc32(" ".join(parts).encode()) & 0xFFFFFFFF)


def parse(content: bytes) -> NodeKeyFile:
    """Read a key file; no part of it is in an error, for what stands there may be most of a key.

    PeerError: BAD_VALUE for what is no key file, BAD_TAG for one that does not match its check.
    """
    try:
        fields = json.loads(content)
        key_id = fields["key_id"]
        text = fields["key"]
        uid = fields.get("uid")
        check = fields.get("check")
        number = isinstance(key_id, int) and key_id is not True and 1 <= key_id <= MAX_KEY_ID
        if not number or not isinstance(text, str) or len(text) != _HEX:
            raise ValueError
        key = binascii.unhexlify(text)
        uid_bytes = parse_uid(uid)
        if uid is not None and uid_bytes is None:
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise PeerError(BAD_VALUE, "is no node key", -1, FORM, "something else")
    if check is not None and check != check_of(key_id, key, uid_bytes):
        raise PeerError(
            BAD_TAG, "is damaged", -1, "what it held when it was made", "another content"
        )
    return NodeKeyFile(key_id, key, uid_bytes, check is not None)
