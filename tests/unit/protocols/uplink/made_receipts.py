"""Make the content of protocols/vectors/receipt.json."""

import hashlib

from .made_parts import (
    BAD_TAG,
    BAD_VALUE,
    COLLECTOR_SECRET,
    TOO_LONG,
    TRUNCATED,
    UNKNOWN,
    Json,
    kid_of,
    public_of,
    sign,
)
from .plain_cbor import plain


def receipts_file() -> dict[str, Json]:
    chain = hashlib.sha256(b"any head").digest()
    kid = kid_of(COLLECTOR_SECRET)
    content = "application/vnd.tianfu.receipt+cbor"

    def receipt(
        fields: list[object],
        more: dict[int | str, object] | None = None,
        unprotected: object = None,
    ) -> bytes:
        protected: dict[int | str, object] = {1: -19, 3: content, 4: kid}
        return sign(protected | (more or {}), plain(fields), COLLECTOR_SECRET, unprotected)

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
        "public_key": public_of(COLLECTOR_SECRET).hex(),
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
