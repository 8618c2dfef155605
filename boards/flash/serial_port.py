"""The serial port of a flash job, whose failures are rows of the table of errors."""

import errno
import termios
import time
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

import serial

from boards.ports import named, users

from .errors import CABLE, NO_PERMISSION, NO_PORT, PORT_BUSY, FlashFault, FlashingError

_SLICE_S: Final = 0.02
_WRITE_S: Final = 5.0
_BUSY: Final = (errno.EBUSY, errno.EAGAIN, errno.EWOULDBLOCK)


class FlashPort:
    """A port with the line settings of AN3155: 8 bits, even parity. Use it in a ``with`` block.

    FlashingError from every method.
    """

    def __init__(self, path: str, baud: int) -> None:
        self.path = path
        self.baud = baud
        try:
            try:
                self._serial = _opened(path, baud, serial.PARITY_EVEN)
            except termios.error:  # a pseudo terminal has no parity
                self._serial = _opened(path, baud, serial.PARITY_NONE)
        except (OSError, ValueError, termios.error) as error:  # SerialException is an OSError
            raise port_error(path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the port."""
        self._serial.close()

    def write(self, data: bytes) -> None:
        """Send."""
        try:
            self._serial.write(data)
        except (OSError, termios.error) as error:
            raise self._failed(error) from error

    def read(self, count: int, limit_s: float) -> bytes:
        """Return ``count`` bytes; fewer if they do not come in time."""
        got = b""
        end = time.monotonic() + limit_s
        try:
            while len(got) < count:
                got += self._serial.read(count - len(got))
                if time.monotonic() >= end:
                    break
        except (OSError, termios.error) as error:
            raise self._failed(error) from error
        return got

    def drain(self, quiet_s: float) -> None:
        """Read and forget until nothing comes for ``quiet_s``."""
        while self.read(1, quiet_s):
            pass

    def _failed(self, error: Exception) -> FlashingError:
        return FlashingError(CABLE, f"{self.path}: {error}")


def open_line(path: str, baud: int, timeout_s: float) -> serial.Serial:
    """Open a port with 8 bits and no parity, as consoles and lines have it. FlashingError."""
    try:
        return serial.Serial(path, baud, timeout=timeout_s, exclusive=True)
    except (OSError, ValueError) as error:
        raise port_error(path, error) from error


def port_error(path: str, error: Exception) -> FlashingError:
    """Return why a port cannot be opened, with who has it open."""
    number = error.errno if isinstance(error, OSError) else None
    return FlashingError(
        _why(number),
        f"{path}: expected a serial port that can be opened, got: {error}{named(users(path))}",
    )


def _opened(path: str, baud: int, parity: str) -> serial.Serial:
    opened = serial.Serial(
        path,
        baudrate=baud,
        parity=parity,
        timeout=_SLICE_S,
        write_timeout=_WRITE_S,
        exclusive=True,
    )
    # An FTDI adapter holds a single byte, such as each ACK, back for 16 ms otherwise.
    with suppress(OSError, ValueError):  # other ports have no such setting
        opened.set_low_latency_mode(True)
    return opened


def _why(number: int | None) -> FlashFault:
    if number in _BUSY:
        return PORT_BUSY
    return NO_PERMISSION if number in (errno.EACCES, errno.EPERM) else NO_PORT
