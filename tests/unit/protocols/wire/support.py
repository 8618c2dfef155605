"""A bank of plain registers, a server on it, and the shapes in which bytes arrive."""

from protocols.wire.crc import crc16
from protocols.wire.modbus.pdu import ILLEGAL_ADDRESS, ILLEGAL_VALUE
from protocols.wire.modbus.server import NEED_DATA, SILENT, RtuServer

# Longer than t3.5 at every speed tested.
SILENCE_US = 50_000
# A character of 11 bits at 9600 baud, rounded down: no gap between bytes this far apart.
CHAR_US = 1145

REFUSED = 0xFFFF  # the value no register of this bank takes


class Bank:
    """Input and holding registers from 0 on, as big endian bytes."""

    def __init__(self, inputs: bytes, holding: bytes) -> None:
        self.inputs = bytearray(inputs)
        self.holding = bytearray(holding)
        self.code = 0  # what every call answers, if not 0
        self.reads = 0
        self.writes = 0

    def read_input(self, address: int, count: int, out: bytearray, at: int) -> int:
        return self._read(self.inputs, address, count, out, at)

    def read_holding(self, address: int, count: int, out: bytearray, at: int) -> int:
        return self._read(self.holding, address, count, out, at)

    def _read(self, frm: bytearray, address: int, count: int, out: bytearray, at: int) -> int:
        self.reads += 1
        if self.code:
            return self.code
        if 2 * (address + count) > len(frm):
            return ILLEGAL_ADDRESS
        for index in range(2 * count):
            out[at + index] = frm[2 * address + index]
        return 0

    def write_holding(self, address: int, count: int, data: bytearray, at: int) -> int:
        self.writes += 1
        if self.code:
            return self.code
        if 2 * (address + count) > len(self.holding):
            return ILLEGAL_ADDRESS
        for index in range(count):
            if data[at + 2 * index] << 8 | data[at + 2 * index + 1] == REFUSED:
                return ILLEGAL_VALUE
        for index in range(2 * count):
            self.holding[2 * address + index] = data[at + index]
        return 0


IDENTITY = {0: b"tianfu-edge", 1: b"TF-AIR", 2: b"0.1.0"}


class Line:
    """A server and its clock: what goes in with which timing, what comes out."""

    def __init__(
        self,
        bank: Bank,
        unit_id: int = 1,
        identity: "dict[int, bytes] | None" = None,
        baud: int = 9600,
        strict: bool = True,
    ) -> None:
        self.bank = bank
        self.server = RtuServer(
            unit_id, bank, IDENTITY if identity is None else identity, baud, strict
        )
        self.now_us = 1000

    def end(self) -> "bytes | None":
        """What the silence after the bytes fed so far brings: an answer, or None for silence."""
        self.now_us += SILENCE_US
        length = self.server.poll(self.now_us)
        assert length != NEED_DATA
        assert self.server.poll(self.now_us) == NEED_DATA
        assert self.server.wait_us(self.now_us) == -1
        if length == SILENT:
            return None
        assert 5 <= length <= 256
        answer = bytes(self.server.tx[:length])
        assert crc16(answer) == 0
        return answer

    def whole(self, data: bytes | bytearray | memoryview) -> "bytes | None":
        """All at once."""
        self.server.feed(data, len(data), self.now_us)
        return self.end()

    def by_bytes(self, data: bytes) -> "bytes | None":
        """Byte by byte at the line's speed."""
        one = bytearray(1)
        for byte in data:
            one[0] = byte
            self.now_us += CHAR_US
            self.server.feed(one, 1, self.now_us)
            assert self.server.poll(self.now_us) == NEED_DATA
        return self.end()

    def pieces(self, data: bytes, size: int, pause_us: int) -> "bytes | None":
        """In pieces of ``size`` bytes, read from a larger buffer, ``pause_us`` apart."""
        buf = bytearray(size + 3)
        for at in range(0, len(data), size):
            piece = data[at : at + size]
            buf[: len(piece)] = piece
            self.now_us += pause_us
            self.server.feed(buf, len(piece), self.now_us)
            # SILENT: frames for others made room for more
            assert self.server.poll(self.now_us) in (NEED_DATA, SILENT)
        return self.end()


def with_crc(frame: bytes) -> bytes:
    """``frame`` and its CRC, low byte first."""
    crc = crc16(frame)
    return frame + bytes([crc & 0xFF, crc >> 8])


def unhex(text: "str | None") -> "bytes | None":
    """Bytes of a vector's hex text; None stays None."""
    return None if text is None else bytes.fromhex(text)


class Lcg:
    """The same random numbers on both runtimes (31 bits; Park and Miller's minimal standard)."""

    def __init__(self, seed: int) -> None:
        self.state = seed

    def below(self, limit: int) -> int:
        """0 to limit - 1."""
        self.state = self.state * 48271 % 0x7FFFFFFF
        return self.state % limit

    def bytes(self, length: int) -> bytearray:
        """Random bytes."""
        data = bytearray(length)
        for index in range(length):
            data[index] = self.below(256)
        return data
