"""Write ``protocols/vectors/link.json``: frames and a dialogue, computed from docs/link.md alone.

Tags come from the standard library's hmac, keys from cryptography's HKDF, CRCs from zlib, COBS is
written here: nothing of protocols/wire/link has a part in it.
"""

import argparse
import hashlib
import hmac
import json
import struct
import zlib
from dataclasses import dataclass

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tests.paths import ROOT

TARGET = ROOT / "protocols" / "vectors" / "link.json"
SAMPLE = ROOT / "protocols" / "vectors" / "sample.json"

KEY = bytes(range(32))
UID = bytes.fromhex("0123456789ABCDEF01234567")
NODE_NONCE = bytes(range(0x10, 0x20))
GATEWAY_NONCE = bytes(range(0xA0, 0xB0))
MAP_ID, BOOT_EPOCH, KEY_ID = 0x0101, 7, 1
NODE_WINDOW, GATEWAY_WINDOW = 4096, 16384
NODE_HOLDS, GATEWAY_HOLDS = 972, 15552  # the windows in the ACKs of both
PICTURE = bytes(number * 37 & 0xFF for number in range(200))
DIGEST = hashlib.sha256(PICTURE).digest()

TYPES = {
    "ASK": 0x01,
    "HELLO": 0x02,
    "ANSWER": 0x03,
    "CONFIRM": 0x04,
    "REFUSE": 0x05,
    "DATA": 0x10,
    "ACK": 0x11,
    "TIME": 0x12,
    "BYE": 0x13,
}
SAMPLES, EVENTS, CONFIG, FILE, LOG = 1, 2, 3, 5, 6


def cobs(content: bytes) -> bytes:
    """Return ``content`` without zero bytes."""
    out = b""
    block = b""
    for at, byte in enumerate(content):
        if byte:
            block += bytes((byte,))
        if not byte:
            out += bytes((len(block) + 1,)) + block
            block = b""
        elif len(block) == 254 and at + 1 < len(content):
            out += b"\xff" + block
            block = b""
    return out + bytes((len(block) + 1,)) + block


@dataclass
class Side:
    """One direction: its key and the counter of its last frame."""

    name: str
    key: bytes = b""
    counter: int = 0

    def frame(self, kind: str, payload: bytes, channel: int = 0, sequence: int = 0) -> bytes:
        """Return a frame between zero bytes; of a session, if its type is of one."""
        content = struct.pack(">BBHH", TYPES[kind], channel, sequence, len(payload)) + payload
        if TYPES[kind] >= TYPES["DATA"]:
            self.counter += 1
            content += struct.pack(">I", self.counter)
            content += hmac.digest(self.key, content, "sha256")[:8]
        return b"\x00" + cobs(content + struct.pack(">I", zlib.crc32(content))) + b"\x00"


def packet(*messages: bytes) -> bytes:
    """Return messages, each with its length before it."""
    out = b""
    for message in messages:
        size = len(message)
        out += bytes((size,)) if size < 128 else struct.pack(">H", 0x8000 | size)
        out += message
    return out


def proof(side: bytes, hello: bytes, answer: bytes) -> bytes:
    """Return a proof."""
    return hmac.digest(KEY, b"\x01\xfd" + side + hello + answer, "sha256")[:16]


def keys(hello: bytes, answer: bytes) -> tuple[bytes, bytes]:
    """Return the keys of the node's frames and of the gateway's."""
    info = b"tf-link 1" + hello + answer
    both = HKDF(SHA256(), 64, GATEWAY_NONCE + NODE_NONCE, info).derive(KEY)
    return both[:32], both[32:]


def hex_of(data: bytes) -> str:
    """Return hex digits as the other vectors have them."""
    return data.hex().upper()


def build() -> dict[str, object]:
    """Return all of the file."""
    hello = struct.pack(
        ">BH12sIHHH16s", 1, MAP_ID, UID, BOOT_EPOCH, KEY_ID, 512, NODE_WINDOW, NODE_NONCE
    )
    answer = struct.pack(">BHHH16s", 1, KEY_ID, 512, GATEWAY_WINDOW, GATEWAY_NONCE)
    node_key, gateway_key = keys(hello, answer)
    return {
        "format": "hex strings; wire: a frame with a zero byte on both sides; says: who sends it;"
        " messages: what a packet is made of",
        "source": "laid out with struct by docs/link.md; CPython hmac, zlib, HKDF of cryptography",
        "cobs": [
            {"plain": hex_of(plain), "coded": hex_of(cobs(plain))}
            for plain in (
                b"",
                b"\x00",
                b"\x11\x22\x00\x33",
                b"\x07" * 254,
                b"\x07" * 254 + b"\x00",
                b"\x07" * 255,
                bytes(range(256)) * 2,
            )
        ],
        "opening": {
            "key": hex_of(KEY),
            "uid": hex_of(UID),
            "map_id": MAP_ID,
            "boot_epoch": BOOT_EPOCH,
            "key_id": KEY_ID,
            "node_window": NODE_WINDOW,
            "gateway_window": GATEWAY_WINDOW,
            "node_nonce": hex_of(NODE_NONCE),
            "gateway_nonce": hex_of(GATEWAY_NONCE),
            "hello": hex_of(hello),
            "answer": hex_of(answer),
            "gateway_proof": hex_of(proof(b"\x47", hello, answer)),
            "node_proof": hex_of(proof(b"\x4e", hello, answer)),
            "node_key": hex_of(node_key),
            "gateway_key": hex_of(gateway_key),
        },
        "picture": hex_of(PICTURE),
        "refusals": [
            {"reason": reason, "wire": hex_of(Side("node").frame("REFUSE", bytes((reason,))))}
            for reason in range(1, 9)
        ],
        "dialogue": dialogue(hello, answer),
    }


def dialogue(hello: bytes, answer: bytes) -> list[dict[str, object]]:
    """Return a whole session: each channel, time, a file and its resumption, the end."""
    node_key, gateway_key = keys(hello, answer)
    node, gateway = Side("node", node_key), Side("gateway", gateway_key)
    steps: list[dict[str, object]] = []
    frames = json.loads(SAMPLE.read_text(encoding="utf-8"))
    samples = [bytes.fromhex(case["frame"]) for case in frames["samples"][:2]]
    events = bytes.fromhex(frames["events"][0]["frame"])
    proofs = [proof(side, hello, answer) for side in (b"\x47", b"\x4e")]

    def says(side: Side, what: str, kind: str, payload: bytes, **more: int) -> dict[str, object]:
        wire = side.frame(kind, payload, more.get("channel", 0), more.get("sequence", 0))
        step = {"says": side.name, "what": what, "type": kind, **more, "payload": hex_of(payload)}
        steps.append({**step, "wire": hex_of(wire)})
        return steps[-1]

    def carries(side: Side, what: str, channel: int, sequence: int, *messages: bytes) -> None:
        step = says(side, what, "DATA", packet(*messages), channel=channel, sequence=sequence)
        step["messages"] = [hex_of(message) for message in messages]

    def acks(side: Side, what: str, channel: int, taken: int, arrived: int = 0) -> None:
        window = NODE_HOLDS if side is node else GATEWAY_HOLDS
        payload = struct.pack(">HI", window, arrived)
        says(side, what, "ACK", payload, channel=channel, sequence=taken)

    says(gateway, "asks for a session", "ASK", b"\x01")
    says(node, "offers one", "HELLO", hello)
    says(gateway, "takes it, and proves its key", "ANSWER", answer + proofs[0])
    says(node, "proves its key", "CONFIRM", proofs[1])
    echo = struct.pack(">Q", 0)
    says(gateway, "asks for the time", "TIME", b"\x00" + echo)
    says(node, "gives it", "TIME", b"\x01" + echo + struct.pack(">II", 215_000, 215_000))
    carries(node, "sends two samples", SAMPLES, 0, *samples)
    acks(gateway, "has them, and has not committed them", SAMPLES, 0, 1)
    acks(gateway, "has committed them", SAMPLES, 1)
    carries(node, "sends its events", EVENTS, 0, events)
    acks(gateway, "has them", EVENTS, 0, 1)
    acks(gateway, "has committed them", EVENTS, 1)
    line = struct.pack(">BI", 2, 215_000) + "sensor warm at 25 °C".encode()
    carries(node, "sends a line of its log", LOG, 0, line)
    acks(gateway, "has taken it", LOG, 1)
    request = struct.pack(">HBHH", 0x0102, 3, 0, 2)
    carries(gateway, "reads two holding registers", CONFIG, 0, request)
    acks(node, "has taken the request", CONFIG, 1)
    carries(node, "answers", CONFIG, 0, struct.pack(">HBBHH", 0x0102, 3, 4, 1, 0x2580))
    acks(gateway, "has taken the answer", CONFIG, 1)
    carries(gateway, "asks for the picture", FILE, 0, struct.pack(">BBI32s", 1, 1, 0, bytes(32)))
    acks(node, "has taken the request", FILE, 1)
    info = struct.pack(">BBII32s", 3, 1, 5, len(PICTURE), DIGEST)
    carries(node, "says which picture it is", FILE, 0, info + struct.pack(">I", 0))
    acks(gateway, "has taken it", FILE, 1)
    carries(node, "sends a part", FILE, 1, struct.pack(">BI", 4, 0) + PICTURE[:121])
    acks(gateway, "has taken it", FILE, 2)
    carries(
        gateway, "asks for the rest of this very picture, as after a restart", FILE, 1,
        struct.pack(">BBI32s", 1, 1, 121, DIGEST),
    )  # fmt: skip
    acks(node, "has taken the request", FILE, 2)
    carries(node, "goes on with it", FILE, 2, info + struct.pack(">I", 121))
    acks(gateway, "has taken it", FILE, 3)
    carries(node, "sends the rest", FILE, 3, struct.pack(">BI", 4, 121) + PICTURE[121:])
    acks(gateway, "has taken it", FILE, 4)
    carries(gateway, "asks for a file that is not there", FILE, 2,
            struct.pack(">BBI32s", 1, 3, 0, bytes(32)))  # fmt: skip
    acks(node, "has taken the request", FILE, 3)
    carries(node, "says that there is none", FILE, 4, bytes((5, 3, 1)))
    acks(gateway, "has taken it", FILE, 5)
    says(gateway, "restarts", "BYE", b"\x01")
    return steps


def text() -> str:
    """Return the file as it is stored."""
    return json.dumps(build(), indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the vectors, or show what would be written."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--write", action="store_true", help=f"write {TARGET.relative_to(ROOT)}")
    if parser.parse_args().write:
        TARGET.write_text(text(), encoding="utf-8")
    else:
        print(text(), end="")


if __name__ == "__main__":
    main()
