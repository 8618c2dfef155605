"""The board's I2C, 1-Wire and ADC over a wire: bytes, errors, and a wire that is dead."""

from boards.unix.bridge import Bridge, BridgeAdc, BridgeI2c, BridgeOneWire
from tests.dual import raises

ENODEV = 19
ETIMEDOUT = 110
EINVAL = 22


class Wire:
    """The far end: answers each request with the next of ``answers``, in pieces of ``piece``."""

    def __init__(self, answers: "list[bytes]", piece: int = 300) -> None:
        self.answers = answers
        self.piece = piece
        self.requests: list[bytes] = []
        self.waiting = b""
        self.drained = 0
        self.ms = 0
        self.reads = 0

    def now_ms(self) -> int:
        return self.ms

    def ticks_diff(self, a: int, b: int) -> int:
        return a - b

    def drain(self) -> None:
        self.drained += len(self.waiting)
        self.waiting = b""

    def write(self, buf: memoryview) -> int:
        self.requests.append(bytes(buf))
        if self.answers:
            self.waiting += self.answers.pop(0)
        return len(buf)

    def wait(self, limit_ms: int) -> bool:
        if not self.waiting:
            self.ms += limit_ms
        return bool(self.waiting)

    def readinto_at(self, buf: bytearray, at: int, nbytes: int) -> int:
        count = min(self.piece, nbytes, len(self.waiting))
        buf[at : at + count] = self.waiting[:count]
        self.waiting = self.waiting[count:]
        self.reads += 1
        return count


def bridge(wire: Wire) -> Bridge:
    return Bridge(wire, wire)  # type: ignore[arg-type]  # a wire has less than a UART


def test_operations_on_the_wire() -> None:
    for piece in (1, 2, 300):
        wire = Wire([b"\x00\x00", b"\x00\x02\x66\x93"], piece)
        i2c = BridgeI2c(bridge(wire))
        assert i2c.writeto(0x44, b"\x24\x00") == 2
        out = bytearray(2)
        i2c.readfrom_into(0x44, out)
        assert out == b"\x66\x93"
        assert wire.requests == [b"W\x03\x44\x24\x00", b"R\x02\x44\x02"]

        wire = Wire([b"\x00\x01\x01", b"\x00\x01\x00", b"\x00\x00", b"\x00\x03abc"], piece)
        onewire = BridgeOneWire(bridge(wire))
        assert onewire.reset() is True
        assert onewire.reset() is False
        onewire.writebyte(0xCC)
        out = bytearray(3)
        onewire.readinto(out)
        assert out == b"abc"
        assert wire.requests == [b"O\x00", b"O\x00", b"o\x01\xcc", b"i\x01\x03"]

        wire = Wire([b"\x00\x02\x12\x34"], piece)
        assert BridgeAdc(bridge(wire), 1).read_u16() == 0x1234
        assert wire.requests == [b"A\x01\x01"]


def test_what_can_go_wrong_is_told_apart() -> None:
    cases = [
        (b"\x01\x00", ENODEV),
        (b"\x02\x00", EINVAL),
        (b"\x00\x01\x05", EINVAL),  # shorter than asked for
        (b"\x00\x03\x05\x05\x05", EINVAL),
        (b"", ETIMEDOUT),
        (b"\x00", ETIMEDOUT),
        (b"\x00\x02\x05", ETIMEDOUT),
    ]
    for answer, code in cases:
        out = bytearray(b"xx")
        error = raises(OSError, BridgeI2c(bridge(Wire([answer]))).readfrom_into, 0x44, out)
        assert error.args[0] == code, answer
        assert out == b"xx"


def test_nothing_connected() -> None:
    wire = Wire([])
    empty = Bridge(None, wire)
    assert raises(OSError, BridgeI2c(empty).writeto, 0x44, b"x").args[0] == ENODEV
    assert raises(OSError, BridgeOneWire(empty).reset).args[0] == ENODEV
    assert raises(OSError, BridgeAdc(empty, 0).read_u16).args[0] == ENODEV
    assert wire.ms == 0


def test_a_late_answer_is_not_the_next_ones() -> None:
    wire = Wire([b"", b"\x00\x02\x00\x02"])
    adc = BridgeAdc(bridge(wire), 0)
    assert raises(OSError, adc.read_u16).args[0] == ETIMEDOUT
    wire.waiting = b"\x00\x02\x00\x01"  # the first one's, after all
    assert adc.read_u16() == 2
    assert wire.drained == 4


def test_a_dead_wire_costs_little_and_is_found_again() -> None:
    wire = Wire([])
    adc = BridgeAdc(bridge(wire), 0)
    for _ in range(3):
        raises(OSError, adc.read_u16)
    spent = wire.ms
    assert spent <= 1000
    for _ in range(7):
        assert raises(OSError, adc.read_u16).args[0] == ETIMEDOUT
    assert wire.ms == spent
    wire.answers = [b"\x00\x02\x00\x09"]
    assert adc.read_u16() == 9
    wire.answers = [b"\x00\x02\x00\x0a"]
    assert adc.read_u16() == 10


def test_a_payload_that_does_not_fit() -> None:
    wire = Wire([])
    assert raises(OSError, BridgeI2c(bridge(wire)).writeto, 0x44, bytes(255)).args[0] == EINVAL
    assert wire.requests == []
