"""Buses, a clock and a node in memory, for the dual tests of drivers and roles."""

import asyncio
import gc

import micropython

from protocols.wire.registers import SETTINGS, setting_address

_TICKS = (1 << 30) - 1

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from firmware.roles.base import Role
    from firmware.sensors.stream import Parser


def noise(seed: int, count: int) -> bytes:
    """The same ``count`` pseudo-random bytes on both runtimes (xorshift of 32 bit)."""
    out = bytearray(count)
    state = seed
    for index in range(count):
        state ^= (state << 13) & 0xFFFFFFFF
        state ^= state >> 17
        state ^= (state << 5) & 0xFFFFFFFF
        out[index] = state >> 11 & 0xFF
    return bytes(out)


def heap_locked(call: "Callable[[], None]") -> None:
    """Run ``call``; on MicroPython any allocation in it is a MemoryError."""
    lock = getattr(micropython, "heap_lock", None)
    if lock is None:
        call()
        return
    unlock = getattr(micropython, "heap_unlock")  # noqa: B009 - CPython's stand-in has none
    lock()
    try:
        call()
    finally:
        unlock()


def heap() -> int:
    """Bytes in use, collecting until no more is found; 0 on CPython, which does not count it.

    The collector takes every word on the C stack for a pointer. The first collection after some
    work runs over what that work left there, and may keep objects that nobody holds any more.
    """
    measure: Callable[[], int] | None = getattr(gc, "mem_alloc", None)
    if measure is None:
        return 0
    gc.collect()
    used = measure()
    while True:
        gc.collect()
        now = measure()
        if now >= used:
            return now
        used = now


_LOOKS = 3


def growth(work: "Callable[[], None]") -> int:
    """Bytes that three calls of ``work`` leave on the heap for good; 0 on CPython.

    The least of three looks, one after each call, is what is really held: a dead object that a
    stray word keeps is gone again in another look. Of six calls the first three are compared with
    the last three. What leaks grows in every call, or, as a list does, whenever it has doubled:
    between the first call and the fourth it has.
    """
    held = [0] * 2
    for half in range(2):
        least = -1
        for _ in range(_LOOKS):
            work()
            now = heap()
            least = now if least < 0 else min(least, now)
        held[half] = least
    return held[1] - held[0]


async def until(condition: "Callable[[], bool]") -> None:
    """Let the other tasks run until ``condition()`` holds; AssertionError if it never does."""
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("the condition did not come true")


def outcomes(parser: "Parser", data: bytes, piece: int) -> "list[int]":
    """Feed ``data`` in pieces; every outcome that is not NEED_DATA."""
    found: list[int] = []
    at = 0
    while at < len(data):
        at += parser.feed(data, min(piece, len(data) - at), at)
        event = parser.poll()
        while event:
            found.append(event)
            event = parser.poll()
    return found


class Clock:
    """Ticks that start just before they wrap; every look at them takes ``step`` ms."""

    def __init__(self, step: int = 0) -> None:
        self.at = _TICKS - 100
        self.step = step

    def now_ms(self) -> int:
        self.at += self.step
        return self.at & _TICKS

    def ticks_diff(self, a: int, b: int) -> int:
        half = (_TICKS + 1) // 2
        return ((a - b + half) & _TICKS) - half


class Uart:
    """What the part sends is put into ``rx``; ``answer(bytes)`` gives its reply to a command."""

    def __init__(self, answer: "Callable[[bytes], bytes] | None" = None, piece: int = 64) -> None:
        self.rx = b""
        self.tx: list[bytes] = []
        self.answer = answer
        self.piece = piece
        self.broken = False
        self.refused = 0  # reads while it was broken

    def any(self) -> int:
        return len(self.rx)

    def readinto(self, buf: bytearray, nbytes: int) -> int:
        if self.broken:
            self.refused += 1
            raise OSError(5)
        count = min(nbytes, len(self.rx), self.piece)
        buf[:count] = self.rx[:count]
        self.rx = self.rx[count:]
        return count

    def write(self, buf: bytes | bytearray) -> int:
        if self.broken:
            raise OSError(5)
        self.tx.append(bytes(buf))
        if self.answer is not None:
            self.rx += self.answer(bytes(buf))
        return len(buf)


class I2c:
    """One part; ``busy`` reads are refused first. ``answer`` None: nobody there."""

    def __init__(self, answer: "bytes | None", busy: int = 0) -> None:
        self.answer = answer
        self.busy = busy
        self.hung = False
        self.reads = 0
        self.written: list[tuple[int, bytes]] = []

    def writeto(self, addr: int, buf: bytes | bytearray) -> int:
        if self.answer is None:
            raise OSError(19)
        self.written.append((addr, bytes(buf)))
        return len(buf)

    def readfrom_into(self, addr: int, buf: bytearray) -> None:
        self.reads += 1
        if self.hung:
            raise OSError(110)
        if self.answer is None or self.busy > 0:
            self.busy -= 1
            raise OSError(19)
        buf[:] = self.answer


class OneWire:
    """A DS18B20 that shows ``pads`` one after the other (the last one again and again)."""

    def __init__(self, rom: bytes, pads: "list[bytes]", convert_reads: int = 2) -> None:
        self.rom = rom
        self.pads = pads
        self.present = True
        self.convert_reads = convert_reads
        self._out = b""
        self._reads = 0
        self.sent: list[int] = []

    def reset(self) -> bool:
        self._out = b""
        self._reads = 0
        return self.present

    def writebyte(self, value: int) -> None:
        self.sent.append(value)
        if value == 0x33:
            self._out = self.rom
        elif value == 0x44:
            self._reads = self.convert_reads
        elif value == 0xBE:
            self._out = self.pads[0]
            if len(self.pads) > 1:
                self.pads = self.pads[1:]

    def readinto(self, buf: bytearray) -> None:
        for index in range(len(buf)):
            if self._out:
                buf[index] = self._out[0]
                self._out = self._out[1:]
            elif self._reads > 0:
                self._reads -= 1
                buf[index] = 0
            else:
                buf[index] = 0xFF


class Adc:
    def __init__(self, readings: "list[int]") -> None:
        self.readings = readings
        self._next = 0

    def read_u16(self) -> int:
        if not self.readings:
            raise OSError(110)
        value = self.readings[self._next % len(self.readings)]
        self._next += 1
        return value


class Config:
    """The defaults of the register map, and what a test changes by name."""

    def __init__(self, **changed: int) -> None:
        self.values = [setting.default for setting in SETTINGS]
        for name, value in changed.items():
            self.set(name, value)

    def value(self, address: int) -> int:
        return self.values[address]

    def set(self, name: str, value: int) -> None:
        self.values[setting_address(name)] = value


class Events:
    def __init__(self) -> None:
        self.pushed: list[tuple[int, int]] = []

    def push(self, code: int, arg: int, t_boot_ms: int) -> None:
        assert 0 <= t_boot_ms < 1 << 31, "time since boot, not ticks"
        self.pushed.append((code, arg))


class Board(Clock):
    """A board with the buses a test gives it; any other is an error, as on a real board."""

    def __init__(self, step: int = 0, **buses: object) -> None:
        Clock.__init__(self, step)
        self.buses = buses

    def uart(self, part: str) -> "Uart":
        bus = self.buses[part]
        assert isinstance(bus, Uart)
        return bus

    def i2c(self) -> "I2c":
        bus = self.buses["i2c"]
        assert isinstance(bus, I2c)
        return bus

    def onewire(self) -> "OneWire":
        bus = self.buses["onewire"]
        assert isinstance(bus, OneWire)
        return bus

    def adc(self, channel: str) -> "Adc":
        bus = self.buses[channel]
        assert isinstance(bus, Adc)
        return bus


async def take(role: "Role", config: Config) -> "tuple[list[int], list[int]]":
    """Take one sample as the node does; its qualities and values."""
    await role.sample()
    role.reading.grade(config.value(setting_address("fitted")))
    role.graded()
    return list(role.reading.quality), list(role.reading.raw)
