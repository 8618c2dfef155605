"""Make the parts that all vectors share: keys, stamps, node frames, heads of records, signatures.

Nothing of the product is used: struct and hmac for frames, the naive encoder for CBOR, cryptography
for signatures.
"""

import hashlib
import hmac
import struct
from typing import Final, TypeAlias

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from .plain_cbor import head, plain

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | None"

GATEWAY_SECRET: Final = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
COLLECTOR_SECRET: Final = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"
NODE_KEY: Final = bytes(range(32))
UID: Final = bytes.fromhex("3a001f000d51383437363136")
NODE: Final = "tf-" + UID.hex()

# Codes of protocols/wire/errors.py, by value: they are part of the contract.
TRUNCATED, TOO_LONG, _, BAD_TAG, BAD_VALUE, UNKNOWN, BAD_ORDER = range(1, 8)

STAMP: Final[dict[str, Json]] = {
    "req_ms": 7_200_000,
    "resp_ms": 7_200_041,
    "wall_ms": 1_765_432_100_123,
    "unc_ms": 20,
    "clock_state": 3,
}
TIMELESS: Final[dict[str, Json]] = {
    "req_ms": 900,
    "resp_ms": 901,
    "wall_ms": None,
    "unc_ms": 0,
    "clock_state": 0,
}
LONG_UP: Final[dict[str, Json]] = {
    "req_ms": 5_000_000_000,
    "resp_ms": 5_000_070_000,
    "wall_ms": 1_765_432_100_500,
    "unc_ms": 65_536,
    "clock_state": 1,
}


def int_of(value: Json) -> int:
    assert isinstance(value, int)
    return value


def record_head(
    device: str, name: str, value: object, stamp: dict[str, Json], kind: int, tail: list[object]
) -> bytes:
    req, resp = int_of(stamp["req_ms"]), int_of(stamp["resp_ms"])
    entry: dict[int | str, object] = {
        -2: device + "/",
        0: name,
        (3 if isinstance(value, str) else 2): value,
        "tf": [kind, req, resp - req, stamp["clock_state"], stamp["unc_ms"], *tail],
    }
    if stamp["wall_ms"] is not None:
        wall = stamp["wall_ms"]
        assert isinstance(wall, int | float)
        entry[-3] = wall / 1000
    return plain(entry)


def point(name: str, unit: str, value: object) -> bytes:
    return plain({0: name, 2: value} | ({1: unit} if unit else {}))


def failed(name: str, quality: str) -> bytes:
    return plain({0: name + "/q", 3: quality})


def frame(map_id: int, header: tuple[int, ...], body: bytes) -> bytes:
    """header: boot_epoch, seq, t_boot_ms, status, event_seq (protocols/wire/sample.py)."""
    signed = struct.pack(">HHIIIHH", map_id, 1, *header) + body + struct.pack(">H", 1)
    return signed + hmac.new(NODE_KEY, signed + UID, hashlib.sha256).digest()[:16]


# The air node's sample: humidity (the last point) timed out, so its nibble is 2 and its value 0.
AIR_FRAME: Final = frame(
    0x0101,
    (3, 4711, 120_000, 0x0010, 2),
    struct.pack(">HH", 0x0000, 0x0200) + struct.pack(">HHHHHhH", 23, 41, 57, 1892, 612, -215, 0),
)
EVENT_FRAME: Final = frame(
    0x01FF,
    (3, 2, 121_000, 0x0100, 2),
    struct.pack(">HHIHHI", 1, 0, 1_200, 4, 1, 119_750) + bytes(14 * 8),
)


def sign(
    protected: dict[int | str, object], payload: bytes, secret: str, unprotected: object = None
) -> bytes:
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret))
    encoded = plain(protected)
    signature = key.sign(plain(["Signature1", encoded, b"", payload]))
    body = plain([encoded, {} if unprotected is None else unprotected, payload, signature])
    return head(6, 18) + body


def public_of(secret: str) -> bytes:
    return (
        Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret)).public_key().public_bytes_raw()
    )


def kid_of(secret: str) -> bytes:
    return hashlib.sha256(public_of(secret)).digest()[:8]


ANCHOR: Final[list[object]] = [bytes(range(16)), 7_201_000, 1_765_432_101_082, 20, 3]


def case_bytes(vectors: dict[str, Json], name: str, index: int) -> bytes:
    """Return the bytes of one case of a vector file."""
    cases = vectors[name]
    assert isinstance(cases, list)
    case = cases[index]
    assert isinstance(case, dict)
    assert isinstance(case["hex"], str)
    return bytes.fromhex(case["hex"])
