"""Bytes per reading on the uplink: whole signed batches of 1,000 readings of each kind."""

import math
import random
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protocols.uplink import (
    CLOCK_SYNCHRONISED,
    GENESIS,
    Anchor,
    ProfileTemplate,
    Stamp,
    build_batch,
    sample_record,
)
from protocols.wire import sample
from protocols.wire.hmac import HmacSha256
from protocols.wire.registers import AIR

READINGS: Final = 1000
_WALL_MS: Final = 1_764_000_000_000
_UID: Final = bytes(range(12))


def _stamp(number: int, random_: random.Random) -> Stamp:
    at = 3_600_000 + 5000 * number + random_.randrange(4)
    return Stamp(at, at + random_.randrange(20, 40), _WALL_MS + at, 20, CLOCK_SYNCHRONISED)


def _walk(random_: random.Random, start: int, step: int) -> int:
    return max(0, start + random_.randint(-step, step))


def profile_records(points: int, seed: int) -> list[bytes]:
    """Return samples of third-party devices whose values wander as measured ones do."""
    random_ = random.Random(seed)
    names = tuple((f"p{index}", "Cel", -1) for index in range(points))
    template = ProfileTemplate("gw-1.probe", names)
    raw = [random_.randrange(100, 4000) for _ in range(points)]
    records = []
    for number in range(math.ceil(READINGS / points)):
        raw = [_walk(random_, value, 3) for value in raw]
        records.append(template.record(raw, _stamp(number, random_)).data)
    return records


def node_records(seed: int) -> list[bytes]:
    """Return samples of an air node: seven readings each, with the frame and its tag as proof."""
    random_ = random.Random(seed)
    mac = HmacSha256(random_.randbytes(32))
    raw = [12, 18, 20, 2100, 608, 512, 4400]
    records = []
    for number in range(math.ceil(READINGS / len(raw))):
        raw = [_walk(random_, value, 3) for value in raw]
        frame = bytearray(2 * AIR.words)
        sample.pack_header(frame, AIR.map_id, AIR.version, 3, number, 5000 * number, 0, 1)
        sample.pack_values(AIR, frame, [0] * len(raw), raw)
        sample.seal(frame, 1, mac, _UID)
        decoded = sample.decode(frame)
        stamp = _stamp(number, random_)
        records.append(sample_record(f"tf-{_UID.hex()}", decoded, bytes(frame), stamp).data)
    return records


def bytes_per_reading(records: list[bytes], readings: int, compression: str) -> float:
    """Return the size per reading of the signed batch of ``records``, with its headers.

    ``compression`` as in the gateway's configuration.
    """
    batch = build_batch(
        gateway="gw-1",
        key_epoch=0,
        stream=1,
        first=1,
        prev=GENESIS,
        anchor=Anchor(bytes(16), 3_600_000, _WALL_MS, 20, CLOCK_SYNCHRONISED),
        records=records,
        key=Ed25519PrivateKey.from_private_bytes(bytes(32)),
        compress=compression != "none",
        short=compression == "short",
    )
    return len(batch) / readings
