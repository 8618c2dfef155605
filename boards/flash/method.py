"""One small interface for all ways in which an image gets into a chip's flash.

A way is a file in ``methods/``; :mod:`.job` has the steps of a flash and works on any of them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import ClassVar, Self

#: Takes how many of how many bytes (or sectors) are done.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class ChipIdentity:
    """What a chip answers before anything is erased; what a way cannot ask of it is None.

    ``chip_id`` is ST's product id, ``sectors`` are the bytes of each sector of its flash, ``uid``
    is the unique id from the factory in hex, ``usb_serial`` what the ROM derives from it for USB.
    """

    chip_id: int | None = None
    sectors: tuple[int, ...] | None = None
    uid: str | None = None
    usb_serial: str | None = None


class FlashMethod(ABC):
    """A way to the flash of one board; used in a ``with`` block. BoardError from every method.

    Addresses are the chip's. A transfer may have any size; one of ``piece`` bytes is repeated
    cheaply if a bit of it was garbled.
    """

    name: ClassVar[str]  # as in board.toml
    verified_by: ClassVar[str]  # how what was written is read again, for the record
    piece: ClassVar[int]
    write_erases: ClassVar[bool] = False  # write() erases the sectors that it touches

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @abstractmethod
    def open(self) -> None:
        """Reach the board."""

    @abstractmethod
    def close(self) -> None:
        """Leave the board as it is."""

    @abstractmethod
    def identify(self) -> ChipIdentity:
        """Return which chip it is; nothing on it changes."""

    @abstractmethod
    def read(self, address: int, size: int, progress: Progress) -> bytes:
        """Return what the memory holds."""

    @abstractmethod
    def erase(self, sectors: Sequence[int], progress: Progress) -> None:
        """Erase sectors, by their numbers."""

    @abstractmethod
    def write(self, address: int, content: bytes, progress: Progress) -> None:
        """Write to flash that was erased, the first 256 bytes last.

        A chip starts nothing without those: an image that was cut off never runs.
        """

    @abstractmethod
    def start(self, address: int) -> None:
        """Start the image at this address."""

    @abstractmethod
    def unlock(self) -> None:
        """Take the read-out protection away: the chip erases all of its flash."""
