"""The bootloader in the ROM of STM32 chips, on a UART: ST's application note AN3155.

Each command is a byte and its complement, answered with ACK or NACK; addresses and data end with
their exclusive or. Reads carry no check of their own, so whoever compares reads again what differs.
"""

from collections.abc import Callable
from functools import reduce
from typing import Final, TypeVar

from .errors import (
    NO_LOADER,
    READ_PROTECTED,
    REFUSED,
    SILENT,
    STALLED,
    WRITE_PROTECTED,
    FlashingError,
)
from .serial_port import FlashPort

BLOCK: Final = 256  # the most that one command reads or writes
WORD: Final = 4
PROMISED_BAUD: Final = 115200
#: What is tried before: half the time for each board, if the chip understands it.
FIRST_BAUD: Final = 230400

_SYNC: Final = 0x7F
_ACK: Final = 0x79
_NACK: Final = 0x1F
_GET: Final = 0x00
_GET_ID: Final = 0x02
_READ: Final = 0x11
_GO: Final = 0x21
_WRITE: Final = 0x31
_ERASE: Final = 0x44  # the extended erase; chips with the other one are not here
_READ_UNPROTECT: Final = 0x92
_NAMES: Final = {
    _GET: "get",
    _GET_ID: "get id",
    _READ: "read",
    _GO: "go",
    _WRITE: "write",
    _ERASE: "erase",
    _READ_UNPROTECT: "read-out unprotect",
}
_NEEDED: Final = (_GET_ID, _READ, _GO, _WRITE, _ERASE)

_WAKE_S: Final = 0.1
_QUIET_S: Final = 0.05
#: A sector of 128 KiB takes 1 to 2 s, 4 s at the lowest voltage (datasheet, table of the flash).
_ERASE_S: Final = 12.0
_ERASE_ALL_S: Final = 60.0
_TRIES: Final = 3
_WAKES: Final = 5
_FAST_WAKES: Final = 2  # at a speed that it may not understand
#: A command that was cut off may wait for all bytes of a write: this many of them end it.
_FILL: Final = bytes([_SYNC]) * 130

_R = TypeVar("_R")


class _Garbled(Exception):
    """A command failed in a way that a repetition may mend; the text has what came."""


class _Nack(_Garbled):
    """The bootloader answered NACK; ``first``: to the command itself."""

    def __init__(self, text: str, first: bool) -> None:
        super().__init__(text)
        self.first = first


class RomLoader:
    """The bootloader at the other end of ``port``. FlashingError from every method.

    ``answer_s`` is the longest that an answer takes, but to an erase; ``wakes`` is how often it is
    woken. The first time takes two bytes and ends no command that waits for the rest of its data.
    """

    def __init__(self, port: FlashPort, answer_s: float = 1.0, wakes: int = _WAKES) -> None:
        self._port = port
        self._wakes = wakes
        self._answer_s = answer_s
        self.version = ""

    def connect(self) -> None:
        """Wake the bootloader, also out of a command that was cut off, and read its version."""
        self._wake()
        answer = self._refusable(lambda: self._get(_GET))
        self.version = f"{answer[0] >> 4}.{answer[0] & 15}"
        missing = [_NAMES[each] for each in _NEEDED if each not in answer[1:]]
        if missing:
            raise FlashingError(
                NO_LOADER,
                f"{self._port.path}: expected a bootloader with {', '.join(missing)}, got version "
                f"{self.version} without",
            )

    def chip_id(self) -> int:
        """Return the product id of the chip; it is to be had of a protected chip too."""
        return int.from_bytes(self._refusable(lambda: self._get(_GET_ID)), "big")

    def read(self, address: int, size: int) -> bytes:
        """Return up to 256 bytes of memory."""

        def once() -> bytes:
            self._command(_READ)
            self._address(address)
            self._send(bytes((size - 1, ~(size - 1) & 0xFF)))
            return self._exactly(size)

        try:
            return self._repeated(once)
        except _Nack as error:
            fault = READ_PROTECTED if error.first else REFUSED
            raise FlashingError(fault, f"{self._port.path}: {error}") from error

    def write(self, address: int, data: bytes) -> None:
        """Write up to 256 bytes, a multiple of 4, to flash that was erased."""

        def once() -> None:
            self._command(_WRITE)
            self._address(address)
            self._send(_checked(bytes((len(data) - 1,)) + data))

        try:
            self._repeated(once)
        except _Nack as error:
            fault = READ_PROTECTED if error.first else WRITE_PROTECTED
            raise FlashingError(
                fault, f"{self._port.path}: write at {address:#010x}: {error}"
            ) from error

    def erase(self, sector: int) -> None:
        """Erase one sector."""

        def once() -> None:
            self._command(_ERASE)
            self._send(_checked(bytes(2) + sector.to_bytes(2, "big")), _ERASE_S)

        try:
            self._repeated(once)
        except _Nack as error:
            fault = READ_PROTECTED if error.first else WRITE_PROTECTED
            raise FlashingError(
                fault, f"{self._port.path}: erase of sector {sector}: {error}"
            ) from error

    def go(self, address: int) -> None:
        """Start what is at ``address``."""

        def once() -> None:
            self._command(_GO)
            self._address(address)

        self._refusable(once)

    def unlock(self) -> None:
        """Take the read-out protection away: the chip erases all of its flash and resets."""

        def once() -> None:
            self._command(_READ_UNPROTECT)
            self._acknowledged("read-out unprotect", _ERASE_ALL_S)

        self._refusable(once)
        self.connect()

    # --- inside -------------------------------------------------------------------------------

    def _wake(self) -> None:
        """Send the byte that wakes it until it answers; it then waits for a command.

        Awake already, it takes every second of these bytes for a wrong command and answers NACK.
        """
        came = b""
        for attempt in range(self._wakes):
            if attempt:
                self._port.write(_FILL)
                self._port.drain(_QUIET_S)
            for _ in range(2):
                self._port.write(bytes([_SYNC]))
                answer = self._port.read(1, _WAKE_S)
                self._port.drain(_QUIET_S)
                if answer in (bytes([_ACK]), bytes([_NACK])):
                    return
                came += answer
        got = f"bytes that are no answer ({came[:8].hex()})" if came else "nothing"
        raise FlashingError(
            NO_LOADER if came else SILENT,
            f"{self._port.path}: expected the chip's bootloader, got {got}",
        )

    def _refusable(self, once: Callable[[], _R]) -> _R:
        try:
            return self._repeated(once)
        except _Nack as error:
            raise FlashingError(REFUSED, f"{self._port.path}: {error}") from error

    def _repeated(self, once: Callable[[], _R]) -> _R:
        """Run a command, up to three times; _Nack if each of them was refused."""
        for attempt in range(_TRIES):
            try:
                return once()
            except _Nack as error:
                if attempt == _TRIES - 1:
                    raise
                last: _Garbled = error
                self._port.drain(_QUIET_S)  # it may have answered what came before
            except _Garbled as error:
                last = error
                self._port.drain(_QUIET_S)
                self._wake()
        raise FlashingError(STALLED, f"{self._port.path}: {last}")

    def _get(self, command: int) -> bytes:
        self._command(command)
        count = self._exactly(1)[0] + 1
        answer = self._exactly(count)
        self._acknowledged(_NAMES[command])
        return answer

    def _command(self, command: int) -> None:
        self._port.write(bytes((command, ~command & 0xFF)))
        self._acknowledged(_NAMES[command], first=True)

    def _address(self, address: int) -> None:
        self._send(_checked(address.to_bytes(4, "big")))

    def _send(self, data: bytes, limit_s: float | None = None) -> None:
        self._port.write(data)
        self._acknowledged("what followed the command", limit_s)

    def _acknowledged(self, what: str, limit_s: float | None = None, first: bool = False) -> None:
        answer = self._exactly(1, limit_s)
        if answer[0] == _NACK:
            raise _Nack(f"the bootloader refused {what}", first)
        if answer[0] != _ACK:
            raise _Garbled(f"expected an answer to {what}, got {answer.hex()}")

    def _exactly(self, count: int, limit_s: float | None = None) -> bytes:
        limit_s = self._answer_s if limit_s is None else limit_s
        got = self._port.read(count, limit_s)
        if len(got) < count:
            raise _Garbled(f"expected {count} bytes within {limit_s:g} s, got {len(got)}")
        return got


def connected(path: str, baud: int, wakes: int = _WAKES) -> tuple[FlashPort, RomLoader]:
    """Open a port and wake its bootloader; at 115,200 baud if ``baud`` is more and it is not heard.

    The chip measures the speed by the first byte; AN3155 promises up to 115,200. FlashingError.
    """
    faster = baud > PROMISED_BAUD
    try:
        return _connected(path, baud, min(wakes, _FAST_WAKES) if faster else wakes)
    except FlashingError as error:
        if not faster or error.fault not in (SILENT, NO_LOADER, STALLED):
            raise
    return _connected(path, PROMISED_BAUD, wakes)


def _connected(path: str, baud: int, wakes: int) -> tuple[FlashPort, RomLoader]:
    port = FlashPort(path, baud)
    loader = RomLoader(port, wakes=wakes)
    try:
        loader.connect()
    except BaseException:
        port.close()
        raise
    return port, loader


def _checked(data: bytes) -> bytes:
    return data + bytes([reduce(int.__xor__, data)])
