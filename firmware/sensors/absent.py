"""A bus that the board could not open: whatever hangs on it reads TIMEOUT."""

from micropython import const

_ENODEV = const(19)


class AbsentBus:
    """Every operation of every bus in :mod:`.ports` fails as an absent device does."""

    def any(self) -> int:
        """Return 0: nothing ever comes."""
        return 0

    def readinto(self, buf: bytearray, nbytes: int = 0) -> int:
        """Raise OSError(ENODEV)."""
        raise OSError(_ENODEV)

    def write(self, buf: bytes | bytearray) -> int:
        """Raise OSError(ENODEV)."""
        raise OSError(_ENODEV)

    def writeto(self, addr: int, buf: bytes | bytearray) -> int:
        """Raise OSError(ENODEV)."""
        raise OSError(_ENODEV)

    def readfrom_into(self, addr: int, buf: bytearray) -> None:
        """Raise OSError(ENODEV)."""
        raise OSError(_ENODEV)

    def reset(self) -> bool:
        """Return False: no presence pulse."""
        return False

    def writebyte(self, value: int) -> None:
        """Raise OSError(ENODEV)."""
        raise OSError(_ENODEV)

    def read_u16(self) -> int:
        """Raise OSError(ENODEV)."""
        raise OSError(_ENODEV)
