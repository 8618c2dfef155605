"""What is written into a board's flash when it is provisioned."""

from __future__ import annotations

import json
from collections.abc import Mapping

from boards.recordstore import compose
from hil.engines.base import NodeSpec


def records(spec: NodeSpec) -> Mapping[str, bytes]:
    """The records of a new board: who it is, its key, and no configuration of its own yet."""
    settings = {"baud_div_100": spec.baud // 100, **spec.settings}
    board = {"role": spec.role, "uid": spec.uid, "settings": settings}
    found = {"board": json.dumps(board).encode()}
    if spec.key is not None:
        found["node.key"] = json.dumps({"key_id": spec.key_id, "key": spec.key}).encode()
    return found


def provisioned(spec: NodeSpec) -> bytes:
    """The content of the store's sectors of a new board."""
    return compose(records(spec))
