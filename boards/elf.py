"""Just enough of the ELF format to find what an image takes: the values of its symbols.

32-bit little-endian, as every board here; field layouts are those of the System V ABI, chapter 4.
"""

import struct
from pathlib import Path
from typing import Final

from .errors import BoardError

_HEADER: Final = struct.Struct("<16sHHIIIIIHHHHHH")
_SECTION: Final = struct.Struct("<10I")
_SYMBOL: Final = struct.Struct("<IIIBBH")
_SYMTAB: Final = 2


def _name(table: bytes, at: int) -> str:
    return table[at : table.index(b"\0", at)].decode("ascii", "replace")


def read_symbols(path: Path) -> dict[str, int]:
    """Return the symbols of a linked image and their values; BoardError if the file is none."""
    data = path.read_bytes()
    symbols: dict[str, int] = {}
    try:
        header = _HEADER.unpack_from(data)
        if header[0][:6] != b"\x7fELF\x01\x01":
            raise BoardError(f"{path}: expected a 32-bit little-endian ELF file")
        offset, entry_size, count = header[6], header[11], header[12]
        rows = [_SECTION.unpack_from(data, offset + entry_size * n) for n in range(count)]

        def content(number: int) -> bytes:
            return data[rows[number][4] : rows[number][4] + rows[number][5]]

        for number, row in enumerate(rows):
            if row[1] == _SYMTAB:
                strings = content(row[6])
                for symbol in _SYMBOL.iter_unpack(content(number)):
                    symbols[_name(strings, symbol[0])] = symbol[1]
    except (struct.error, ValueError, IndexError) as error:
        raise BoardError(f"{path}: damaged ELF file ({error})") from error
    return symbols
