"""A release of MicroPython for an STM32 that has none: checked, written, and read back.

Releases are DfuSe files (UM0391), which name the addresses of their parts; a plain binary begins
where the flash does. What the file does not name, as MicroPython's own file system between its two
parts, is left alone.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Final

from .errors import FIRMWARE, READ_PROTECTED, FlashingError
from .job import FlashJob, Watcher, WrittenRegion, check_chip
from .method import FlashMethod
from .target import FlashRegion, FlashTarget

_DFUSE: Final = b"DfuSe"
_HEAD: Final = struct.Struct("<5sBIB")
_TARGET: Final = struct.Struct("<6sBI255sII")
_ELEMENT: Final = struct.Struct("<II")
_SUFFIX: Final = struct.Struct("<HHHH3sBI")
_UFD: Final = b"UFD"
_VECTORS: Final = struct.Struct("<II")  # what the chip starts with: stack pointer, first code


def regions_of(content: bytes, target: FlashTarget, mcu: str) -> list[FlashRegion]:
    """Return what a file puts where, the part that the chip starts with last.

    FlashingError with FIRMWARE for a file that is damaged or for another chip.
    """
    found = _elements(content) if content[: len(_DFUSE)] == _DFUSE else [(target.flash_at, content)]
    regions = _regions(found, target)
    first = regions[-1]
    if first.address != target.flash_at or len(first.content) < _VECTORS.size:
        raise _wrong(f"expected a part at {target.flash_at:#010x}, where the chip starts")
    stack, start = _VECTORS.unpack_from(first.content)
    if not target.ram_at < stack <= target.ram_at + target.ram_bytes:
        raise _wrong(f"its stack begins at {stack:#010x}, expected an address in the chip's RAM")
    if not any(each.address <= start - 1 < each.address + len(each.content) for each in regions):
        raise _wrong(f"it starts at {start:#010x}, expected an address inside of it")
    if not any(mcu.upper().encode() in each.content for each in regions):
        raise _wrong(f"expected MicroPython for {mcu.upper()}, the file names no such chip")
    return regions


def write(
    method: FlashMethod,
    target: FlashTarget,
    regions: Sequence[FlashRegion],
    watcher: Watcher,
    unlock: bool,
) -> list[WrittenRegion]:
    """Write them by a method that has been opened, and start them. BoardError.

    The sector that the chip starts with is erased first and written last, so a file that was cut
    off starts nothing. ``unlock``: take the protection away from a chip that is protected.
    """
    try:
        _look(method, target)
    except FlashingError as error:
        if error.fault is not READ_PROTECTED or not unlock:
            raise
        method.unlock()
        _look(method, target)
    job = FlashJob(method, target, watcher)
    job.erase("erase where the chip starts", target.sectors_of(target.flash_at, 1))
    written = [job.put(each) for each in regions]
    method.start(target.flash_at)
    return written


def _look(method: FlashMethod, target: FlashTarget) -> None:
    """Refuse another chip, and a protected one: over USB only a read shows that."""
    check_chip(method.identify(), target)
    method.read(target.flash_at, 4, lambda done, total: None)


def _elements(content: bytes) -> list[tuple[int, bytes]]:
    """Return the parts of a DfuSe file: addresses and contents."""
    end = len(content) - _SUFFIX.size
    if end < _HEAD.size:
        raise _wrong(f"expected a whole DfuSe file, got {len(content)} bytes")
    *_, mark, length, crc = _SUFFIX.unpack_from(content, end)
    if mark != _UFD or length != _SUFFIX.size:
        raise _wrong("expected the suffix of a DFU file at its end: it is cut off")
    if crc != ~zlib.crc32(content[:-4]) & 0xFFFFFFFF:
        raise _wrong(f"expected the CRC-32 {crc:#010x}, its content has another")
    _, version, size, targets = _HEAD.unpack_from(content)
    if (version, size) != (1, end):
        raise _wrong(f"expected DfuSe version 1 of {end} bytes, got version {version} of {size}")
    at = _HEAD.size
    found: list[tuple[int, bytes]] = []
    try:
        for _ in range(targets):
            mark, alternate, *_, count = _TARGET.unpack_from(content, at)
            if mark != b"Target" or alternate:
                raise _wrong(f"expected a part for the flash, got setting {alternate}")
            at += _TARGET.size
            for _ in range(count):
                address, size = _ELEMENT.unpack_from(content, at)
                at += _ELEMENT.size + size
                found.append((address, content[at - size : at]))
    except struct.error as error:
        raise _wrong(f"expected a table at byte {at}: {error}") from error
    if at != end:
        raise _wrong(f"expected parts up to byte {end}, they end at {at}")
    return found


def _regions(found: Sequence[tuple[int, bytes]], target: FlashTarget) -> list[FlashRegion]:
    """Return the parts in order, those that touch one sector as one."""
    flash_end = target.flash_at + sum(target.sectors)
    joined: list[tuple[int, bytes]] = []
    for address, part in sorted(each for each in found if each[1]):
        if not target.flash_at <= address <= address + len(part) <= flash_end:
            raise _wrong(f"{len(part)} bytes at {address:#010x} are outside of the chip's flash")
        if joined:
            begin, before = joined[-1]
            end = begin + len(before)
            if address < end:
                raise _wrong(f"two of its parts hold {address:#010x}")
            if target.sectors_of(end - 1, 1) == target.sectors_of(address, 1):
                joined[-1] = (begin, before.ljust(address - begin, b"\xff") + part)
                continue
        joined.append((address, part))
    if not joined:
        raise _wrong("it holds nothing")
    return list(_named([*joined[1:], joined[0]]))


def _named(parts: Sequence[tuple[int, bytes]]) -> Iterator[FlashRegion]:
    for address, part in parts:
        yield FlashRegion(f"part at {address:#010x}", address, part)


def _wrong(text: str) -> FlashingError:
    return FlashingError(FIRMWARE, f"{text}; nothing was written")
