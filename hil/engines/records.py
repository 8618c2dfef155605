"""What is written into a board's flash when a bench provisions it."""

from __future__ import annotations

from boards.records import commission_of, key_content, store_of
from hil.engines.base import NodeSpec


def provisioned(spec: NodeSpec) -> bytes:
    """Return the content of the store's sectors of a new board."""
    settings = {"baud_div_100": spec.baud // 100, **spec.settings}
    key = None if spec.key is None else key_content(spec.key_id, spec.key)
    return store_of(commission_of(spec.role, settings, spec.uid), key)
