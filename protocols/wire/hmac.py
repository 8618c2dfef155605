"""HMAC-SHA256 (RFC 2104, FIPS 198-1) for both runtimes.

MicroPython ships SHA-256 but no ``hmac``. On CPython the result is tested against the standard
library's.
"""

import hashlib

from micropython import const

_BLOCK = const(64)


class HmacSha256:
    """One key, used many times: the padded key blocks are made once.

    Raises nothing; any key length is allowed (a key longer than 64 bytes is hashed first).
    """

    def __init__(self, key: bytes) -> None:
        if len(key) > _BLOCK:
            key = hashlib.sha256(key).digest()
        padded = key + bytes(_BLOCK - len(key))
        self._inner = bytes(b ^ 0x36 for b in padded)
        self._outer = bytes(b ^ 0x5C for b in padded)

    def digest(
        self, message: bytes | bytearray | memoryview, tail: bytes | bytearray | memoryview = b""
    ) -> bytes:
        """Return the tag of 32 bytes over ``message`` followed by ``tail``."""
        inner = hashlib.sha256(self._inner)
        inner.update(message)
        inner.update(tail)
        outer = hashlib.sha256(self._outer)
        outer.update(inner.digest())
        return outer.digest()


def equal(a: bytes | bytearray | memoryview, b: bytes | bytearray | memoryview) -> bool:
    """Compare in a time that does not depend on where the first difference is."""
    if len(a) != len(b):
        return False
    difference = 0
    for index in range(len(a)):
        difference |= a[index] ^ b[index]
    return difference == 0
