"""The STM32F405 board as the node application uses a board.

What is wired where is in board.toml, which the C code is made from; the tables here repeat what
the Python side needs of it, and a test compares the two.
"""

from micropython import const

from firmware.node.app import RESTART
from firmware.node.commission import read

from . import port

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from firmware.node.app import Node
    from firmware.node.commission import Commission
    from firmware.node.ports import Slots

    from .port import Adc, I2c, OneWire, Uart

LINE = 2
LINK = 4
# Part: UART and baud rate. A role has at most one part of each UART.
PARTS = {
    "pms5003": (3, 9600),
    "a02yyuw": (3, 9600),
    "vc0706": (3, 38400),
    "mhz19b": (6, 9600),
}
CHANNELS = {"ph": "PC1", "turbidity": "PC2"}
ONEWIRE = "PB4"
I2C = 1
LED = "PB0"
_REPL_MS = const(26000)
# Buffers in bytes. What comes on the line while the node is busy must find room until it is read. A
# part sends at most 140 bytes on a command (a piece of a picture), and unasked less than 100 in the
# time that a sample takes; a command to it has at most 16. What finds no room on the link is
# repeated by the other end, and what is to be sent waits in the frame that was packed.
_LINE_RX = const(1024)
_LINE_TX = const(260)
_LINK_RX = const(384)
_LINK_TX = const(128)
_PART_RX = const(256)
_PART_TX = const(32)


class FlashFiles:
    """The records of the internal flash (modflashstore.c)."""

    directory = "flash"

    def __init__(self) -> None:
        self.lost = port.store_lost()
        # As they are, see modflashstore.c: wrappers would cost heap.
        self.read = port.read_record
        self.write = port.write_record


class UartLine:
    """The RS-485 line; the C driver drives the transceiver's direction."""

    def __init__(self, baud: int) -> None:
        uart = port.uart(LINE, baud, _LINE_RX, _LINE_TX)
        self._uart = uart
        self._reader = port.reader(uart)
        # As they are: wrappers would cost time and heap at every call.
        self.any = uart.any
        self.readinto = uart.readinto
        self.write = uart.write

    async def receive(self, buf: bytearray) -> int:
        """Wait until something is there and read it."""
        while True:
            count = await self._reader.readinto(buf)
            if count:  # None: what woke us was taken by somebody else
                return count

    def speed(self, baud: int) -> None:
        """Go on at another speed."""
        port.tune(self._uart, baud, _LINE_RX, _LINE_TX)


class Stm32Board:
    """One boot of the board."""

    def __init__(self) -> None:
        self.unique_id = port.unique_id
        self.image_digest = port.image_digest
        self.sleep_ms = port.sleep_ms
        self.now_ms = port.ticks_ms
        self.now_us = port.ticks_us
        self.ticks_diff = port.ticks_diff
        self.wdt = port.wdt
        self.reset_cause = port.reset_cause
        self.heap = port.heap
        self.last_fault = port.last_fault

    def commission(self) -> "Commission":
        """Return the commission in the board's store. CommissionError."""
        return read(self.store())

    def store(self) -> FlashFiles:
        """Return the records in flash."""
        return FlashFiles()

    def medium(self) -> str:
        """Return "flash", or "volatile" where the flash takes nothing (an emulator's)."""
        return "flash" if port.store_writable() else "volatile"

    def interrupted(self) -> None:
        """Give who works at the REPL the longest time the watchdog has; it cannot be stopped.

        The REPL feeds it while it waits for a byte (console.c), so this is for code run from there.
        """
        port.wdt(_REPL_MS)

    def restart(self, node: "Node") -> None:
        """Reset. A failure is raised, so that the C side records it before it resets."""
        if node.outcome == RESTART:
            port.reset()
        raise RuntimeError(node.failure)

    def slots(self) -> "Slots":
        """Return the application slots (modslots.c)."""
        return port.slots

    def line(self, baud: int) -> UartLine:
        """Open the RS-485 line."""
        return UartLine(baud)

    def link(self, baud: int) -> "Uart":
        """Open the port of the serial link."""
        return port.uart(LINK, baud, _LINK_RX, _LINK_TX)

    def light(self, on: bool) -> None:
        """Switch the light that shows which board this is."""
        port.light(LED, on)

    def uart(self, part: str) -> "Uart":
        """Open the port of a part; ValueError for a name that is none of PARTS."""
        wired = PARTS.get(part)
        if wired is None:
            raise ValueError("uart: expected one of %s, got %s" % (sorted(PARTS), part))
        return port.uart(wired[0], wired[1], _PART_RX, _PART_TX)

    def i2c(self) -> "I2c":
        """Open the I2C bus."""
        return port.i2c(I2C)

    def onewire(self) -> "OneWire":
        """Open the 1-Wire bus."""
        return port.OneWire(ONEWIRE)

    def adc(self, channel: str) -> "Adc":
        """Open an analog channel; ValueError for a name that is none of CHANNELS."""
        pin = CHANNELS.get(channel)
        if pin is None:
            raise ValueError("adc: expected one of %s, got %s" % (sorted(CHANNELS), channel))
        return port.adc(pin)
