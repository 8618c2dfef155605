"""The way over a volume: the ROM of RP2040 and RP2350 takes a UF2 file that is copied to it.

The ROM lets nobody read back. It writes nothing of a file that is not whole or for another chip,
so the file is checked before: then what is left is whether the ROM restarts, which it does once it
has all blocks.
"""

import os
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from boards.flash.errors import CABLE, FIRMWARE, MANY_VOLUMES, NO_VOLUME, STALLED, FlashingError
from boards.flash.method import Progress

VERIFIED_BY: Final = "structure of the UF2 file, and the ROM's restart after its last block"
#: Family ids of the UF2 format (microsoft/uf2, utils/uf2families.json), by board.toml's mcu.
FAMILIES: Final[Mapping[str, int]] = {"rp2040": 0xE48BFF56, "rp2350": 0xE48BFF59}
_ABSOLUTE: Final = 0xE48BFF57  # a block in front that works around an erratum of the RP2350
_BLOCK: Final = 512
_HEAD: Final = struct.Struct("<8I")
_MAGIC: Final = (0x0A324655, 0x9E5D5157)
_MAGIC_END: Final = 0x0AB16F30
_NOT_FLASH: Final = 0x00000001
_HAS_FAMILY: Final = 0x00002000
_PAYLOAD: Final = 256
_INFO: Final = "INFO_UF2.TXT"
_MOUNTS: Final = Path("/proc/self/mounts")
_LOOK_S: Final = 0.05


class Uf2Firmware(NamedTuple):
    """A checked file: where its first byte goes, and how many bytes it has."""

    address: int
    size: int


def check(content: bytes, mcu: str) -> Uf2Firmware:
    """Check every block of a UF2 file for this chip. FlashingError with FIRMWARE."""
    wanted = FAMILIES.get(mcu)
    if wanted is None:
        raise _wrong(f"expected a chip that takes UF2 files ({', '.join(FAMILIES)}), got {mcu}")
    if not content or len(content) % _BLOCK:
        raise _wrong(f"expected whole blocks of {_BLOCK} bytes, got {len(content)} bytes")
    addresses: list[int] = []
    for at in range(0, len(content), _BLOCK):
        first, second, flags, address, size, number, total, family = _HEAD.unpack_from(content, at)
        (end,) = struct.unpack_from("<I", content, at + _BLOCK - 4)
        where = f"block {at // _BLOCK}"
        if (first, second) != _MAGIC or end != _MAGIC_END:
            raise _wrong(f"{where}: expected the marks of a UF2 block")
        if not flags & _HAS_FAMILY or flags & _NOT_FLASH:
            raise _wrong(f"{where}: expected a block for a chip's flash, got flags {flags:#x}")
        if family == _ABSOLUTE and at == 0:
            continue
        if family != wanted:
            raise _wrong(f"{where}: expected family {wanted:#010x} ({mcu}), got {family:#010x}")
        if size != _PAYLOAD or number != len(addresses):
            raise _wrong(
                f"{where}: expected {_PAYLOAD} bytes and number {len(addresses)}, got {size} bytes "
                f"and number {number}"
            )
        if addresses and address != addresses[-1] + _PAYLOAD:
            raise _wrong(
                f"{where}: expected address {addresses[-1] + _PAYLOAD:#x}, got {address:#x}"
            )
        addresses.append(address)
    if not addresses or total != len(addresses):
        raise _wrong(f"expected {total} blocks, got {len(addresses)}: the file is cut off")
    return Uf2Firmware(addresses[0], len(addresses) * _PAYLOAD)


def volumes(mounts: Path = _MOUNTS) -> list[Path]:
    """Return the mounted volumes of chips in their UF2 bootloader."""
    found = []
    for line in mounts.read_text(encoding="utf-8").splitlines():
        path = Path(line.split()[1].encode().decode("unicode_escape"))
        try:
            if (path / _INFO).is_file():
                found.append(path)
        except OSError:  # a mount that hangs or is somebody else's
            continue
    return found


def chosen(port: str, found: list[Path]) -> Path:
    """Return the volume that was named, or the only one. NO_VOLUME, MANY_VOLUMES."""
    fitting = [each for each in found if port in ("", str(each))]
    if not fitting:
        raise FlashingError(NO_VOLUME, f"expected a volume with {_INFO} at {port or 'any mount'}")
    if len(fitting) > 1:
        raise FlashingError(MANY_VOLUMES, f"found {', '.join(map(str, fitting))}")
    return fitting[0]


def write(volume: Path, content: bytes, progress: Progress, limit_s: float = 30.0) -> None:
    """Copy a checked file to the volume, and wait until the chip has restarted. BoardError."""
    file = volume / "firmware.uf2"
    done = 0
    try:
        with file.open("wb", buffering=0) as target:
            for at in range(0, len(content), _BLOCK):
                target.write(content[at : at + _BLOCK])
                done = at + _BLOCK
                progress(done, len(content))
            os.fsync(target.fileno())
    except OSError as error:
        # A chip restarts at its last block: the end of the file may find no volume any more.
        if done < len(content):
            raise FlashingError(CABLE, f"{volume}: {error}") from error
    end = time.monotonic() + limit_s
    while _is_there(volume):
        if time.monotonic() >= end:
            raise FlashingError(
                STALLED, f"{volume}: the chip has all blocks and did not restart in {limit_s:g} s"
            )
        time.sleep(_LOOK_S)


def _is_there(volume: Path) -> bool:
    try:
        return (volume / _INFO).is_file()
    except OSError:
        return False


def _wrong(text: str) -> FlashingError:
    return FlashingError(FIRMWARE, f"{text}; nothing was written")
