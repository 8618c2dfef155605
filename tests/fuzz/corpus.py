"""Good inputs for each target, and how they are damaged where no fuzzer follows the branches."""

import csv
import functools
from pathlib import Path
from random import Random
from typing import Final

from tests.paths import ROOT
from tests.unit.protocols.link.fuzz import noise
from tests.unit.protocols.uplink.hj212.fuzz import CORPUS as HJ212_FRAMES

FOLDER: Final = Path(__file__).parent / "corpus"
_BYTES: Final = (
    b"~~",
    b"~",
    b"h",
    b"\x16",
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b"\n",
    b"=",
    b"\xff",
)


@functools.cache
def corpus_of(name: str) -> tuple[bytes, ...]:
    """Return what is in the repository: the folder of the target, and published frames."""
    found = [path.read_bytes() for path in sorted((FOLDER / name).glob("*"))]
    if name == "sl651":
        text = (ROOT / "protocols" / "vectors" / "sl651.tsv").read_text("utf-8")
        rows = csv.DictReader(text.splitlines(), delimiter="\t")
        found += [b"\x00" + bytes.fromhex(row["frame_hex"]) for row in rows]
    if name == "hj212":
        found += [b"\x00" + frame for frame in HJ212_FRAMES]
    if name == "link":
        found += [noise(seed) for seed in range(20)]
    return tuple(found)


def damaged(given: tuple[bytes, ...], seed: int) -> bytes:
    """Return one or two inputs with up to six flips, cuts, repeats and insertions."""
    random = Random(seed)
    data = bytearray(b"".join(random.choices(given, k=random.choice((1, 1, 1, 2)))))
    for _ in range(random.randrange(7)):
        at = random.randrange(len(data) + 1)
        operation = random.randrange(5)
        if operation == 0 and at < len(data):
            data[at] ^= 1 << random.randrange(8)
        elif operation == 1:
            del data[at : at + random.randrange(1, 20)]
        elif operation == 2:
            data[at:at] = random.choice(_BYTES)
        elif operation == 3:
            data[at:at] = data[random.randrange(len(data) + 1) :][:40]
        else:
            data[at:at] = random.randbytes(random.randrange(1, 12))
    return bytes(data)
