"""The public keys in a node's file whose updates it takes; imported if the file has any."""

import binascii

from micropython import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from firmware.node.commission import Commission

_DIGITS = const(64)


def read(file: "Commission", value: object) -> "list[bytes]":
    """Return the keys of 32 bytes; what is none is noted as wrong in ``file``."""
    keys: list[bytes] = []
    for text in value if isinstance(value, list) else [value]:
        try:
            if not isinstance(text, str) or len(text) != _DIGITS:
                raise ValueError
            keys.append(binascii.unhexlify(text))
        except ValueError:
            file.wrong("release_keys", "a list of texts of 64 hex digits", text)
    return keys
