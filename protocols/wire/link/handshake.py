"""What opens a session: the payloads of HELLO and ANSWER, the proofs, and the session's keys.

Both ends prove that they hold the node's key over the two payloads, which have a nonce each; the
session's keys are HKDF-SHA256 (RFC 5869) of that key. A node without a key uses :data:`NO_KEY`.
"""

import struct

from micropython import const

from protocols.wire.errors import BAD_VALUE, TRUNCATED, UNKNOWN, PeerError
from protocols.wire.hmac import HmacSha256
from protocols.wire.node_key import KEY_BYTES

from .frame import MAX_FRAME, MIN_FRAME

VERSION = 1
MIN_WINDOW = 256
MAX_WINDOW = 0xFFFF
NONCE_BYTES = 16
PROOF_BYTES = 16
NO_KEY = bytes(KEY_BYTES)

# Reasons in a REFUSE.
WRONG_VERSION = 1
NOT_CONFIGURED = 2
WRONG_KEY_ID = 3
WRONG_PROOF = 4
WRONG_SIZE = 5
SAME_UID = 6
KEY_NEEDED = 7
WRONG_MAP = 8

GATEWAY = 0x47
NODE = 0x4E

_HELLO = ">BH12sIHHH16s"
_HELLO_BYTES = const(41)
_ANSWER = ">BHHH16s"
ANSWER_BYTES = 23  # without its proof
_PROOF_ID = b"\x01\xfd"
_INFO = b"tf-link 1"


class Hello:
    """What a node says of itself."""

    def __init__(
        self, map_id: int, uid: bytes, boot_epoch: int, key_id: int, largest: int, window: int
    ) -> None:
        self.map_id = map_id
        self.uid = uid
        self.boot_epoch = boot_epoch
        self.key_id = key_id
        self.largest = largest
        self.window = window

    def same_boot(self, other: "Hello") -> bool:
        """Whether both are of one start of one node."""
        return self.uid == other.uid and self.boot_epoch == other.boot_epoch

    def pack(self, nonce: bytes) -> bytes:
        """Return the payload of a HELLO."""
        return struct.pack(
            _HELLO,
            VERSION,
            self.map_id,
            self.uid,
            self.boot_epoch,
            self.key_id,
            self.largest,
            self.window,
            nonce,
        )


def parse_hello(payload: bytes) -> Hello:
    """Read the payload of a HELLO; PeerError for one of another version or out of range."""
    _check_version(payload)
    if len(payload) != _HELLO_BYTES:
        raise PeerError(TRUNCATED, "HELLO", -1, _HELLO_BYTES, len(payload))
    _, map_id, uid, boot_epoch, key_id, largest, window, _ = struct.unpack(_HELLO, payload)
    _check_sizes(largest, window)
    return Hello(map_id, uid, boot_epoch, key_id, largest, window)


def pack_answer(key_id: int, largest: int, window: int, nonce: bytes) -> bytes:
    """Return the payload of an ANSWER without its proof."""
    return struct.pack(_ANSWER, VERSION, key_id, largest, window, nonce)


def parse_answer(payload: bytes) -> "tuple[int, int, int]":
    """Return key id, largest frame and window of an ANSWER; PeerError as :func:`parse_hello`."""
    _check_version(payload)
    expected = ANSWER_BYTES + PROOF_BYTES
    if len(payload) != expected:
        raise PeerError(TRUNCATED, "ANSWER", -1, expected, len(payload))
    _, key_id, largest, window, _ = struct.unpack(_ANSWER, payload[:ANSWER_BYTES])
    _check_sizes(largest, window)
    return key_id, largest, window


def proof(mac: HmacSha256, end: int, hello: bytes, answer: bytes) -> bytes:
    """Return the proof of GATEWAY or NODE; ``answer`` is without its proof."""
    return mac.digest(_PROOF_ID + bytes((end,)) + hello, answer)[:PROOF_BYTES]


def session_keys(key: bytes, hello: bytes, answer: bytes) -> "tuple[bytes, bytes]":
    """Return the keys of frames from the node and of frames from the gateway."""
    salt = answer[-NONCE_BYTES:] + hello[-NONCE_BYTES:]
    expand = HmacSha256(HmacSha256(salt).digest(key))
    info = _INFO + hello + answer
    first = expand.digest(info, b"\x01")
    return first, expand.digest(first + info, b"\x02")


def _check_version(payload: bytes) -> None:
    if not payload or payload[0] != VERSION:
        raise PeerError(UNKNOWN, "version of the link", 0, VERSION, payload[:1])


def _check_sizes(largest: int, window: int) -> None:
    if not MIN_FRAME <= largest <= MAX_FRAME:
        raise PeerError(BAD_VALUE, "largest frame", -1, "256 to 512", largest)
    if window < MIN_WINDOW:
        raise PeerError(BAD_VALUE, "window", -1, "256 or more", window)
