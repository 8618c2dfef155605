"""I2C, 1-Wire and ADC over a serial wire: what a process has instead of pins.

Request ``op u8, length u8, payload``; answer ``status u8 (0 done, 1 nobody answered, 2 bad
request), length u8, payload``. Operations: ``W`` address, data: I2C write; ``R`` address, n: I2C
read; ``O``: 1-Wire reset, answer 1 byte presence; ``o`` bytes: 1-Wire write; ``i`` n: 1-Wire read;
``A`` channel: ADC, answer u16 big endian.

The bus calls of a board do not yield to the event loop, so neither do these: a call lasts as long
as the other end takes, at most ``_LIMIT_MS``.
"""

from micropython import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from firmware.sensors.ports import Clock

    from .tty import TtyUart

_ENODEV = const(19)
_ETIMEDOUT = const(110)
_EINVAL = const(22)

_I2C_WRITE = const(0x57)
_I2C_READ = const(0x52)
_OW_RESET = const(0x4F)
_OW_WRITE = const(0x6F)
_OW_READ = const(0x69)
_ADC = const(0x41)

_DONE = const(0)
_ABSENT = const(1)
_MAX = const(255)
# Longer than a busy host lets the other end wait, far below the server task's limit.
_LIMIT_MS = const(200)
# After this many unanswered calls in a row the wire counts as dead and only one call in _RETRY
# waits for it: a node must keep answering its master while the bench behind the wire is gone.
_DEAD = const(3)
_RETRY = const(8)

CHANNELS = ("ph", "turbidity")


class Bridge:
    """The wire. ``uart`` None: nothing is connected, every call fails at once (ENODEV)."""

    def __init__(self, uart: "TtyUart | None", clock: "Clock") -> None:
        self._uart = uart
        self._clock = clock
        self._request = bytearray(2 + _MAX)
        self._answer = bytearray(2 + _MAX)
        self._silent = 0
        self._skipped = 0

    def call(self, op: int, payload: bytes | bytearray | memoryview, out: bytearray | None) -> None:
        """Do one operation; its answer must fill ``out`` exactly (None: no answer payload).

        OSError: ENODEV nobody there, ETIMEDOUT no answer in time, EINVAL request or answer unfit.
        """
        uart = self._uart
        if uart is None:
            raise OSError(_ENODEV)
        length = len(payload)
        if length > _MAX:
            raise OSError(_EINVAL)
        if self._silent >= _DEAD:
            self._skipped += 1
            if self._skipped < _RETRY:
                raise OSError(_ETIMEDOUT)
            self._skipped = 0
        uart.drain()  # the late answer of a call that was given up is not this one's
        self._request[0] = op
        self._request[1] = length
        self._request[2 : 2 + length] = payload
        uart.write(memoryview(self._request)[: 2 + length])
        self._receive(uart)
        self._silent = 0
        status = self._answer[0]
        if status == _ABSENT:
            raise OSError(_ENODEV)
        if status != _DONE or self._answer[1] != (len(out) if out is not None else 0):
            raise OSError(_EINVAL)
        if out is not None:
            out[:] = memoryview(self._answer)[2 : 2 + len(out)]

    def _receive(self, uart: "TtyUart") -> None:
        start = self._clock.now_ms()
        have = 0
        while have < 2 or have < 2 + self._answer[1]:
            left = _LIMIT_MS - self._clock.ticks_diff(self._clock.now_ms(), start)
            if left <= 0 or not uart.wait(left):
                self._silent += 1
                raise OSError(_ETIMEDOUT)
            want = (2 if have < 2 else 2 + self._answer[1]) - have
            have += uart.readinto_at(self._answer, have, want)


class BridgeI2c:
    """``board.i2c()``."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    def writeto(self, addr: int, buf: bytes | bytearray) -> int:
        """Write; ENODEV if nobody acknowledges."""
        payload = bytearray(1 + len(buf))
        payload[0] = addr
        payload[1:] = buf
        self._bridge.call(_I2C_WRITE, payload, None)
        return len(buf)

    def readfrom_into(self, addr: int, buf: bytearray) -> None:
        """Fill ``buf``; ENODEV if nobody acknowledges."""
        self._bridge.call(_I2C_READ, bytes((addr, len(buf))), buf)


class BridgeOneWire:
    """``board.onewire()``."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    def reset(self) -> bool:
        """Return True when a part answered with a presence pulse."""
        presence = bytearray(1)
        self._bridge.call(_OW_RESET, b"", presence)
        return presence[0] == 1

    def writebyte(self, value: int) -> None:
        """Send one byte."""
        self._bridge.call(_OW_WRITE, bytes((value,)), None)

    def readinto(self, buf: bytearray) -> None:
        """Fill ``buf``."""
        self._bridge.call(_OW_READ, bytes((len(buf),)), buf)


class BridgeAdc:
    """``board.adc(channel)``."""

    def __init__(self, bridge: Bridge, channel: int) -> None:
        self._bridge = bridge
        self._channel = bytes((channel,))

    def read_u16(self) -> int:
        """Return 0 to 65535."""
        value = bytearray(2)
        self._bridge.call(_ADC, self._channel, value)
        return value[0] << 8 | value[1]
