"""What shared code needs of MicroPython's ``micropython`` module, on CPython.

On a node ``const`` is folded by the compiler; here it returns its argument.
"""

from typing import TypeVar

_T = TypeVar("_T")


def const(value: _T) -> _T:
    """Return ``value``."""
    return value
