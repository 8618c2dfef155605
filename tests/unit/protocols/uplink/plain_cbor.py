"""A second, naive CBOR encoder, so that expected bytes do not come from the code under test.

RFC 8949 section 4.2.1: shortest heads, map keys sorted by their encoding. Floats are always written
as doubles (give only values that fit no shorter form), or as given in a ``Raw``.
"""

import struct


class Raw(bytes):
    """Bytes to be taken as they are."""


def head(major: int, value: int) -> bytes:
    if value < 24:
        return bytes([major * 32 + value])
    for short, form, limit in ((24, ">B", 2**8), (25, ">H", 2**16), (26, ">I", 2**32)):
        if value < limit:
            return bytes([major * 32 + short]) + struct.pack(form, value)
    return bytes([major * 32 + 27]) + struct.pack(">Q", value)


def fraction(exp10: int, raw: int) -> Raw:
    return Raw(b"\xc4" + plain([exp10, raw]))


def plain(item: object) -> bytes:
    if isinstance(item, Raw):
        return bytes(item)
    if item is None:
        return b"\xf6"
    if isinstance(item, int):
        return head(0, item) if item >= 0 else head(1, -1 - item)
    if isinstance(item, float):
        return b"\xfb" + struct.pack(">d", item)
    if isinstance(item, bytes):
        return head(2, len(item)) + item
    if isinstance(item, str):
        return head(3, len(item.encode())) + item.encode()
    if isinstance(item, list):
        return head(4, len(item)) + b"".join(map(plain, item))
    assert isinstance(item, dict), item
    entries = sorted((plain(key), plain(value)) for key, value in item.items())
    return head(5, len(entries)) + b"".join(key + value for key, value in entries)
