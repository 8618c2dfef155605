"""One machine of the stand-in: what commands made of it, and the little that its node does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from hil.renode.fake.port import FakePort
from hil.renode.fake.pty import FakePty
from protocols.modbus_client.frames import SHORTEST_FRAME
from protocols.wire.crc import crc16
from protocols.wire.modbus.timing import t35_us

FLASH_BYTES: Final = 0x200000
CONSOLE: Final = "sysbus.usart1"
UARTS: Final = frozenset(f"sysbus.{n}" for n in ("usart1", "usart2", "usart3", "uart4", "usart6"))
LINE: Final = "sysbus.usart2"
#: From byte to byte, what ends a frame at 9600 baud: t3.5 and the byte itself.
SILENCE_US: Final = t35_us(9600) + 1042
#: Operations of a boot on its flash: an epoch is two records.
BOOT_OPERATIONS: Final = 2


class LineNode:
    """What the node does at the line: it sends back a frame that came without a silence in it."""

    def __init__(self, port: FakePort | FakePty) -> None:
        self._port = port
        self._frame = bytearray()
        self._last_us = 0

    def hear(self, data: bytes, at_us: int) -> None:
        """Take bytes that reached the UART at that time."""
        if at_us - self._last_us > SILENCE_US:
            self._frame.clear()
        self._last_us = at_us
        self._frame += data
        if len(self._frame) >= SHORTEST_FRAME and crc16(self._frame) == 0:
            self._port.send(bytes(self._frame), at_us + SILENCE_US)
            self._frame.clear()


@dataclass(slots=True, eq=False)
class Machine:
    """What commands made of one machine."""

    name: str
    flash: bytearray = field(default_factory=lambda: bytearray(FLASH_BYTES))
    macro: str = ""
    loaded: bool = False
    halted: bool = False
    booted: bool = False
    epoch: int = 0
    names: set[str] = field(default_factory=set)
    consoles: list[FakePort | FakePty] = field(default_factory=list)
    # For the clock.
    paused: bool = False
    own_s: float = 0.0
    # Of the observer.
    reset_at_s: float = 0.0
    milliseconds_at: int = 0
    operations: int = 0
    cut_at: int = 0
    cut: bool = False
    _line: bytearray = field(default_factory=bytearray)

    @property
    def running(self) -> bool:
        """True while its core executes."""
        return not self.halted

    def reset(self, now_s: float) -> None:
        """Take the state after a reset, with which 1.16.1 keeps a halted core halted."""
        self.booted = self.loaded = False
        self.reset_at_s, self.own_s = now_s, 0.0

    def boot(self) -> None:
        """Write the next epoch to flash and print the boot line, unless the power goes before."""
        self.booted = True
        for _ in range(BOOT_OPERATIONS):
            self.operations += 1
            if self.operations == self.cut_at and not self.cut:
                # As NodeWatch.cs does it: the machine stands, and with it time.
                self.paused = self.cut = True
                return
        self.epoch += 1
        self.print(b'{"boot_epoch": %d, "role": "air", "mem_alloc": 20000}\r\n' % self.epoch)

    def print(self, text: bytes) -> None:
        """Send to the console."""
        for port in self.consoles:
            port.send(text)

    def hear(self, data: bytes, _at_us: int) -> None:
        """Take what was typed at the console: Ctrl-C, or a line."""
        self._line += data
        if b"\x03" in self._line:
            self._line.clear()
            self.print(b"\r\n>>> ")
        elif self._line.endswith(b"\r"):
            line = bytes(self._line)
            self._line.clear()
            self.print(line + b"\n")
            if b"serve()" in line:
                figures = b'{"sampled_frames": 1, "sampled_readings": 7, "boot_epoch": %d}\r\n'
                self.print(figures % self.epoch)
