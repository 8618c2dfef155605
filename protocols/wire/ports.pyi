# What the Modbus server asks of its owner. Read by type checkers only: on a node these are
# whatever the firmware hands in. The contract of a bank stands in protocols/wire/modbus/pdu.py.

from collections.abc import Callable
from typing import Protocol, TypeAlias

class Bank(Protocol):
    def read_input(self, address: int, count: int, out: bytearray, at: int, /) -> int: ...
    def read_holding(self, address: int, count: int, out: bytearray, at: int, /) -> int: ...
    def write_holding(self, address: int, count: int, data: bytearray, at: int, /) -> int: ...

TicksDiff: TypeAlias = Callable[[int, int], int]

class StoredFile(Protocol):
    """A file that a node sends: it stays as it is until the transfer has ended."""

    number: int  # of the picture, of the fault
    size: int
    sha256: bytes

    def read(self, offset: int, out: bytearray, at: int, count: int, /) -> int:
        """Read up to ``count`` bytes into ``out[at:]``; return how many.

        0: it is gone; below 0: it may not be read any more, for the reason ``-n`` of a NONE.
        """
