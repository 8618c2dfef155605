"""Make the content of protocols/vectors/order.json: orders, and replies of a gateway."""

from .made_parts import (
    BAD_TAG,
    BAD_VALUE,
    COLLECTOR_SECRET,
    GATEWAY_SECRET,
    TOO_LONG,
    TRUNCATED,
    UNKNOWN,
    Json,
    kid_of,
    public_of,
    sign,
)
from .plain_cbor import plain

MADE_MS = 1_765_432_103_000
_LIFE_MS = 600_000
_DAY_MS = 86_400_000


def orders_file() -> dict[str, Json]:
    operator = kid_of(COLLECTOR_SECRET)

    def order(fields: list[object], kind: str = "application/vnd.tianfu.order+cbor") -> bytes:
        return sign({1: -19, 3: kind, 4: operator}, plain(fields), COLLECTOR_SECRET)

    def reply(fields: list[object]) -> bytes:
        kind = "application/vnd.tianfu.reply+cbor"
        protected: dict[int | str, object] = {1: -19, 3: kind, 4: kid_of(GATEWAY_SECRET)}
        return sign(protected, plain(fields), GATEWAY_SECRET)

    head: list[object] = ["gw-01", MADE_MS, MADE_MS + _LIFE_MS]
    change: list[object] = [*head, "set", "roof/air-1", "sample_period", "5 s", 0, None]
    restart: list[object] = [*head, "restart", "air-1", "", "", 1, None]
    configure: list[object] = [*head, "configure", "", "", "", 0, bytes(range(20))]
    good = order(change)
    refused: list[tuple[str, bytes, int]] = [
        ("signature flipped", good[:-1] + bytes([good[-1] ^ 1]), BAD_TAG),
        ("value flipped", good.replace(b"5 s", b"6 s"), BAD_TAG),
        ("a reply's content type", order(change, "application/vnd.tianfu.reply+cbor"), BAD_VALUE),
        ("an action of another version", order([*head, "erase", *change[4:]]), UNKNOWN),
        ("eight fields", order(change[:8]), BAD_VALUE),
        ("counter 0", order(["gw-01", 0, 1, *change[3:]]), BAD_VALUE),
        ("ends before it was made", order(["gw-01", 2, 1, *change[3:]]), BAD_VALUE),
        ("good for more than a day", order(["gw-01", 1, _DAY_MS + 2, *change[3:]]), BAD_VALUE),
        ("a device of 129 characters", order([*head, "set", "d" * 129, *change[5:]]), BAD_VALUE),
        ("confirm 2", order([*change[:7], 2, None]), BAD_VALUE),
        ("a file with a command", order([*change[:8], b"x"]), BAD_VALUE),
        ("no file to configure with", order([*configure[:8], None]), BAD_VALUE),
        ("bytes after the end", good + b"\xf6", TOO_LONG),
        ("cut", good[:40], TRUNCATED),
    ]
    values = [["sample_period", "s", "5"]]
    done: list[object] = ["gw-01", operator, MADE_MS, "done", "sample_period: 2 s -> 5 s", values]
    failed: list[object] = ["gw-01", operator, MADE_MS, "failed", "air-1: no answer", []]
    return {
        "source": "this project; made by tests/unit/protocols/uplink/generate.py; secret keys of"
        " RFC 8032 section 7.1: of the operator that of test 2, of the gateway that of test 1",
        "operator_secret_key": COLLECTOR_SECRET,
        "operator_public_key": public_of(COLLECTOR_SECRET).hex(),
        "gateway_secret_key": GATEWAY_SECRET,
        "gateway_public_key": public_of(GATEWAY_SECRET).hex(),
        "order": [
            _case("a setting of a node", good, change),
            _case("a restart, confirmed", order(restart), restart),
            _case("a configuration", order(configure), configure),
        ],
        "reply": [
            _case("done", reply(done), done),
            _case("failed, nothing read", reply(failed), failed),
        ],
        "refused": [
            {"name": name, "hex": data.hex(), "code": code} for name, data, code in refused
        ],
    }


def _case(name: str, data: bytes, fields: list[object]) -> Json:
    shown: list[Json] = [_shown(field) for field in fields]
    return {"name": name, "hex": data.hex(), "fields": shown}


def _shown(field: object) -> Json:
    """A field in JSON: bytes as hex."""
    if isinstance(field, bytes):
        return field.hex()
    if isinstance(field, list):
        return [_shown(one) for one in field]
    assert field is None or isinstance(field, str | int)
    return field
