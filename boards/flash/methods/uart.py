"""The way over a UART, by the bootloader in the chip's ROM: needs no tool but a serial adapter."""

from collections.abc import Sequence

from boards.flash.an3155 import BLOCK, WORD, RomLoader, connected
from boards.flash.errors import NO_LOADER, SILENT, FlashingError
from boards.flash.method import ChipIdentity, FlashMethod, Progress
from boards.flash.serial_port import FlashPort
from boards.flash.target import BLANK, FlashTarget

_UID_BYTES = 12


class UartMethod(FlashMethod):
    """A chip's bootloader at a serial port."""

    name = "uart"
    verified_by = "read back over the ROM bootloader"
    piece = BLOCK

    def __init__(self, target: FlashTarget, port: str, baud: int) -> None:
        self._target = target
        self._path = port
        self._baud = baud

    def open(self) -> None:
        """Open the port and wake the bootloader."""
        self._port, self._loader = connected(self._path, self._baud)

    def close(self) -> None:
        """Close the port."""
        self._port.close()

    def identify(self) -> ChipIdentity:
        """Ask for the product id first: of another chip no memory is read."""
        chip_id = self._loader.chip_id()
        if chip_id != self._target.chip_id:
            return ChipIdentity(chip_id)
        return ChipIdentity(chip_id, uid=self._loader.read(self._target.uid_at, _UID_BYTES).hex())

    def read(self, address: int, size: int, progress: Progress) -> bytes:
        """Read block by block."""
        content = b""
        for at in range(0, size, BLOCK):
            content += self._loader.read(address + at, min(BLOCK, size - at))
            progress(len(content), size)
        return content

    def erase(self, sectors: Sequence[int], progress: Progress) -> None:
        """Erase sector by sector."""
        for count, sector in enumerate(sectors):
            progress(count, len(sectors))
            self._loader.erase(sector)

    def write(self, address: int, content: bytes, progress: Progress) -> None:
        """Write the blocks that are not blank, the first one last."""
        size = len(content)
        for at in [*range(BLOCK, size, BLOCK), 0]:
            block = content[at : at + BLOCK]
            if block.count(BLANK) < len(block):
                padded = block.ljust(-(-len(block) // WORD) * WORD, b"\xff")
                self._loader.write(address + at, padded)
            progress(at or size, size)

    def start(self, address: int) -> None:
        """Let the bootloader jump there."""
        self._loader.go(address)

    def unlock(self) -> None:
        """Take the read-out protection away."""
        self._loader.unlock()


def wakes(path: str, baud: int) -> bool:
    """Return whether a bootloader answers the one byte that it waits for. FlashingError."""
    with FlashPort(path, baud) as port:
        try:
            RomLoader(port, wakes=1).connect()
        except FlashingError as error:
            if error.fault in (SILENT, NO_LOADER):
                return False
            raise
    return True
