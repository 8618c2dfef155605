"""A node's unique id, as far as the node itself needs it; the rest is in ``protocols.identity``."""

import binascii

UID_BYTES = 12


def parse_uid(text: object) -> "bytes | None":
    """Return the unique id that 24 hex digits spell, None for anything else."""
    if isinstance(text, str) and len(text) == 2 * UID_BYTES:
        try:
            return binascii.unhexlify(text)
        except ValueError:
            pass
    return None
