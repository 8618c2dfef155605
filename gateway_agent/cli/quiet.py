"""Keeps the log of a part of ours off the screen where the command shows the same itself."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet(name: str, level: int) -> Iterator[None]:
    """Let the logger ``name`` take nothing below ``level`` while the block runs."""
    log = logging.getLogger(name)
    before = log.level
    log.setLevel(level)
    try:
        yield
    finally:
        log.setLevel(before)
