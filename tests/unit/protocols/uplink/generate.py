"""Makes protocols/vectors/{record,gap,batch,receipt}.json and the examples in docs/formats.md.

``python -m tests.unit.protocols.uplink.generate`` writes the files; a test holds them equal to what
is made here. Nothing of protocols.uplink or protocols.wire is used: frames come from struct and
hmac, CBOR from the naive encoder beside this file, chains from hashlib, signatures from
cryptography
(with the secret keys of RFC 8032 section 7.1, tests 1 and 2).
"""

import hashlib
import hmac
import json
import re
import struct
import sys
from collections.abc import Iterator
from typing import Final, TypeAlias

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.paths import ROOT

from .plain_cbor import Raw, fraction, head, plain

VECTORS: Final = ROOT / "protocols" / "vectors"
DOCUMENT: Final = ROOT / "docs" / "formats.md"

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | None"

GATEWAY_SECRET: Final = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
COLLECTOR_SECRET: Final = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"
NODE_KEY: Final = bytes(range(32))
UID: Final = bytes.fromhex("3a001f000d51383437363136")
NODE: Final = "tf-" + UID.hex()

# Codes of protocols/wire/errors.py, by value: they are part of the contract.
TRUNCATED, TOO_LONG, BAD_CHECK, BAD_TAG, BAD_VALUE, UNKNOWN, BAD_ORDER = range(1, 8)

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


def _int(value: Json) -> int:
    assert isinstance(value, int)
    return value


def _head(
    device: str, name: str, value: object, stamp: dict[str, Json], kind: int, tail: list[object]
) -> bytes:
    req, resp = _int(stamp["req_ms"]), _int(stamp["resp_ms"])
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


def _point(name: str, unit: str, value: object) -> bytes:
    return plain({0: name, 2: value} | ({1: unit} if unit else {}))


def _failed(name: str, quality: str) -> bytes:
    return plain({0: name + "/q", 3: quality})


def _frame(map_id: int, header: tuple[int, ...], body: bytes) -> bytes:
    """header: boot_epoch, seq, t_boot_ms, status, event_seq (protocols/wire/sample.py)."""
    signed = struct.pack(">HHIIIHH", map_id, 1, *header) + body + struct.pack(">H", 1)
    return signed + hmac.new(NODE_KEY, signed + UID, hashlib.sha256).digest()[:16]


# The air node's sample: humidity (the last point) timed out, so its nibble is 2 and its value 0.
AIR_FRAME: Final = _frame(
    0x0101,
    (3, 4711, 120_000, 0x0010, 2),
    struct.pack(">HH", 0x0000, 0x0200) + struct.pack(">HHHHHhH", 23, 41, 57, 1892, 612, -215, 0),
)
EVENT_FRAME: Final = _frame(
    0x01FF,
    (3, 2, 121_000, 0x0100, 2),
    struct.pack(">HHIHHI", 1, 0, 1_200, 4, 1, 119_750) + bytes(14 * 8),
)


def _records() -> dict[str, Json]:
    profile = [
        _profile(
            "values, a float and a failed point",
            "gw-01.s8",
            [["co2", "ppm", 0], ["temperature", "Cel", -1], ["flow", "l/s", 0], ["ph", "pH", -2]],
            [417, -52, 1.1, None],
            STAMP,
            [
                _point("co2", "ppm", 417),
                _point("temperature", "Cel", fraction(-1, -52)),
                _point("flow", "l/s", 1.1),
                _failed("ph", "timeout"),
            ],
        ),
        _profile(
            "no clock, no unit, widest integers",
            "gw-01.probe",
            [["a", "", 0], ["b", "", 0], ["c", "", 9], ["d", "", -9]],
            [65_536, 18_446_744_073_709_551_615, -1, 24],
            TIMELESS,
            [
                _point("a", "", 65_536),
                _point("b", "", 18_446_744_073_709_551_615),
                _point("c", "", fraction(9, -1)),
                _point("d", "", fraction(-9, 24)),
            ],
        ),
        _profile(
            "up for 58 days, no point",
            "gw-01.silent",
            [],
            [],
            LONG_UP,
            [],
        ),
    ]
    sample = _head(NODE, "status", 0x0010, STAMP, 1, [AIR_FRAME]) + b"".join(
        [
            _point("pm1_0", "ug/m3", 23),
            _point("pm2_5", "ug/m3", 41),
            _point("pm10", "ug/m3", 57),
            _point("particles_0_3", "count", 1892),
            _point("co2", "ppm", 612),
            _point("temperature", "Cel", fraction(-2, -215)),
            _failed("humidity", "timeout"),
        ]
    )
    motion = plain({0: "event", 3: "motion", 6: fraction(-3, -1250), "tf": [2, 1]})
    boot = plain({0: "event", 3: "boot", 6: fraction(-3, -119_800), "tf": [1, 0]})
    event_head = _head(NODE, "status", 0x0100, STAMP, 2, [EVENT_FRAME])
    good = _value_record(fraction(-1, 5))
    return {
        "source": "this project; made by tests/unit/protocols/uplink/generate.py",
        "node_key": NODE_KEY.hex(),
        "key_id": 1,
        "uid": UID.hex(),
        "profile": list(profile),
        "sample": [
            {
                "name": "air node, humidity timed out",
                "device_id": NODE,
                "frame": AIR_FRAME.hex(),
                "stamp": STAMP,
                "hex": sample.hex(),
                "readings": 6,
                "maps": 8,
                "values": [
                    ["pm1_0", "ug/m3", 23],
                    ["pm2_5", "ug/m3", 41],
                    ["pm10", "ug/m3", 57],
                    ["particles_0_3", "count", 1892],
                    ["co2", "ppm", 612],
                    ["temperature", "Cel", -2.15],
                ],
                "failures": [["humidity", "timeout"]],
            }
        ],
        "events": [
            {
                "name": "both events new",
                "device_id": NODE,
                "frame": EVENT_FRAME.hex(),
                "stamp": STAMP,
                "after": 0,
                "hex": (event_head + boot + motion).hex(),
                "maps": 3,
                "events": [[1, "boot", 0, -119_800], [2, "motion", 1, -1250]],
            },
            {
                "name": "the first seen before",
                "device_id": NODE,
                "frame": EVENT_FRAME.hex(),
                "stamp": STAMP,
                "after": 1,
                "hex": (event_head + motion).hex(),
                "maps": 2,
                "events": [[2, "motion", 1, -1250]],
            },
        ],
        "refused": [
            {"name": name, "hex": data.hex(), "code": code, "offset": offset}
            for name, data, code, offset in _refused_records(good)
        ],
    }


def _profile(
    name: str,
    device: str,
    points: list[Json],
    raw: list[Json],
    stamp: dict[str, Json],
    maps: list[bytes],
) -> Json:
    data = _head(device, "status", 0, stamp, 0, []) + b"".join(maps)
    return {
        "name": name,
        "device_id": device,
        "points": points,
        "raw": raw,
        "stamp": stamp,
        "hex": data.hex(),
        "readings": sum(value is not None for value in raw),
        "maps": 1 + len(maps),
    }


def _value_record(value: object, extra: bytes = b"") -> bytes:
    return _head("gw.x", "status", 0, TIMELESS, 0, []) + _point("a", "V", value) + extra


def _refused_records(good: bytes) -> Iterator[tuple[str, bytes, int, int]]:
    lead = _head("gw.x", "status", 0, TIMELESS, 0, [])
    at = len(lead)
    yield "empty", b"", TRUNCATED, 0
    yield "cut in its last byte, within the fraction", good[:-1], TRUNCATED, len(good) - 3
    yield "not a map", plain([1]), BAD_VALUE, 0
    yield "a byte that is no map after the last", good + b"\x00", BAD_VALUE, len(good)
    yield (
        "equal keys",
        lead + bytes.fromhex("a300616100616102 01".replace(" ", "")),
        BAD_VALUE,
        at + 4,
    )
    yield (
        "keys out of order",
        lead + bytes.fromhex("a2020100 6161".replace(" ", "")),
        BAD_ORDER,
        at + 3,
    )
    yield (
        "integer longer than needed",
        lead + bytes.fromhex("a200616102 1817".replace(" ", "")),
        BAD_VALUE,
        at + 5,
    )
    yield "indefinite map", lead + bytes.fromhex("bf0061610201ff"), BAD_VALUE, at
    yield "indefinite text", lead + bytes.fromhex("a2007f6161ff0201"), BAD_VALUE, at + 2
    yield (
        "float longer than needed",
        _value_record(Raw(bytes.fromhex("fb3ff8000000000000"))),
        BAD_VALUE,
        at + 8,
    )
    yield "not a number", _value_record(Raw(bytes.fromhex("f97e00"))), BAD_VALUE, at + 8
    yield "tag 2, a big integer", _value_record(Raw(bytes.fromhex("c24101"))), UNKNOWN, at + 8
    yield (
        "tag 35, a regular expression",
        _value_record(Raw(bytes.fromhex("d823626128"))),
        UNKNOWN,
        at + 8,
    )
    yield "undefined", _value_record(Raw(b"\xf7")), UNKNOWN, at + 8
    yield (
        "array of 2**32 elements",
        _value_record(Raw(bytes.fromhex("9b0000000100000000"))),
        TRUNCATED,
        at + 8,
    )
    yield (
        "text of 2**32 bytes",
        _value_record(Raw(bytes.fromhex("7b0000000100000000"))),
        TRUNCATED,
        at + 8,
    )
    yield "nested too deep", _value_record(Raw(b"\x81" * 20 + b"\x00")), TOO_LONG, at + 15
    yield "text that is not UTF-8", lead + bytes.fromhex("a20061ff0201"), BAD_VALUE, at + 3
    yield "value is text", _value_record("12"), BAD_VALUE, at
    yield "exponent 0 as a fraction", _value_record(fraction(0, 5)), BAD_VALUE, at
    yield "exponent 10", _value_record(fraction(10, 5)), BAD_VALUE, at
    yield "unknown label", lead + plain({0: "a", 2: 1, 9: 1}), BAD_VALUE, at
    yield "no value", lead + plain({0: "a"}), BAD_VALUE, at
    yield "a name twice", good + _point("a", "V", 1), BAD_VALUE, len(good)
    yield "a name that failed and did not", good + _failed("a", "timeout"), BAD_VALUE, len(good)
    yield "a reserved name", lead + _point("status", "", 1), BAD_VALUE, at
    yield "a name with a space", lead + _point("a b", "", 1), BAD_VALUE, at
    yield "an unknown quality", lead + _failed("a", "fine"), BAD_VALUE, at
    yield "kind 4", _head("gw.x", "status", 0, TIMELESS, 4, []), UNKNOWN, 0
    yield "a status on a profile", _head("gw.x", "status", 1, TIMELESS, 0, []), BAD_VALUE, 0
    yield "a profile posing as a node", _head(NODE, "status", 0, TIMELESS, 0, []), BAD_VALUE, 0
    yield "a sample of no node", _head("gw.x", "status", 0, STAMP, 1, [AIR_FRAME]), BAD_VALUE, 0
    yield "a frame too long", _head(NODE, "status", 0, STAMP, 1, [bytes(251)]), BAD_VALUE, 0
    no_state = STAMP | {"clock_state": 0}
    yield "wall time without a clock", _head("gw.x", "status", 0, no_state, 0, []), BAD_VALUE, 0
    no_wall = STAMP | {"wall_ms": None}
    yield "a clock without wall time", _head("gw.x", "status", 0, no_wall, 0, []), BAD_VALUE, 0
    odd = STAMP | {"wall_ms": 1_765_432_100_123.5}
    data = _head("gw.x", "status", 0, odd, 0, [])
    yield "wall time with half a millisecond", data, BAD_VALUE, 0
    event_head = _head(NODE, "status", 0, STAMP, 2, [EVENT_FRAME])
    one, three = (
        plain({0: "event", 3: "boot", 6: fraction(-3, 0), "tf": [number, 0]}) for number in (1, 3)
    )
    yield "event 3 after event 1", event_head + one + three, BAD_VALUE, len(event_head + one)
    yield (
        "event 0",
        event_head + one.replace(b"\x82\x01\x00", b"\x82\x00\x00"),
        BAD_VALUE,
        len(event_head),
    )
    tenths = plain({0: "event", 3: "boot", 6: fraction(-1, 0), "tf": [1, 0]})
    yield "event time in tenths", event_head + tenths, BAD_VALUE, len(event_head)
    early = STAMP | {"wall_ms": 268_435_455_999}
    yield (
        "wall time that SenML takes as relative",
        _head("gw.x", "status", 0, early, 0, []),
        BAD_VALUE,
        0,
    )


def _gaps() -> dict[str, Json]:
    cases: list[tuple[str, str, list[Json]]] = [
        ("samples of one boot", NODE, ["bus_timeout", 3, 4712, 4720, "9 polls without an answer"]),
        ("third-party device", "gw-01.s8", ["crc", None, None, None, ""]),
        ("the gateway itself", "gw-01", ["gateway_down", None, None, None, "power lost 14:02"]),
    ]
    refused: list[tuple[str, list[Json], int]] = [
        ("unknown cause", ["boredom", None, None, None, ""], UNKNOWN),
        ("first without last", ["crc", 1, 5, None, ""], BAD_VALUE),
        ("last before first", ["crc", 1, 5, 4, ""], BAD_VALUE),
        ("a detail of 201 characters", ["crc", 1, 5, 6, "x" * 201], BAD_VALUE),
        ("boot epoch beyond 32 bits", ["crc", 1 << 32, 5, 6, ""], BAD_VALUE),
        ("a detail missing", ["crc", 1, 5, 6], BAD_VALUE),
    ]
    return {
        "source": "this project; made by tests/unit/protocols/uplink/generate.py",
        "gap": [
            {
                "name": name,
                "device_id": device,
                "gap": gap,
                "stamp": STAMP,
                "hex": _head(device, "gap", gap[0], STAMP, 3, list(gap[1:])).hex(),
            }
            for name, device, gap in cases
        ],
        "refused": [
            {
                "name": name,
                "hex": _head(NODE, "gap", gap[0], STAMP, 3, list(gap[1:])).hex(),
                "code": code,
                "offset": 0,
            }
            for name, gap, code in refused
        ],
    }


def _sign(
    protected: dict[int | str, object], payload: bytes, secret: str, unprotected: object = None
) -> bytes:
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret))
    encoded = plain(protected)
    signature = key.sign(plain(["Signature1", encoded, b"", payload]))
    body = plain([encoded, {} if unprotected is None else unprotected, payload, signature])
    return head(6, 18) + body


def _public(secret: str) -> bytes:
    return (
        Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret)).public_key().public_bytes_raw()
    )


def _kid(secret: str) -> bytes:
    return hashlib.sha256(_public(secret)).digest()[:8]


ANCHOR: Final[list[object]] = [bytes(range(16)), 7_201_000, 1_765_432_101_082, 20, 3]


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
        4: _kid(GATEWAY_SECRET),
        "tf": fields,
    }
    return _sign(protected | (more or {}), pack, GATEWAY_SECRET, unprotected)


def stored_zstd(data: bytes, claim: int | None = None) -> bytes:
    """A zstd frame with one stored block, by hand (RFC 8878 section 3.1.1): magic number, one byte
    saying "single segment, size in 4 bytes", the size, the block's head (last, raw) and the data.
    """
    size = len(data) if claim is None else claim
    block = (len(data) << 3 | 1).to_bytes(3, "little")
    return bytes.fromhex("28b52ffda0") + struct.pack("<I", size) + block + data


def _batches(records: dict[str, Json], gaps: dict[str, Json]) -> dict[str, Json]:
    one = [_case(records, "profile", 0), _case(records, "sample", 0)]
    two = [_case(records, "events", 0), _case(gaps, "gap", 0)]
    genesis = bytes(32)
    middle = genesis
    for record in one:
        middle = hashlib.sha256(middle + record).digest()
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
        ("nothing", b"", TRUNCATED),
    ]
    return {
        "source": "this project; made by tests/unit/protocols/uplink/generate.py; secret key of RFC"
        " 8032 section 7.1, test 1",
        "secret_key": GATEWAY_SECRET,
        "public_key": _public(GATEWAY_SECRET).hex(),
        "kid": _kid(GATEWAY_SECRET).hex(),
        "batch": [
            _batch_case("plain", first, one, 1, genesis, 13),
            _batch_case(
                "compressed (one stored zstd block), after the plain one", second, two, 3, middle, 4
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


def _case(vectors: dict[str, Json], name: str, index: int) -> bytes:
    cases = vectors[name]
    assert isinstance(cases, list)
    case = cases[index]
    assert isinstance(case, dict)
    assert isinstance(case["hex"], str)
    return bytes.fromhex(case["hex"])


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


def _receipts() -> dict[str, Json]:
    chain = hashlib.sha256(b"any head").digest()
    kid = _kid(COLLECTOR_SECRET)
    content = "application/vnd.tianfu.receipt+cbor"

    def receipt(
        fields: list[object],
        more: dict[int | str, object] | None = None,
        unprotected: object = None,
    ) -> bytes:
        protected: dict[int | str, object] = {1: -19, 3: content, 4: kid}
        return _sign(protected | (more or {}), plain(fields), COLLECTOR_SECRET, unprotected)

    fields: list[object] = ["gw-01", 7, 4, chain, 1_765_432_103_000]
    empty: list[object] = ["gw-01", 7, 0, bytes(32), 1_765_432_103_000]
    good = receipt(fields)
    refused: list[tuple[str, bytes, int]] = [
        ("signature flipped", good[:-1] + bytes([good[-1] ^ 1]), BAD_TAG),
        ("number flipped", good.replace(b"egw-01\x07\x04", b"egw-01\x07\x05"), BAD_TAG),
        ("a batch's content type", receipt(fields, {3: "application/senml+cbor"}), BAD_VALUE),
        ("another kid", receipt(fields, {4: bytes(8)}), UNKNOWN),
        ("a header more", receipt(fields, {"x": 1}), BAD_VALUE),
        ("critical header", receipt(fields, {2: ["x"], "x": 1}), UNKNOWN),
        ("unprotected header", receipt(fields, None, {4: kid}), BAD_VALUE),
        ("four fields", receipt(fields[:4]), BAD_VALUE),
        ("a head of 31 bytes", receipt([*fields[:3], chain[:31], 0]), BAD_VALUE),
        ("a negative number", receipt(["gw-01", 7, -1, chain, 0]), BAD_VALUE),
        ("a head for nothing", receipt(["gw-01", 7, 0, chain, 0]), BAD_VALUE),
        ("bytes after the end", good + b"\xf6", TOO_LONG),
        ("cut", good[:40], TRUNCATED),
    ]
    return {
        "source": "this project; made by tests/unit/protocols/uplink/generate.py; secret key of RFC"
        " 8032 section 7.1, test 2",
        "secret_key": COLLECTOR_SECRET,
        "public_key": _public(COLLECTOR_SECRET).hex(),
        "kid": kid.hex(),
        "receipt": [
            _receipt_case("committed up to record 4", good, fields),
            _receipt_case("nothing committed yet", receipt(empty), empty),
            _receipt_case("alg -8, as RFC 8152 had it", receipt(fields, {1: -8}), fields),
        ],
        "refused": [
            {"name": name, "hex": data.hex(), "code": code} for name, data, code in refused
        ],
    }


def _receipt_case(name: str, data: bytes, fields: list[object]) -> Json:
    gateway, stream, contiguous_to, chain, server_ms = fields
    assert isinstance(gateway, str)
    assert isinstance(stream, int)
    assert isinstance(contiguous_to, int)
    assert isinstance(chain, bytes)
    assert isinstance(server_ms, int)
    return {
        "name": name,
        "hex": data.hex(),
        "gateway": gateway,
        "stream": stream,
        "contiguous_to": contiguous_to,
        "head": chain.hex(),
        "server_ms": server_ms,
    }


def vectors() -> dict[str, dict[str, Json]]:
    """File name (without .json) -> its content."""
    records = _records()
    gaps = _gaps()
    return {
        "record": records,
        "gap": gaps,
        "batch": _batches(records, gaps),
        "receipt": _receipts(),
    }


def text_of(content: dict[str, Json]) -> str:
    """A vector file as it is stored."""
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def document(text: str, made: dict[str, dict[str, Json]]) -> str:
    """``text`` with each example block filled in: ``<!-- vector: FILE GROUP INDEX -->`` and the
    fenced block after it.
    """

    def fill(match: re.Match[str]) -> str:
        data = _case(made[match[1]], match[2], int(match[3]))
        lines = [data[at : at + 32].hex() for at in range(0, len(data), 32)]
        body = "\n".join(f"{32 * number:04x}  {line}" for number, line in enumerate(lines))
        return f"{match[0].split('```', 1)[0]}```text\n{body}\n```"

    pattern = r"<!-- vector: (\w+) (\w+) (\d+) -->\n```text\n[^`]*```"
    return re.sub(pattern, fill, text)


def main() -> None:
    made = vectors()
    for name, content in made.items():
        (VECTORS / f"{name}.json").write_text(text_of(content), encoding="utf-8")
    DOCUMENT.write_text(document(DOCUMENT.read_text(encoding="utf-8"), made), encoding="utf-8")
    sys.stdout.write(f"{', '.join(made)} and {DOCUMENT.name} written\n")


if __name__ == "__main__":
    main()
