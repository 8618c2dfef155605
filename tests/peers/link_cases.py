"""What the tests of the link share: a node's identity, pairs of ends, and a small file server."""

import hashlib
import struct

from tests.peers.link_ours import OurNode
from tests.peers.link_peer import FILE
from tests.peers.link_talk import End, Event, Talk

UID = bytes.fromhex("7f0000000000000000000a01")
KEY = bytes(range(1, 33))
KEY_ID = 7
MAP_ID = 3
GET, FILE_HEAD, PART, NONE = 1, 3, 4, 5


def key_of(uid: bytes, key_id: int) -> bytes | int:
    """Return the key, or the reason of a REFUSE, as docs/link.md numbers them."""
    if uid != UID:
        return 2
    return KEY if key_id == KEY_ID else 3


def get(offset: int = 0, digest: bytes = bytes(32)) -> bytes:
    """Return the request for the last picture."""
    return struct.pack(">BBI", GET, 1, offset) + digest


def answer(data: bytes, request: bytes, part: int) -> list[bytes]:
    """Return a node's messages for a GET of a file that it has."""
    kind, number, offset = struct.unpack_from(">BBI", request)
    digest = hashlib.sha256(data).digest()
    assert kind == GET
    if request[6:] not in (bytes(32), digest):
        return [bytes((NONE, number, 3))]
    if offset > len(data):
        return [bytes((NONE, number, 4))]
    head = struct.pack(">BBII", FILE_HEAD, number, 1, len(data)) + digest
    parts = range(offset, len(data), part)
    return [head + struct.pack(">I", offset)] + [
        struct.pack(">BI", PART, at) + data[at : min(at + part, len(data))] for at in parts
    ]


class Download:
    """The receiver of one file: it asks again for the rest after every new session."""

    def __init__(self, gateway: End) -> None:
        self.gateway = gateway
        self.data = bytearray()
        self.digest = bytes(32)
        self.size = -1

    def ask(self) -> None:
        self.gateway.send(FILE, get(len(self.data), self.digest))

    def on_event(self, side: int, event: Event) -> None:
        """Take what comes out at the gateway's side."""
        if side == 1 and event == ("opened",):
            self.ask()
        if side == 0 or event[:2] != ("message", FILE) or self.whole:
            return
        message = event[2]
        assert isinstance(message, bytes)
        if message[0] == FILE_HEAD:
            _, _, _, self.size = struct.unpack_from(">BBII", message)
            self.digest = message[10:42]
            assert int.from_bytes(message[42:46]) == len(self.data)
        elif message[0] == PART:
            assert int.from_bytes(message[1:5]) == len(self.data)
            self.data += message[5:]
        else:
            raise AssertionError(f"refused with {message.hex()}")

    @property
    def whole(self) -> bool:
        return len(self.data) == self.size and (hashlib.sha256(self.data).digest() == self.digest)


def serve(talk: Talk, data: bytes, part: int = 80) -> None:
    """Let the node of a talk answer each GET with this file; ``part`` is for the peer's node."""

    def on_event(side: int, event: Event) -> None:
        if side == 0 and event[:2] == ("message", FILE) and not isinstance(talk.ends[0], OurNode):
            request = event[2]
            assert isinstance(request, bytes)
            talk.ends[0].drop(FILE)
            for message in answer(data, request, part):
                talk.ends[0].send(FILE, message)

    def on_step() -> None:
        node = talk.ends[0]
        if isinstance(node, OurNode) and node.files is None:
            node.offer(data)

    on_step()
    talk.on_step = on_step
    talk.watch(on_event)
