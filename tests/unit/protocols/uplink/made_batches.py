"""Make the content of protocols/vectors/batch.json."""

import hashlib
import struct

from .made_parts import (
    ANCHOR,
    BAD_ORDER,
    BAD_TAG,
    BAD_VALUE,
    GATEWAY_SECRET,
    TOO_LONG,
    TRUNCATED,
    UNKNOWN,
    Json,
    case_bytes,
    kid_of,
    public_of,
    sign,
)
from .plain_cbor import head, plain


def _batch(
    records: list[bytes],
    first: int,
    prev: bytes,
    maps: int,
    *,
    alg: int = -19,
    zstd: bool = False,
    changes: dict[int, object] | None = None,
    more: dict[int | str, object] | None = None,
    pack: bytes | None = None,
    unprotected: object = None,
) -> bytes:
    """A batch of ``records``; ``changes`` replace elements of tf by index, ``more`` headers."""
    chain = prev
    for record in records:
        chain = hashlib.sha256(chain + record).digest()
    fields: list[object] = [
        "gw-01",
        1,
        7,
        first,
        first + len(records) - 1,
        chain,
        prev,
        ANCHOR,
        [len(record) for record in records],
        int(zstd),
    ]
    for index, value in (changes or {}).items():
        fields[index] = value
    if pack is None:
        pack = head(4, maps) + b"".join(records)
        if zstd:
            pack = stored_zstd(pack)
    protected: dict[int | str, object] = {
        1: alg,
        3: "application/senml+cbor",
        4: kid_of(GATEWAY_SECRET),
        "tf": fields,
    }
    return sign(protected | (more or {}), pack, GATEWAY_SECRET, unprotected)


def stored_zstd(data: bytes, claim: int | None = None) -> bytes:
    """A zstd frame with one stored block, by hand (RFC 8878 section 3.1.1): magic number, one byte
    saying "single segment, size in 4 bytes", the size, the block's head (last, raw) and the data.
    """
    size = len(data) if claim is None else claim
    block = (len(data) << 3 | 1).to_bytes(3, "little")
    return bytes.fromhex("28b52ffda0") + struct.pack("<I", size) + block + data


_AIR_FRAME = 56


def short_pack(records: list[bytes], runs: list[int], maps: int) -> bytes:
    """A short pack by hand; the records of every second of ``runs`` are samples of an air node."""
    parts, frames = [], []
    for index, record in enumerate(records):
        run = next(n for n in range(len(runs)) if index < sum(runs[: n + 1]))
        if run % 2 == 0:
            parts.append(record)
            continue
        at = record.index(bytes([0x58, _AIR_FRAME]))
        parts.append(record[:at] + bytes([0x18, _AIR_FRAME]))
        frames.append(record[at + 2 : at + 2 + _AIR_FRAME])
    columns = [bytes(frame[index] for frame in frames) for index in range(_AIR_FRAME)]
    return plain([maps, runs]) + b"".join(parts + columns)


def batches_file(records: dict[str, Json], gaps: dict[str, Json]) -> dict[str, Json]:
    one = [case_bytes(records, "profile", 0), case_bytes(records, "sample", 0)]
    two = [case_bytes(records, "events", 0), case_bytes(gaps, "gap", 0)]
    genesis = bytes(32)
    middle = genesis
    for record in one:
        middle = hashlib.sha256(middle + record).digest()
    sample = one[1]
    last_of_tag = sample.index(bytes([0x58, _AIR_FRAME])) + 1 + _AIR_FRAME
    other = bytearray(sample)
    other[last_of_tag] ^= 1  # another frame with the same values
    three = [one[0], sample, bytes(other)]
    first = _batch(one, 1, genesis, 13)
    second = _batch(two, 3, middle, 4, zstd=True)
    refused: list[tuple[str, bytes, int]] = [
        ("last byte of the signature flipped", first[:-1] + bytes([first[-1] ^ 1]), BAD_TAG),
        ("a byte of a record flipped", first.replace(b"\x19\x01\xa1", b"\x19\x01\xa2"), BAD_TAG),
        (
            "a byte of the header flipped",
            first.replace(b"egw-01\x01\x07", b"egw-01\x01\x06"),
            BAD_TAG,
        ),
        ("a byte after the end", first + b"\x00", TOO_LONG),
        ("cut in its last byte", first[:-1], TRUNCATED),
        ("without its tag", first[1:], BAD_VALUE),
        ("tag 98", b"\xd8\x62" + first[1:], UNKNOWN),
        ("alg -7", _batch(one, 1, genesis, 13, alg=-7), UNKNOWN),
        (
            "a critical header nobody knows",
            _batch(one, 1, genesis, 13, more={2: ["new"], "new": 1}),
            UNKNOWN,
        ),
        (
            "crit names a header that is not there",
            _batch(one, 1, genesis, 13, more={2: [3, "new"]}),
            BAD_VALUE,
        ),
        ("an empty crit", _batch(one, 1, genesis, 13, more={2: []}), BAD_VALUE),
        (
            "something in the unprotected header",
            _batch(one, 1, genesis, 13, unprotected={6: b"x"}),
            BAD_VALUE,
        ),
        ("another content type", _batch(one, 1, genesis, 13, more={3: "text/plain"}), BAD_VALUE),
        ("another kid", _batch(one, 1, genesis, 13, more={4: bytes(8)}), UNKNOWN),
        (
            "head of another chain",
            _batch(one, 1, genesis, 13, changes={5: middle[::-1]}),
            BAD_ORDER,
        ),
        ("prev of another chain", _batch(one, 2, middle[::-1], 13, changes={5: middle}), BAD_ORDER),
        (
            "records swapped under the same head",
            _batch(one[::-1], 1, genesis, 13, changes={5: middle}),
            BAD_ORDER,
        ),
        ("record 1 after something", _batch(one, 1, middle, 13), BAD_VALUE),
        ("record 0", _batch(one, 0, genesis, 13), BAD_VALUE),
        ("one number too many", _batch(one, 1, genesis, 13, changes={4: 3}), BAD_VALUE),
        (
            "lengths that do not add up",
            _batch(one, 1, genesis, 13, changes={8: [len(one[0]), len(one[1]) - 1]}),
            TRUNCATED,
        ),
        (
            "a length of zero",
            _batch(one, 1, genesis, 13, changes={8: [0, len(one[0]) + len(one[1])]}),
            BAD_VALUE,
        ),
        ("a gateway id with a slash", _batch(one, 1, genesis, 13, changes={0: "gw/01"}), BAD_VALUE),
        ("a stream as text", _batch(one, 1, genesis, 13, changes={2: "7"}), BAD_VALUE),
        ("compression 2", _batch(one, 1, genesis, 13, changes={9: 2}), BAD_VALUE),
        ("an anchor of four", _batch(one, 1, genesis, 13, changes={7: ANCHOR[:4]}), BAD_VALUE),
        (
            "no array in the payload",
            _batch(one, 1, genesis, 13, pack=b"\xa1" + b"".join(one)),
            BAD_VALUE,
        ),
        ("zstd said, none there", _batch(one, 1, genesis, 13, changes={9: 1}), BAD_VALUE),
        (
            "a zstd frame claiming 4 GB",
            _batch(one, 1, genesis, 13, zstd=True, pack=stored_zstd(b"\x8d", 2**32 - 1)),
            TOO_LONG,
        ),
        (
            "a zstd frame shorter than it claims",
            _batch(
                one,
                1,
                genesis,
                13,
                zstd=True,
                pack=stored_zstd(b"\x8d", 1 + len(one[0]) + len(one[1])),
            ),
            BAD_VALUE,
        ),
        (
            "bytes after the zstd frame",
            _batch(
                one,
                1,
                genesis,
                13,
                zstd=True,
                pack=stored_zstd(head(4, 13) + b"".join(one)) + b"\x00",
            ),
            BAD_VALUE,
        ),
        *(
            (
                f"short pack: {name}",
                _batch(three, 1, genesis, 21, changes={9: 2}, pack=stored_zstd(pack)),
                code,
            )
            for name, pack, code in _bad_short_packs(three)
        ),
        ("nothing", b"", TRUNCATED),
    ]
    return {
        "source": "this project; made by tests/unit/protocols/uplink/generate.py; secret key of RFC"
        " 8032 section 7.1, test 1",
        "secret_key": GATEWAY_SECRET,
        "public_key": public_of(GATEWAY_SECRET).hex(),
        "kid": kid_of(GATEWAY_SECRET).hex(),
        "batch": [
            _batch_case("plain", first, one, 1, genesis, 13),
            _batch_case(
                "compressed (one stored zstd block), after the plain one", second, two, 3, middle, 4
            ),
            _batch_case(
                "short pack: a record of a third-party device, two samples",
                _batch(
                    three,
                    1,
                    genesis,
                    21,
                    changes={9: 2},
                    pack=stored_zstd(short_pack(three, [1, 2], 21)),
                ),
                three,
                1,
                genesis,
                21,
            ),
            _batch_case(
                "short pack: a record of a third-party device, a sample, another one whole",
                _batch(
                    three,
                    1,
                    genesis,
                    21,
                    changes={9: 2},
                    pack=stored_zstd(short_pack(three, [1, 1, 1], 21)),
                ),
                three,
                1,
                genesis,
                21,
            ),
            _batch_case(
                "alg -8, as RFC 8152 had it",
                _batch(one, 1, genesis, 13, alg=-8),
                one,
                1,
                genesis,
                13,
            ),
            _batch_case(
                "crit naming what is known",
                _batch(one, 1, genesis, 13, more={2: [3, "tf"]}),
                one,
                1,
                genesis,
                13,
            ),
        ],
        "refused": [
            {"name": name, "hex": data.hex(), "code": code} for name, data, code in refused
        ],
    }


def _bad_short_packs(records: list[bytes]) -> list[tuple[str, bytes, int]]:
    good = short_pack(records, [1, 2], 21)
    return [
        ("runs of too many records", good.replace(b"\x82\x01\x02", b"\x82\x01\x03", 1), BAD_VALUE),
        ("runs of too few records", good.replace(b"\x82\x01\x02", b"\x82\x01\x01", 1), BAD_VALUE),
        ("an empty run", good.replace(b"\x82\x01\x02", b"\x84\x01\x01\x00\x01", 1), BAD_VALUE),
        ("no runs", good.replace(b"\x82\x15\x82\x01\x02", b"\x81\x15", 1), BAD_VALUE),
        ("a frame too long", good.replace(b"\x18\x38", b"\x18\xfb", 1), BAD_VALUE),
        (
            "a short record said to be whole",
            good.replace(b"\x82\x01\x02", b"\x82\x02\x01", 1),
            TRUNCATED,
        ),
        ("a byte behind the frames", good + b"\x00", TRUNCATED),
        ("cut in its last frame", good[:-1], TRUNCATED),
        ("a frame of a register map nobody knows", _with_map(good, 99), UNKNOWN),
    ]


def _with_map(pack: bytes, map_id: int) -> bytes:
    """``pack`` with another map id in its two frames: their second column."""
    at = len(pack) - 2 * _AIR_FRAME + 2
    return pack[:at] + bytes([map_id, map_id]) + pack[at + 2 :]


def _batch_case(
    name: str, data: bytes, records: list[bytes], first: int, prev: bytes, maps: int
) -> Json:
    chain = prev
    for record in records:
        chain = hashlib.sha256(chain + record).digest()
    return {
        "name": name,
        "hex": data.hex(),
        "gateway": "gw-01",
        "key_epoch": 1,
        "stream": 7,
        "first": first,
        "prev": prev.hex(),
        "head": chain.hex(),
        "boot_id": bytes(range(16)).hex(),
        "anchor": [7_201_000, 1_765_432_101_082, 20, 3],
        "records": [record.hex() for record in records],
        "maps": maps,
    }
