"""What drivers and roles ask of a board, its configuration and its event queue.

Read by type checkers only: on a node these are whatever the board hands in.
"""

from typing import Protocol

class Uart(Protocol):
    def any(self) -> int:
        """Return the bytes that can be read now."""

    def readinto(self, buf: bytearray, nbytes: int, /) -> int | None:
        """Read what is there, at most ``nbytes``; never waits. 0 or None: nothing there."""

    def write(self, buf: bytes | bytearray, /) -> int | None:
        """Send."""

class I2c(Protocol):
    def writeto(self, addr: int, buf: bytes | bytearray, /) -> int | None:
        """Write; OSError(ENODEV) if nothing acknowledges, OSError(ETIMEDOUT) on a stuck bus."""

    def readfrom_into(self, addr: int, buf: bytearray, /) -> None:
        """Fill ``buf``; errors as for :meth:`writeto`."""

class OneWire(Protocol):
    def reset(self) -> bool:
        """Return True when a part answered with a presence pulse."""

    def writebyte(self, value: int, /) -> None:
        """Send one byte."""

    def readinto(self, buf: bytearray, /) -> int | None:
        """Fill ``buf``."""

class Adc(Protocol):
    def read_u16(self) -> int:
        """Return 0 to 65535, whatever the converter's own width."""

class Clock(Protocol):
    def now_ms(self) -> int:
        """Return ticks in ms; they wrap, so only :meth:`ticks_diff` may compare them."""

    def ticks_diff(self, a: int, b: int, /) -> int:
        """Return a - b, right across the wrap."""

class PartsBoard(Clock, Protocol):
    def uart(self, part: str, /) -> Uart: ...
    def i2c(self) -> I2c: ...
    def onewire(self) -> OneWire: ...
    def adc(self, channel: str, /) -> Adc: ...

class Config(Protocol):
    def value(self, address: int, /) -> int:
        """Return the raw value of ``SETTINGS[address]``."""

class Events(Protocol):
    def push(self, code: int, arg: int, t_boot_ms: int, /) -> None: ...

class Hash(Protocol):
    def digest(self) -> bytes: ...
