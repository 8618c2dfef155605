"""The ROM bootloader of an STM32F405 and its flash, without a port: bytes in, bytes out.

Written from AN3155 (protocol), RM0090 (flash, protection) and AN2606 (version 3.1, product id
0x413), and from nothing of the flash job that is tested against it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from typing import Final

FLASH_AT: Final = 0x08000000
#: RM0090, table 5.
SECTORS: Final = (0x4000,) * 4 + (0x10000,) + (0x20000,) * 7
FLASH_BYTES: Final = sum(SECTORS)
#: System memory with the unique id and the flash's size (RM0090, chapter 39).
SYSTEM_AT: Final = 0x1FFF0000
SYSTEM_BYTES: Final = 0x8000
UID_AT: Final = 0x7A10
SIZE_AT: Final = 0x7A22
CHIP_ID: Final = 0x413
ACK: Final = b"\x79"
NACK: Final = b"\x1f"
VERSION: Final = 0x31
COMMANDS: Final = bytes.fromhex("0001021121314463738292")


@dataclass
class RomFaults:
    """What goes wrong. Commands are counted from 1 since the board was made.

    ``nack`` and ``lose`` are the commands that are refused, or whose last answer gets lost once;
    ``flip_read`` is the command whose data has one wrong bit on the line; ``stuck`` are the bits of
    the flash (offset, mask) that stay 0; ``erase_s`` is what an erase takes.
    """

    nack: set[int] = field(default_factory=set)
    lose: set[int] = field(default_factory=set)
    flip_read: set[int] = field(default_factory=set)
    stuck: list[tuple[int, int]] = field(default_factory=list)
    write_protected: set[int] = field(default_factory=set)
    erase_s: float = 0.0


#: What the bootloader asks of the outside: that many bytes.
_Talk = Generator[int, bytes, None]


class BootRom:
    """The chip. ``flash`` survives whatever happens; ``restart`` is a reset with BOOT0 high."""

    def __init__(
        self,
        uid: bytes,
        *,
        chip_id: int = CHIP_ID,
        protected: bool = False,
        faults: RomFaults | None = None,
        wait: Callable[[float], None] = lambda _: None,
        on_go: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.flash = bytearray(b"\xff" * FLASH_BYTES)
        self.chip_id = chip_id
        self.protected = protected
        self.faults = faults or RomFaults()
        #: Commands so far, by their code, and how many sectors were erased.
        self.commands: list[int] = []
        self.erased: list[int] = []
        self.uid = uid
        self._system = bytearray(SYSTEM_BYTES)
        self._system[UID_AT : UID_AT + len(uid)] = uid
        self._system[SIZE_AT : SIZE_AT + 2] = (FLASH_BYTES // 1024).to_bytes(2, "little")
        self._wait = wait
        self._on_go = on_go
        self._out = bytearray()
        self.restart()

    def restart(self) -> None:
        """Forget the command that was being received."""
        self._held = bytearray()
        self._talk = self._run()
        self._wants = next(self._talk)

    def feed(self, data: bytes) -> bytes:
        """Take what came on the line; return what goes back."""
        self._held += data
        while len(self._held) >= self._wants:
            taken = bytes(self._held[: self._wants])
            del self._held[: self._wants]
            self._wants = self._talk.send(taken)
        out = bytes(self._out)
        self._out.clear()
        return out

    # --- the protocol -------------------------------------------------------------------------

    def _run(self) -> _Talk:
        while (yield 1) != b"\x7f":
            pass
        self._out += ACK
        while True:
            code = (yield 1)[0]
            if code ^ (yield 1)[0] != 0xFF:
                self._out += NACK
                continue
            self.commands.append(code)
            number = len(self.commands)
            if number in self.faults.nack:
                self._out += NACK
                continue
            before = len(self._out)
            yield from self._one(code)
            if number in self.faults.lose:
                del self._out[before:]
            if number in self.faults.flip_read and len(self._out) > before + 1:
                self._out[-1] ^= 0x10

    def _one(self, code: int) -> _Talk:
        open_commands = {0x00: self._get, 0x01: self._version, 0x02: self._id, 0x92: self._unlock}
        guarded = {0x11: self._read, 0x21: self._go, 0x31: self._write, 0x44: self._erase}
        if code in open_commands:
            yield from open_commands[code]()
        elif code in guarded and not self.protected:
            self._out += ACK
            yield from guarded[code]()
        else:
            self._out += NACK

    def _get(self) -> _Talk:
        self._out += ACK + bytes((len(COMMANDS), VERSION)) + COMMANDS + ACK
        yield from ()

    def _version(self) -> _Talk:
        self._out += ACK + bytes((VERSION, 0, 0)) + ACK
        yield from ()

    def _id(self) -> _Talk:
        self._out += ACK + b"\x01" + self.chip_id.to_bytes(2, "big") + ACK
        yield from ()

    def _unlock(self) -> _Talk:
        self._out += ACK
        self._wipe(range(len(SECTORS)))
        self.protected = False
        self._out += ACK
        while (yield 1) != b"\x7f":  # it has reset itself
            pass
        self._out += ACK

    def _read(self) -> _Talk:
        address = yield from self._address()
        if address is None:
            return
        count, check = yield 2
        if count ^ check != 0xFF:
            self._out += NACK
            return
        self._out += ACK + self._memory(address, count + 1)

    def _go(self) -> _Talk:
        address = yield from self._address()
        if address is not None:
            self._on_go(address)

    def _write(self) -> _Talk:
        address = yield from self._address()
        if address is None:
            return
        count = yield 1
        data = yield count[0] + 1
        offset = address - FLASH_AT
        good = _xor(count + data) == (yield 1)[0]
        if not good or not 0 <= offset <= FLASH_BYTES - len(data) or self._is_kept(offset):
            self._out += NACK
            return
        self._program(offset, data)
        self._out += ACK

    def _erase(self) -> _Talk:
        head = yield 2
        count = int.from_bytes(head, "big") + 1
        if count > 0xFFF0:  # special codes; only the mass erase is here
            check = yield 1
            sectors: list[int] = list(range(len(SECTORS)))
            good = head == b"\xff\xff" and check == b"\0"
        elif count > len(SECTORS):
            self._out += NACK
            return
        else:
            body = yield 2 * count
            good = _xor(head + body) == (yield 1)[0]
            sectors = [int.from_bytes(body[at : at + 2], "big") for at in range(0, len(body), 2)]
        good = good and all(each < len(SECTORS) for each in sectors)
        if not good or self.faults.write_protected & set(sectors):
            self._out += NACK
            return
        self._wipe(sectors)
        self._out += ACK

    def _address(self) -> Generator[int, bytes, int | None]:
        raw = yield 5
        if _xor(raw[:4]) != raw[4]:
            self._out += NACK
            return None
        self._out += ACK
        return int.from_bytes(raw[:4], "big")

    # --- the flash ----------------------------------------------------------------------------

    def _is_kept(self, offset: int) -> bool:
        return any(
            sector_at(each) <= offset < sector_at(each + 1) for each in self.faults.write_protected
        )

    def _memory(self, address: int, size: int) -> bytes:
        for base, memory in ((FLASH_AT, self.flash), (SYSTEM_AT, self._system)):
            if base <= address < base + len(memory):
                return bytes(memory[address - base : address - base + size]).ljust(size, b"\0")
        return bytes(size)

    def _program(self, offset: int, data: bytes) -> None:
        for at, byte in enumerate(data, offset):
            self.flash[at] &= byte
        for at, mask in self.faults.stuck:
            self.flash[at] &= ~mask & 0xFF

    def _wipe(self, sectors: Iterable[int]) -> None:
        self._wait(self.faults.erase_s)
        for sector in sectors:
            self.erased.append(sector)
            begin, end = sector_at(sector), sector_at(sector + 1)
            self.flash[begin:end] = b"\xff" * (end - begin)


def sector_at(sector: int) -> int:
    """Return the offset at which a sector begins."""
    return sum(SECTORS[:sector])


def _xor(data: bytes) -> int:
    value = 0
    for byte in data:
        value ^= byte
    return value
