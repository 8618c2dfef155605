"""Make the content of protocols/vectors/record.json and gap.json."""

from collections.abc import Iterator

from .made_parts import (
    AIR_FRAME,
    BAD_ORDER,
    BAD_VALUE,
    EVENT_FRAME,
    LONG_UP,
    NODE,
    NODE_KEY,
    STAMP,
    TIMELESS,
    TOO_LONG,
    TRUNCATED,
    UID,
    UNKNOWN,
    Json,
    failed,
    point,
    record_head,
)
from .plain_cbor import Raw, fraction, plain


def records_file() -> dict[str, Json]:
    profile = [
        _profile(
            "values, a float and a failed point",
            "gw-01.s8",
            [["co2", "ppm", 0], ["temperature", "Cel", -1], ["flow", "l/s", 0], ["ph", "pH", -2]],
            [417, -52, 1.1, None],
            STAMP,
            [
                point("co2", "ppm", 417),
                point("temperature", "Cel", fraction(-1, -52)),
                point("flow", "l/s", 1.1),
                failed("ph", "timeout"),
            ],
        ),
        _profile(
            "no clock, no unit, widest integers",
            "gw-01.probe",
            [["a", "", 0], ["b", "", 0], ["c", "", 9], ["d", "", -9]],
            [65_536, 18_446_744_073_709_551_615, -1, 24],
            TIMELESS,
            [
                point("a", "", 65_536),
                point("b", "", 18_446_744_073_709_551_615),
                point("c", "", fraction(9, -1)),
                point("d", "", fraction(-9, 24)),
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
    sample = record_head(NODE, "status", 0x0010, STAMP, 1, [AIR_FRAME]) + b"".join(
        [
            point("pm1_0", "ug/m3", 23),
            point("pm2_5", "ug/m3", 41),
            point("pm10", "ug/m3", 57),
            point("particles_0_3", "count", 1892),
            point("co2", "ppm", 612),
            point("temperature", "Cel", fraction(-2, -215)),
            failed("humidity", "timeout"),
        ]
    )
    motion = plain({0: "event", 3: "motion", 6: fraction(-3, -1250), "tf": [2, 1]})
    boot = plain({0: "event", 3: "boot", 6: fraction(-3, -119_800), "tf": [1, 0]})
    event_head = record_head(NODE, "status", 0x0100, STAMP, 2, [EVENT_FRAME])
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
    data = record_head(device, "status", 0, stamp, 0, []) + b"".join(maps)
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
    return record_head("gw.x", "status", 0, TIMELESS, 0, []) + point("a", "V", value) + extra


def _refused_records(good: bytes) -> Iterator[tuple[str, bytes, int, int]]:
    lead = record_head("gw.x", "status", 0, TIMELESS, 0, [])
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
    yield "a name twice", good + point("a", "V", 1), BAD_VALUE, len(good)
    yield "a name that failed and did not", good + failed("a", "timeout"), BAD_VALUE, len(good)
    yield "a reserved name", lead + point("status", "", 1), BAD_VALUE, at
    yield "a name with a space", lead + point("a b", "", 1), BAD_VALUE, at
    yield "an unknown quality", lead + failed("a", "fine"), BAD_VALUE, at
    yield "kind 4", record_head("gw.x", "status", 0, TIMELESS, 4, []), UNKNOWN, 0
    yield "a status on a profile", record_head("gw.x", "status", 1, TIMELESS, 0, []), BAD_VALUE, 0
    yield (
        "a profile posing as a node",
        record_head(NODE, "status", 0, TIMELESS, 0, []),
        BAD_VALUE,
        0,
    )
    yield (
        "a sample of no node",
        record_head("gw.x", "status", 0, STAMP, 1, [AIR_FRAME]),
        BAD_VALUE,
        0,
    )
    yield "a frame too long", record_head(NODE, "status", 0, STAMP, 1, [bytes(251)]), BAD_VALUE, 0
    no_state = STAMP | {"clock_state": 0}
    yield (
        "wall time without a clock",
        record_head("gw.x", "status", 0, no_state, 0, []),
        BAD_VALUE,
        0,
    )
    no_wall = STAMP | {"wall_ms": None}
    yield (
        "a clock without wall time",
        record_head("gw.x", "status", 0, no_wall, 0, []),
        BAD_VALUE,
        0,
    )
    odd = STAMP | {"wall_ms": 1_765_432_100_123.5}
    data = record_head("gw.x", "status", 0, odd, 0, [])
    yield "wall time with half a millisecond", data, BAD_VALUE, 0
    event_head = record_head(NODE, "status", 0, STAMP, 2, [EVENT_FRAME])
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
        record_head("gw.x", "status", 0, early, 0, []),
        BAD_VALUE,
        0,
    )


def gaps_file() -> dict[str, Json]:
    cases: list[tuple[str, str, list[Json]]] = [
        ("samples of one boot", NODE, ["bus_timeout", 3, 4712, 4720, "9 polls without an answer"]),
        ("third-party device", "gw-01.s8", ["crc", None, None, None, ""]),
        ("the gateway itself", "gw-01", ["gateway_down", None, None, None, "power lost 14:02"]),
        ("polls", "gw-01.s8", ["bus_busy", None, None, None, "", 40, 7_140_000, 7_199_000]),
        (
            "polls before this boot, and samples",
            NODE,
            ["gateway_down", 3, 4712, 4720, "the machine was off", 20, -95_000, -500],
        ),
        ("polls at an unknown time", "gw-01.s8", ["crc", None, None, None, "", 1, None, None]),
        (
            "a poll while the node erased flash",
            "gw-01.s8",
            ["node_update", None, None, None, "", 1, None, None],
        ),
        (
            "another board took a node's place",
            NODE,
            ["node_replaced", 3, None, None, "key 2 came into force"],
        ),
    ]
    refused: list[tuple[str, list[Json], int]] = [
        ("unknown cause", ["boredom", None, None, None, ""], UNKNOWN),
        ("first without last", ["crc", 1, 5, None, ""], BAD_VALUE),
        ("last before first", ["crc", 1, 5, 4, ""], BAD_VALUE),
        ("a detail of 201 characters", ["crc", 1, 5, 6, "x" * 201], BAD_VALUE),
        ("boot epoch beyond 32 bits", ["crc", 1 << 32, 5, 6, ""], BAD_VALUE),
        ("a detail missing", ["crc", 1, 5, 6], BAD_VALUE),
        ("no poll", ["crc", None, None, None, "", 0, 1, 1], BAD_VALUE),
        ("slots and no times", ["crc", None, None, None, "", 1], BAD_VALUE),
        ("from without to", ["crc", None, None, None, "", 1, 5, None], BAD_VALUE),
        ("to before from", ["crc", None, None, None, "", 1, 5, 4], BAD_VALUE),
        ("three fields that are null", ["crc", *[None] * 3, "", *[None] * 3], BAD_VALUE),
    ]
    return {
        "source": "this project; made by tests/unit/protocols/uplink/generate.py",
        "gap": [
            {
                "name": name,
                "device_id": device,
                "gap": gap,
                "stamp": STAMP,
                "hex": record_head(device, "gap", gap[0], STAMP, 3, list(gap[1:])).hex(),
            }
            for name, device, gap in cases
        ],
        "refused": [
            {
                "name": name,
                "hex": record_head(NODE, "gap", gap[0], STAMP, 3, list(gap[1:])).hex(),
                "code": code,
                "offset": 0,
            }
            for name, gap, code in refused
        ],
    }
