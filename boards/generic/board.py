"""A board with a stock MicroPython as the node application uses a board: by ``machine`` alone.

What is wired where comes from the board's board.toml: `tianfu-node` writes it into main.py.
"""

import asyncio
import gc
import hashlib
import os
import time

import machine
from micropython import const

from firmware.node.app import RESTART
from firmware.node.commission import read
from firmware.node.store import Store

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from firmware.node.app import Node
    from firmware.node.commission import Commission

    #: An input or output: the UART's number, its options, the pin of the driver's direction.
    Wired = tuple[int, dict[str, int], "int | str | None"]

UID_BYTES = const(12)
STORE = "store"  # the folder of the records, beside main.py
#: What is part of the node, beside main.py; the digest is of all files in it.
FOLDERS = ("boards", "firmware", "protocols")
_LINE_RX = const(1024)
_PART_RX = const(256)
_REPL_MS = const(1000)
_PIECE = const(256)
_DIRECTORY = const(0x4000)


class GenericLine:
    """The RS-485 line; where a pin drives the transceiver's direction, a write waits for its end.

    A stock port does not switch that pin itself, and a master may answer 2 ms after the last bit.
    """

    def __init__(
        self, uart: "machine.UART", de: "machine.Pin | None", options: "dict[str, int]"
    ) -> None:
        self._uart = uart
        self._options = options
        self._de = de
        self._reader = asyncio.StreamReader(uart)
        self.any = uart.any
        self.readinto = uart.readinto

    def write(self, buf: memoryview) -> "int | None":
        """Send."""
        if self._de is None:
            return self._uart.write(buf)
        self._de.value(1)
        try:
            count = self._uart.write(buf)
            self._uart.flush()
        finally:
            self._de.value(0)
        return count

    def speed(self, baud: int) -> None:
        """Go on at another speed."""
        self._uart.init(baudrate=baud, rxbuf=_LINE_RX, **self._options)

    async def receive(self, buf: bytearray) -> int:
        """Wait until something is there and read it."""
        while True:
            count = await self._reader.readinto(buf)
            if count:  # None: what woke us was taken by somebody else
                return count


class SilentUart:
    """A port that this board does not have: silence."""

    def any(self) -> int:
        """Return 0."""
        return 0

    def readinto(self, buf: bytearray, nbytes: int) -> None:
        """Read nothing."""

    def write(self, buf: "bytes | bytearray") -> int:
        """Take the bytes."""
        return len(buf)


class PinOneWire:
    """The 1-Wire bus at a pin with a pull-up; slots are timed by MicroPython's own code."""

    def __init__(self, pin: "machine.Pin") -> None:
        import _onewire

        self._pin = pin
        self._wire = _onewire

    def reset(self) -> bool:
        """Return True when a part answered with a presence pulse."""
        return bool(self._wire.reset(self._pin))

    def writebyte(self, value: int) -> None:
        """Send one byte."""
        self._wire.writebyte(self._pin, value)

    def readinto(self, buf: bytearray) -> int:
        """Fill ``buf``."""
        for index in range(len(buf)):
            buf[index] = self._wire.readbyte(self._pin)
        return len(buf)


class GenericBoard:
    """One boot of the board. ``wiring`` is what `tianfu-node` made of board.toml."""

    def __init__(
        self,
        line: "Wired",
        parts: "dict[str, tuple[Wired, int]]",
        adc: "dict[str, int | str]",
        i2c: "tuple[int, dict[str, int]]",
        onewire: "int | str",
        folder: str = "",
    ) -> None:
        self._line = line
        self._parts = parts
        self._adc = adc
        self._i2c = i2c
        self._onewire = onewire
        self._folder = folder or os.getcwd()
        self._wdt: machine.WDT | None = None
        self.now_ms = time.ticks_ms
        self.now_us = time.ticks_us
        self.ticks_diff = time.ticks_diff
        self.sleep_ms = asyncio.sleep_ms

    def unique_id(self) -> bytes:
        """Return the chip's; one that is shorter than 12 bytes ends in zeros."""
        uid = bytes(machine.unique_id())[:UID_BYTES]
        return uid + bytes(UID_BYTES - len(uid))

    def image_digest(self) -> "bytes | None":
        """Return the SHA-256 over names and contents of all files of the node."""
        digest = hashlib.sha256()
        for folder in FOLDERS:
            self._hash(digest, folder)
        self._hash_file(digest, "main.py")
        return digest.digest()

    def _hash(self, digest: "hashlib.sha256", path: str) -> None:
        try:
            entries = sorted(os.ilistdir(self._path(path)))
        except OSError:
            return
        for entry in entries:
            name = path + "/" + str(entry[0])
            if entry[1] == _DIRECTORY:
                self._hash(digest, name)
            else:
                self._hash_file(digest, name)

    def _hash_file(self, digest: "hashlib.sha256", name: str) -> None:
        piece = bytearray(_PIECE)
        view = memoryview(piece)
        digest.update(name.encode() + b"\0")
        with open(self._path(name), "rb") as file:
            while True:
                count = file.readinto(piece)
                if not count:
                    break
                digest.update(view[:count])

    def _path(self, name: str) -> str:
        return self._folder.rstrip("/") + "/" + name

    def commission(self) -> "Commission":
        """Return the commission in the board's store. CommissionError."""
        return read(self.store())

    def store(self) -> Store:
        """Return the files in the store's folder."""
        return Store(self._path(STORE))

    def slots(self) -> None:
        """Return None: files are no slots, so a stock board takes no update over the bus."""

    def medium(self) -> str:
        """Return "flash", where a stock board has its file system."""
        return "flash"

    def line(self, baud: int) -> GenericLine:
        """Open the RS-485 line."""
        number, options, de = self._line
        pin = None if de is None else machine.Pin(de, machine.Pin.OUT, value=0)
        return GenericLine(machine.UART(number, baud, rxbuf=_LINE_RX, **options), pin, options)

    def light(self, on: bool) -> None:
        """Do nothing: no light is in a stock board's table; its console shows that it blinks."""

    def link(self, baud: int) -> None:
        """Return None: no serial link is wired on a stock board."""

    def uart(self, part: str) -> "machine.UART | SilentUart":
        """Open the port of a part; silence if this board has none for it."""
        wired = self._parts.get(part)
        if wired is None:
            return SilentUart()
        (number, options, _), baud = wired
        return machine.UART(number, baud, rxbuf=_PART_RX, **options)

    def i2c(self) -> "machine.I2C":
        """Open the I2C bus at 100 kHz."""
        number, options = self._i2c
        return machine.I2C(number, freq=100000, **options)

    def onewire(self) -> PinOneWire:
        """Open the 1-Wire bus."""
        return PinOneWire(machine.Pin(self._onewire, machine.Pin.OPEN_DRAIN, machine.Pin.PULL_UP))

    def adc(self, channel: str) -> "machine.ADC":
        """Open an analog channel; ValueError for a name that is not wired."""
        pin = self._adc.get(channel)
        if pin is None:
            raise ValueError("adc: expected one of %s, got %s" % (sorted(self._adc), channel))
        adc = machine.ADC(machine.Pin(pin))
        attenuate = getattr(adc, "atten", None)
        if attenuate is not None:  # an ESP32: its widest range, which board.toml is about
            attenuate(machine.ADC.ATTN_11DB)
        return adc

    def wdt(self, timeout_ms: int) -> "machine.WDT":
        """Start the watchdog."""
        if self._wdt is None:
            self._wdt = machine.WDT(timeout=timeout_ms)
        return self._wdt

    def interrupted(self) -> None:
        """Feed the watchdog while somebody works at the REPL: it cannot be stopped."""
        wdt = self._wdt
        timer = getattr(machine, "Timer", None)
        if wdt is not None and timer is not None:
            timer(-1 if os.uname()[0] != "esp32" else 0).init(
                period=_REPL_MS, mode=1, callback=lambda _timer: wdt.feed()
            )

    def reset_cause(self) -> int:
        """Return 0 after power on, 1 after the pin or a command, 2 after the watchdog."""
        cause = machine.reset_cause()
        if cause == machine.PWRON_RESET:
            return 0
        return 2 if cause == machine.WDT_RESET else 1

    def heap(self) -> "tuple[int, int]":
        """Return the bytes in use and free after a collection."""
        gc.collect()
        return gc.mem_alloc(), gc.mem_free()

    def last_fault(self) -> None:
        """Return None: a stock port keeps no record of a fault."""

    def restart(self, node: "Node") -> None:
        """Reset; after a failure its text is printed first."""
        if node.outcome != RESTART:
            print(node.failure)
        machine.reset()


if TYPE_CHECKING:
    from firmware.node.ports import Machine

    def _checked(board: GenericBoard) -> "Machine":
        return board
