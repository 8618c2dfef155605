"""Overwriting secrets in memory when they have served.

Python copies bytes when it slices, joins and converts them, and what it has freed is out of reach:
this takes away the copies that are held, which are those that live longest.
"""

import ctypes
import sys

_HEAD = bytes.__basicsize__ - 1  # CPython keeps the content behind the object's head, and a NUL


def wipe(*secrets: bytes) -> None:
    """Overwrite bytes that nobody uses any more with zeros, where this is CPython."""
    if sys.implementation.name == "cpython":
        for secret in secrets:
            if len(secret) > 1:  # shorter ones are shared by the whole process
                ctypes.memset(id(secret) + _HEAD, 0, len(secret))
