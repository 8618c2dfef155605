"""What is written into a new board's record store: its commission and its key.

Whoever provisions a board, on a bench or on site, comes here. What goes in is checked by the code
that the node reads it with, so what passes here boots there. Only Python's own library is needed,
for the Robot suites run in an interpreter that has nothing else.
"""

import json
from collections.abc import Mapping

from firmware.node.commission import NAME, parse
from firmware.node.identity import KEY_FILE
from protocols.wire.node_key import check_of

from .recordstore import compose

RELEASE_KEYS = "release"  # the record that slots.c reads


def commission_of(role: str, settings: Mapping[str, int], uid: str | None = None) -> bytes:
    """Return the record that makes a board a node of this role. CommissionError."""
    fields: dict[str, object] = {"role": role, "settings": dict(settings)}
    if uid is not None:
        fields["uid"] = uid
    record = json.dumps(fields).encode()
    parse(record)
    return record


def key_content(key_id: int, key: str, uid: str | None = None) -> bytes:
    """Return the content of a node's key file; ``key`` is 64 hex digits, ``uid`` 24 or None."""
    made_for = None if uid is None else bytes.fromhex(uid)
    fields: dict[str, object] = {"key_id": key_id, "key": key}
    if uid is not None:
        fields["uid"] = uid
    fields["check"] = check_of(key_id, bytes.fromhex(key), made_for)
    return json.dumps(fields).encode()


def records_of(commission: bytes, key: bytes | None, release: bytes = b"") -> dict[str, bytes]:
    """Return what a new board's store holds, by name. ``key`` None: a node without a key.

    ``release`` are the public keys, 32 bytes each, whose updates it takes.
    """
    records = {NAME: commission}
    if key is not None:
        records[KEY_FILE] = key
    if release:
        records[RELEASE_KEYS] = release
    return records


def store_of(commission: bytes, key: bytes | None, release: bytes = b"") -> bytes:
    """Return the content of a new board's record store, all of its sectors."""
    return compose(records_of(commission, key, release))
