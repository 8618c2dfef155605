"""Where a board's image and record store go, and which chip must be there: from its tables."""

import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from boards import build as images
from boards import spec as specs
from boards.errors import BoardError
from boards.folder import store_area, tables

from .errors import IMAGE, WRONG_IMAGE, FlashingError

KIB: Final = 1024
BLANK: Final = 0xFF
_VECTORS: Final = 8  # bytes of an image that the chip itself reads: stack pointer, start
#: What product ids stand for (AN2606), for messages.
CHIPS: Final = {
    0x410: "STM32F10x medium density",
    0x411: "STM32F2",
    0x413: "STM32F405/407",
    0x419: "STM32F42x/43x",
    0x421: "STM32F446",
    0x423: "STM32F401xB/C",
    0x431: "STM32F411",
    0x433: "STM32F401xD/E",
    0x449: "STM32F74x/75x",
    0x450: "STM32H74x/75x",
}


@dataclass(frozen=True, slots=True)
class FlashRegion:
    """A part of the flash: what it is called, where it begins, its whole content.

    It ends where the last sector that it touches ends; what follows the content is blank.
    """

    name: str
    address: int
    content: bytes


@dataclass(frozen=True, slots=True)
class FlashTarget:
    """A kind of board that its ROM bootloader flashes; addresses are the chip's."""

    board: str
    chip_id: int
    uid_at: int
    flash_at: int
    sectors: tuple[int, ...]  # bytes of each
    image_at: int
    image_max: int
    store_at: int
    store_bytes: int
    ram_at: int = 0
    ram_bytes: int = 0

    def sectors_of(self, address: int, size: int) -> list[int]:
        """Return the sectors that hold these bytes."""
        found: list[int] = []
        begin = self.flash_at
        for number, length in enumerate(self.sectors):
            if begin < address + size and address < begin + length:
                found.append(number)
            begin += length
        return found


def chip_name(chip_id: int) -> str:
    """Return what people call the chip with this product id."""
    return f"{CHIPS.get(chip_id, 'a chip that is not in our table')} (id {chip_id:#05x})"


def target_of(board: str) -> FlashTarget:
    """Return a board as its ROM bootloader sees it. BoardError."""
    spec = specs.load(board)
    rom = spec.flash.rom
    if rom is None:
        raise BoardError(
            f"{board}: expected a board that `tianfu-node boards` lists as flashed by uart, "
            f"got one flashed by {spec.flash.method}"
        )
    memory = tables(board, "peripherals.toml")["memory"]
    store_at, store_bytes = store_area(board)
    return FlashTarget(
        board,
        rom.chip_id,
        rom.uid,
        int(memory["flash"]["base"]),
        tuple(KIB * each for each in rom.sector_kib),
        int(memory["image"]["base"]),
        int(memory["image"]["size"]),
        store_at,
        store_bytes,
        int(memory["ram"]["base"]),
        int(memory["ram"]["size"]),
    )


def release_target_of(board: str) -> FlashTarget:
    """Return a stock board's chip, all of whose flash a release of MicroPython may use. BoardError.

    Its facts stand at the board with an image of its own that has the same chip.
    """
    way = specs.load(board).flash
    if not way.chip:
        raise BoardError(
            f"{board}: expected a board whose MicroPython can be written, got one flashed by "
            f"{way.method}; write it with that program"
        )
    chip = target_of(way.chip)
    return replace(chip, board=board, image_at=chip.flash_at, image_max=sum(chip.sectors))


def image_of(target: FlashTarget, file: Path | None) -> bytes:
    """Return the image to flash, ``file`` or the board's own, built if need be. BoardError."""
    path = file or images.build(target.board).bin
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FlashingError(IMAGE, f"{path}: {error.strerror}") from error
    if not 0 < len(content) <= target.image_max:
        raise FlashingError(
            IMAGE, f"{path}: expected 1 to {target.image_max} bytes, got {len(content)}"
        )
    if (problem := _foreign(target, content)) is not None:
        raise FlashingError(
            WRONG_IMAGE,
            f"{path}: expected an image of {target.board}, got {problem}; nothing was written",
        )
    return content


def _foreign(target: FlashTarget, content: bytes) -> str | None:
    """Return what shows that an image is not of this board; None: nothing does.

    The chip starts with the stack pointer and the address that the image begins with; the frozen
    firmware of each board has the path of its folder.
    """
    frozen = [name for name in specs.names() if f"boards/{name}/board.py".encode() in content]
    if frozen and target.board not in frozen:
        return f"one of {', '.join(frozen)}"
    stack, start = struct.unpack_from("<II", content.ljust(_VECTORS, b"\xff"))
    if not target.ram_at < stack <= target.ram_at + target.ram_bytes:
        return f"one whose stack begins at {stack:#010x}, which is no RAM of the board"
    if not target.image_at <= start - 1 < target.image_at + len(content):
        return f"one that starts at {start:#010x}, outside of itself"
    return None
