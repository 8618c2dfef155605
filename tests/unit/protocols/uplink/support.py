"""What the tests of the uplink formats share: typed access to vectors, keys, random records."""

import json
import random
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from protocols.uplink import GENESIS, Anchor, ProfileTemplate, Record, Stamp, build_batch

from .generate import VECTORS

GATEWAY: Final = "gw-01"
KEY: Final = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC: Final = KEY.public_key()
ANCHOR: Final = Anchor(bytes(16), 1_000, 1_765_432_100_000, 10, 3)


def vector_file(name: str) -> dict[str, Any]:
    """The content of protocols/vectors/<name>.json."""
    content: dict[str, Any] = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
    return content


def cases(name: str, group: str) -> list[Any]:
    """One group of a vector file."""
    found: list[Any] = vector_file(name)[group]
    assert found, f"{name}.json has no {group}"
    return found


def case_name(case: dict[str, Any]) -> str:
    """The id of a parametrised test."""
    return str(case["name"])


def stamp_of(fields: dict[str, Any]) -> Stamp:
    """The Stamp a vector describes."""
    return Stamp(**fields)


def one_key(key: Ed25519PublicKey = PUBLIC) -> "Lookup":
    """Return one key, whatever is asked for."""
    return Lookup(key)


class Lookup:
    """A key lookup that remembers what it was asked."""

    def __init__(self, key: Ed25519PublicKey | None) -> None:
        self.key = key
        self.asked: list[tuple[str, bytes]] = []

    def __call__(self, gateway: str, kid: bytes) -> Ed25519PublicKey | None:
        self.asked.append((gateway, kid))
        return self.key


def polls(count: int, points: int, seed: int = 1, failing: bool = False) -> list[Record]:
    """``count`` records of one device; the same for the same arguments."""
    source = random.Random(seed)
    names = [(f"register_{index}", "Cel", -1) for index in range(points)]
    template = ProfileTemplate("gw-01.meter", names)
    records = []
    for poll in range(count):
        raw: list[int | float | None] = [source.randrange(65536) for _ in range(points)]
        if failing:
            raw[source.randrange(points)] = None
        at = 100_000 + 1_000 * poll + source.randrange(20)
        wall = 1_765_432_100_000 + 1_000 * poll + source.randrange(20)
        records.append(template.record(raw, Stamp(at, at + 35, wall, 20, 3)))
    return records


def batch_of(
    records: list[Record],
    first: int = 1,
    prev: bytes = GENESIS,
    compress: bool = False,
    stream: int = 7,
    gateway: str = GATEWAY,
) -> bytes:
    """A batch of ``records`` signed with KEY."""
    return build_batch(
        gateway=gateway,
        key_epoch=1,
        stream=stream,
        first=first,
        prev=prev,
        anchor=ANCHOR,
        records=[record.data for record in records],
        key=KEY,
        compress=compress,
        maps=sum(record.maps for record in records),
    )


def written_short(value: float) -> bool:
    """Return whether cbor2 writes a float shortest: it misses halves from 32768 to 65504."""
    return not (32768 <= abs(value) <= 65504 and value % 32 == 0)
