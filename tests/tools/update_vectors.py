"""Make ``protocols/vectors/update.json``: ``python -m tests.tools.update_vectors --write``.

It uses nothing of the product: struct and zlib lay out what docs/update.md defines, and
``cryptography`` (OpenSSL) signs.
"""

import hashlib
import hmac
import json
import struct
import sys
import zlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.paths import ROOT

TABLE = ROOT / "protocols" / "vectors" / "update.json"
SEED = bytes(range(32))
OTHER_SEED = bytes(range(1, 33))
ABI = b"unix\x00\x00\x00\x01"
NODE_KEY = b"\x5a" * 32
UID = bytes(range(12))


def public(seed: bytes) -> bytes:
    """Return the public key of a seed."""
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def image_of(size: int, first: int) -> bytes:
    """Return an image whose blocks all differ."""
    return bytes((first + at * 7 + at // 236) & 0xFF for at in range(size))


def manifest(image: bytes, seed: bytes = SEED, /, **fields: object) -> bytes:
    """Return a signed manifest; ``fields`` replaces what it has by default."""
    have: dict[str, object] = {
        "magic": b"TFU1",
        "format": 1,
        "flags": 0,
        "low": 1,
        "high": 3,
        "board": b"unix",
        "version": 5,
        "floor": 4,
        "left": 0,
        "abi": ABI,
        "size": len(image),
        "digest": hashlib.sha256(image).digest(),
        "key": hashlib.sha256(public(seed)).digest()[:4],
        "reserved": bytes(12),
        **fields,
    }
    signed = struct.pack(">4sBBBB16sIII8sI32s4s12s", *have.values())
    return signed + Ed25519PrivateKey.from_private_bytes(seed).sign(signed)


def block(session: int, number: int, image: bytes) -> bytes:
    """Return the registers of one block."""
    data = image[236 * number : 236 * number + 236]
    head = struct.pack(">HH", session, number)
    return head + struct.pack(">I", zlib.crc32(head + data)) + data


def piece(session: int, number: int, image: bytes, first: int, count: int) -> bytes:
    """Return the registers of ``count`` quarters of a block."""
    data = image[236 * number : 236 * number + 236][60 * first : 60 * (first + count)]
    head = struct.pack(">HH", session, first << 14 | number)
    return head + struct.pack(">I", zlib.crc32(head + data)) + data


def order(number: int, *values: int) -> bytes:
    """Return a signed write of the values to 0x0400, for unit 1 in boot 1."""
    body = struct.pack(f">IIH{len(values)}H", 1, number, 0x0400, *values)
    tag = hmac.digest(NODE_KEY, struct.pack(">HHH", 0x01FE, 1, 1) + body + UID, "sha256")[:16]
    return body + tag


def table() -> dict[str, object]:
    """Return the vectors."""
    image = image_of(1000, 3)
    good = manifest(image)
    mark = hashlib.sha256(good).digest()
    session = 0x2A01
    changed = bytearray(image)
    changed[500] ^= 1
    refused = [
        ("no magic", 1, manifest(image, magic=b"TFU2")),
        ("unknown format", 1, manifest(image, format=2)),
        ("size is no whole number of words", 1, manifest(image, size=998)),
        ("reserved byte is set", 1, manifest(image, reserved=b"\x01" + bytes(11))),
        ("revisions upside down", 1, manifest(image, low=3, high=1)),
        ("floor above the version", 1, manifest(image, floor=6)),
        ("rollback without the version that it leaves", 1, manifest(image, flags=1)),
        ("signed by a key that the node does not have", 3, manifest(image, OTHER_SEED)),
        ("one bit of the signed bytes changed", 3, bytes((*good[:27], good[27] ^ 1, *good[28:]))),
        ("one bit of the signature changed", 3, bytes((*good[:159], good[159] ^ 1))),
        ("of another board", 4, manifest(image, board=b"made_up_1")),
        ("for later hardware", 5, manifest(image, low=2)),
        ("of the version that runs", 6, manifest(image, version=4, floor=0)),
        ("for another base", 8, manifest(image, abi=b"unix\x00\x00\x00\x02")),
        ("larger than a slot", 9, manifest(image, size=131072)),
    ]
    return {
        "format": "hex strings; integers as they stand in the registers",
        "source": "laid out with struct and zlib by docs/update.md, signed by OpenSSL (Ed25519),"
        " without the product's code: tests/tools/update_vectors.py",
        "release_key": public(SEED).hex(),
        "key_id": hashlib.sha256(public(SEED)).digest()[:4].hex(),
        "image": image.hex(),
        "manifest": good.hex(),
        "fields": {
            "version": 5,
            "floor": 4,
            "size": 1000,
            "revision_min": 1,
            "revision_max": 3,
            "class": "unix",
            "base_abi": ABI.hex(),
        },
        "mark": mark.hex(),
        "session": session,
        "blocks": [block(session, number, image).hex() for number in range(5)],
        "pieces_of_block_1": [
            {"first": first, "count": count, "data": piece(session, 1, image, first, count).hex()}
            for first, count in ((3, 1), (1, 2), (2, 2), (0, 1), (0, 2))
        ],
        "changed_block": block(session, 2, bytes(changed)).hex(),
        "older": manifest(image_of(480, 9), version=4, floor=0).hex(),
        "older_image": image_of(480, 9).hex(),
        "newer": manifest(image_of(480, 11), version=6, floor=5).hex(),
        "newer_image": image_of(480, 11).hex(),
        "below_floor": manifest(image_of(480, 9), version=3, floor=0, flags=1, left=5).hex(),
        "rollback": manifest(image_of(480, 9), version=4, floor=0, flags=1, left=5).hex(),
        "refused": [
            {"name": name, "reason": reason, "manifest": data.hex()}
            for name, reason, data in refused
        ],
        "orders": {
            "node_key": NODE_KEY.hex(),
            "uid": UID.hex(),
            "unit": 1,
            "boot_epoch": 1,
            "begin": order(0, 1, session, mark[0] << 8 | mark[1], mark[2] << 8 | mark[3]).hex(),
            "activate": order(1, 2, session).hex(),
            "confirm": order(2, 3, 0, 5).hex(),
            "cancel": order(3, 4, session).hex(),
        },
    }


def main(arguments: list[str]) -> int:
    """Compare the file with what it should be, or write it; return the exit code."""
    text = json.dumps(table(), indent=1) + "\n"
    if arguments == ["--write"]:
        TABLE.write_text(text)
        return 0
    return 0 if TABLE.read_text() == text else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
