"""Mean brightness and contrast of a baseline JPEG, from the DC coefficients alone.

The DC coefficient of an 8x8 block is eight times the block's mean (ITU-T T.81, A.3.3), so luma
statistics need the Huffman walk (F.2.2) but no inverse transform and no picture memory: a few
hundred bytes of tables, whatever the picture's size. Blocks wholly outside the picture (padding of
the last units) are left out; blocks half outside count whole.

Sans-IO and in slices: ``begin`` takes the picture, each ``step`` does a bounded piece of work, so
a loop that serves other things is never held. Nothing is allocated after construction.

Served: SOF0 with 8 bit samples, one or three components in one scan, sampling 1 or 2 each way,
restart markers, at most 640x480 (what a VC0706 can send). Anything else ends in an error.
"""

from array import array

from micropython import const

from protocols.wire.errors import BAD_VALUE, TOO_LONG, TRUNCATED, UNKNOWN

# Results of step; below 0: minus a code of protocols.wire.errors.
MORE = 0
DONE = 1

MAX_WIDTH = 640
MAX_HEIGHT = 480

_MAX_TABLES = const(16)  # definitions in one picture; a real one has 4
_MAX_SEGMENTS = const(64)
_BLOCK_LIMIT = const(64)

_SOF0 = const(0xC0)
_DHT = const(0xC4)
_SOI = const(0xD8)
_EOI = const(0xD9)
_SOS = const(0xDA)
_DQT = const(0xDB)
_DRI = const(0xDD)

_TABLE = const(16)  # per table: 16 entries of each kind


class JpegLuma:
    """``begin``, then ``step`` until it is not MORE, then ``mean`` and ``contrast``.

    ``mean``: 0 to 100 percent of full scale. ``contrast``: standard deviation of the block means,
    in percent of full scale, 0 to 50. ``offset``: where in the data an error was found.
    """

    def __init__(self) -> None:
        # Four Huffman tables: DC 0, DC 1, AC 0, AC 1. Codes up to 8 bit long are found in _look
        # (length << 8 | symbol); longer ones by the canonical limits (T.81, F.2.2.3). Symbols are
        # left in the picture: _values holds where.
        self._look = array("H", bytes(2 * 4 * 256))
        self._limit = array("i", bytes(4 * 4 * _TABLE))  # largest code of each length, -1: none
        self._shift = array("i", bytes(4 * 4 * _TABLE))  # index of a symbol minus its code
        self._values = array("i", bytes(4 * 4))
        self._symbols = array("H", bytes(2 * 4))  # how many; 0: not defined
        self._quant = array("H", bytes(2 * 4))  # DC step of each quantisation table
        self._h = bytearray(3)
        self._v = bytearray(3)
        self._tq = bytearray(3)
        self._id = bytearray(3)
        self._dc = bytearray(3)
        self._ac = bytearray(3)
        self._last = array("i", bytes(4 * 3))
        self._data: bytes | bytearray | memoryview = b""
        self._end = 0
        self._units_wide = 0
        self._units = 0
        self._unit_x = 0
        self._unit_y = 0
        self._sum = 0
        self._squares = 0
        self._restart_in = 0
        self._restart_next = 0
        self._bits = 0
        self._held = 0
        self._borrowed = 0  # bits of _held that the data did not have
        self.begin(b"", 0)

    def begin(self, data: bytes | bytearray | memoryview, length: int) -> None:
        """Start on a new picture: ``data[:length]`` must stay as it is until DONE."""
        self._data = data
        self._end = min(length, len(data))
        self.offset = 0
        self.mean = 0
        self.contrast = 0
        self.width = 0
        self.height = 0
        self.blocks = 0
        self._result = MORE
        self._scan = False
        self._segments = 0
        self._tables = 0
        self._components = 0
        self._interval = 0
        for index in range(4):
            self._symbols[index] = 0
            self._quant[index] = 0

    def step(self, units: int) -> int:
        """Do ``units`` pieces (a segment or a unit of the scan): MORE, DONE or below 0."""
        while units > 0 and self._result == MORE:
            code = self._unit() if self._scan else self._segment()
            if code < 0:
                self._result = code
            units -= 1
        return self._result

    # --- header -------------------------------------------------------------------------------

    def _segment(self) -> int:
        """Read one marker segment (T.81, B.1.1). 0 to go on."""
        data = self._data
        at = self.offset
        end = self._end
        self._segments += 1
        if self._segments > _MAX_SEGMENTS:
            return -TOO_LONG
        if at + 4 > end:
            return -TRUNCATED
        if at == 0:
            if data[0] != 0xFF or data[1] != _SOI:
                return -BAD_VALUE
            at = 2
        if data[at] != 0xFF:
            return -BAD_VALUE
        # Any number of fill bytes may stand before a marker (B.1.1.2).
        while at + 4 < end and data[at + 1] == 0xFF:
            at += 1
        marker = data[at + 1]
        self.offset = at
        if at + 4 > end:
            return -TRUNCATED
        length = data[at + 2] << 8 | data[at + 3]
        stop = at + 2 + length
        if length < 2 or marker == _EOI:
            return -BAD_VALUE
        if stop > end:
            return -TRUNCATED
        at += 4
        code = 0
        if marker == _DHT:
            code = self._huffman(at, stop)
        elif marker == _DQT:
            code = self._quantisation(at, stop)
        elif marker == _SOF0:
            code = self._frame(at, stop)
        elif marker == _DRI:
            if length != 4:
                return -BAD_VALUE
            self._interval = data[at] << 8 | data[at + 1]
        elif marker == _SOS:
            code = self._start(at, stop)
        elif 0xC1 <= marker <= 0xCF:
            return -UNKNOWN  # progressive, lossless, arithmetic or 12 bit
        elif not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            return -BAD_VALUE  # neither an application segment nor a comment
        if code >= 0:
            self.offset = stop
        return code

    def _quantisation(self, at: int, stop: int) -> int:
        data = self._data
        while at < stop:
            wide = data[at] >> 4
            table = data[at] & 15
            size = 129 if wide else 65
            if wide > 1 or table > 3 or at + size > stop:
                return -BAD_VALUE
            self._quant[table] = data[at + 1] << 8 | data[at + 2] if wide else data[at + 1]
            at += size
        return 0

    def _huffman(self, at: int, stop: int) -> int:
        """Define tables (B.2.4.2): 16 counts, then the symbols in order of their codes (C.2)."""
        data = self._data
        while at < stop:
            self._tables += 1
            if self._tables > _MAX_TABLES:
                return -TOO_LONG
            if at + 17 > stop or data[at] & 0xEE:
                return -BAD_VALUE
            table = data[at] >> 4 << 1 | data[at] & 1
            total = 0
            for index in range(16):
                total += data[at + 1 + index]
            values = at + 17
            if not 0 < total <= 256 or values + total > stop:
                return -BAD_VALUE
            look = self._look
            base = table << 8
            for index in range(256):
                look[base + index] = 0
            code = 0
            symbol = 0
            for index in range(16):
                count = data[at + 1 + index]
                width = index + 1
                # The code of all ones is never given (C.2), so a sound table stays below.
                if code + count > 1 << width:
                    return -BAD_VALUE
                self._shift[table * _TABLE + index] = symbol - code
                self._limit[table * _TABLE + index] = code + count - 1 if count else -1
                if width <= 8:
                    spread = 1 << (8 - width)
                    for number in range(count):
                        entry = width << 8 | data[values + symbol + number]
                        first = base + ((code + number) << (8 - width))
                        for slot in range(first, first + spread):
                            look[slot] = entry
                code = (code + count) << 1
                symbol += count
            self._values[table] = values
            self._symbols[table] = total
            at = values + total
        return 0

    def _frame(self, at: int, stop: int) -> int:
        """Read the frame header (B.2.2)."""
        data = self._data
        if self._components or stop - at < 9:
            return -BAD_VALUE
        count = data[at + 5]
        if data[at] != 8 or (count != 1 and count != 3):
            return -UNKNOWN
        if stop - at != 6 + 3 * count:
            return -BAD_VALUE
        self.height = data[at + 1] << 8 | data[at + 2]
        self.width = data[at + 3] << 8 | data[at + 4]
        if self.width == 0 or self.height == 0:
            return -BAD_VALUE
        if self.width > MAX_WIDTH or self.height > MAX_HEIGHT:
            return -TOO_LONG
        for index in range(count):
            here = at + 6 + 3 * index
            self._id[index] = data[here]
            h = data[here + 1] >> 4
            v = data[here + 1] & 15
            if not (1 <= h <= 2 and 1 <= v <= 2):
                return -UNKNOWN
            self._h[index] = h
            self._v[index] = v
            self._tq[index] = data[here + 2] & 3
        if count == 1:
            self._h[0] = 1  # a single component is not interleaved: a unit is one block (A.2.2)
            self._v[0] = 1
        elif self._h[0] < max(self._h[1], self._h[2]) or self._v[0] < max(self._v[1], self._v[2]):
            return -UNKNOWN  # colour finer than brightness
        self._components = count
        return 0

    def _start(self, at: int, stop: int) -> int:
        """Read the scan header (B.2.3): from here on comes coded data."""
        data = self._data
        count = self._components
        if count == 0 or self._quant[self._tq[0]] == 0 or stop - at < 1:
            return -BAD_VALUE
        if data[at] != count:
            return -UNKNOWN
        if stop - at != 4 + 2 * count:
            return -BAD_VALUE
        for index in range(count):
            here = at + 1 + 2 * index
            tables = data[here + 1]
            if data[here] != self._id[index] or tables & 0xEE:
                return -BAD_VALUE
            self._dc[index] = tables >> 4
            self._ac[index] = 2 + (tables & 1)
            if not (self._symbols[self._dc[index]] and self._symbols[self._ac[index]]):
                return -BAD_VALUE
        self._units_wide = -(-self.width // (8 * self._h[0]))
        self._units = self._units_wide * -(-self.height // (8 * self._v[0]))
        self._unit_x = 0
        self._unit_y = 0
        self._sum = 0
        self._squares = 0
        self._restart_in = self._interval
        self._restart_next = 0
        self._scan = True
        self._clear()
        return 0

    # --- coded data ---------------------------------------------------------------------------

    def _clear(self) -> None:
        """Set the state at the start of the scan and of each restart interval (F.2.1.3.1)."""
        self._bits = 0
        self._held = 0
        self._borrowed = 0
        for index in range(3):
            self._last[index] = 0

    def _fill(self) -> None:
        """Hold at least 16 bits; past the data's end zeros are lent and counted."""
        data = self._data
        end = self._end
        at = self.offset
        while self._held <= 16:
            byte = 0
            if at >= end:
                self._borrowed += 8
            else:
                byte = data[at]
                if byte != 0xFF:
                    at += 1
                elif at + 1 < end and data[at + 1] == 0:
                    at += 2  # a stuffed zero follows a data byte FF (B.1.1.5)
                else:
                    byte = 0  # a marker: the data ends here
                    self._borrowed += 8
            self._bits = (self._bits & 0xFFFF) << 8 | byte
            self._held += 8
        self.offset = at

    def _symbol(self, table: int) -> int:
        """Read the next Huffman symbol, -1 if no code fits. Leaves at least 16 bits held."""
        if self._held < 16:
            self._fill()
        window = self._bits >> (self._held - 16) & 0xFFFF
        entry = self._look[table << 8 | window >> 8]
        if entry:
            self._held -= entry >> 8
            return entry & 0xFF
        base = table * _TABLE
        for index in range(8, 16):
            code = window >> (15 - index)
            if code <= self._limit[base + index]:
                self._held -= index + 1
                return self._data[self._values[table] + self._shift[base + index] + code]
        return -1

    def _skip(self, count: int) -> int:
        """Take ``count`` (0 to 15) bits and return them as a number."""
        if self._held < count:
            self._fill()
        self._held -= count
        return self._bits >> self._held & ((1 << count) - 1)

    def _block(self, component: int) -> int:
        """Walk one block; its DC value before quantisation is left in ``_last``. 0 to go on."""
        size = self._symbol(self._dc[component])
        if not 0 <= size <= 11:
            return -BAD_VALUE
        if size:
            difference = self._skip(size)
            if difference < 1 << (size - 1):
                difference += 1 - (1 << size)
            value = self._last[component] + difference
            if not -2048 <= value <= 2047:
                return -BAD_VALUE
            self._last[component] = value
        table = self._ac[component]
        index = 1
        while index < _BLOCK_LIMIT:
            symbol = self._symbol(table)
            if symbol <= 0:
                if symbol < 0:
                    return -BAD_VALUE
                break  # end of block
            size = symbol & 15
            if size:
                self._skip(size)
            elif symbol != 0xF0:
                return -BAD_VALUE
            index += (symbol >> 4) + 1
        return -BAD_VALUE if index > _BLOCK_LIMIT else 0

    def _unit(self) -> int:
        """Decode one unit of the scan, all components' blocks. 0 to go on, DONE in ``_result``."""
        if self._interval and self._restart_in == 0:
            code = self._restart()
            if code < 0:
                return code
        for component in range(self._components):
            wide = self._h[component]
            for block in range(wide * self._v[component]):
                code = self._block(component)
                if code < 0:
                    return -TRUNCATED if self._borrowed > self._held else code
                if component == 0:
                    self._count(
                        self._unit_x * wide + block % wide,
                        self._unit_y * self._v[0] + block // wide,
                    )
        if self._borrowed > self._held:
            return -TRUNCATED
        self._restart_in -= 1
        self._unit_x += 1
        if self._unit_x == self._units_wide:
            self._unit_x = 0
            self._unit_y += 1
        self._units -= 1
        if self._units == 0:
            self._finish()
        return 0

    def _count(self, x: int, y: int) -> None:
        if 8 * x >= self.width or 8 * y >= self.height:
            return
        level = 128 + (self._last[0] * self._quant[self._tq[0]] + 4) // 8
        level = max(0, min(255, level))
        self.blocks += 1
        self._sum += level
        self._squares += level * level

    def _restart(self) -> int:
        """Find the restart marker that must stand here (B.2.1, E.1.4)."""
        data = self._data
        at = self.offset
        if at + 2 > self._end:
            return -TRUNCATED
        while at + 2 < self._end and data[at] == 0xFF and data[at + 1] == 0xFF:
            at += 1
        if data[at] != 0xFF or data[at + 1] != 0xD0 + self._restart_next:
            return -BAD_VALUE
        self.offset = at + 2
        self._restart_next = (self._restart_next + 1) & 7
        self._restart_in = self._interval
        self._clear()
        return 0

    def _finish(self) -> None:
        count = self.blocks
        self.mean = (200 * self._sum + 255 * count) // (510 * count)
        # Standard deviation in 1/16 level, so that the rounding to percent is exact enough.
        variance = 256 * (count * self._squares - self._sum * self._sum) // (count * count)
        spread = _root(variance)
        self.contrast = (200 * spread + 255 * 16) // (510 * 16)
        self._result = DONE


def _root(number: int) -> int:
    """Return the integer square root (MicroPython has no ``math.isqrt``)."""
    root = number
    other = (root + 1) // 2
    while other < root:
        root = other
        other = (root + number // root) // 2
    return root
