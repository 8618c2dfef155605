"""A frame of the link: COBS between zero bytes, and a CRC-32 that says it came as it was sent.

Content::

    0  type      u8      2  sequence  u16     6  payload
    1  channel   u8      4  length    u16    -4  CRC-32 over everything before it

Session frames have a counter and a tag between payload and CRC (:mod:`.session`).

Reading and writing use fixed buffers. On MicroPython only :func:`crc32` allocates (a slice, and an
integer where integers are small), and both are free again at once.
"""

import binascii

from micropython import const

# Types of frames.
ASK = 0x01
HELLO = 0x02
ANSWER = 0x03
CONFIRM = 0x04
REFUSE = 0x05
DATA = 0x10
ACK = 0x11
TIME = 0x12
BYE = 0x13

MAX_FRAME = 512  # on the wire, both zero bytes included
MIN_FRAME = 256  # the two ends may agree on less than MAX_FRAME, not on less than this
HEADER = 6
CRC_BYTES = 4
SEAL_BYTES = 12  # counter and tag of a session frame

_MAX_CODED = const(510)  # MAX_FRAME without its zero bytes
_MAX_CONTENT = const(508)  # what COBS makes _MAX_CODED of, at worst


def payload_room(largest: int) -> int:
    """Return how long the payload of a session frame may be, so that no content is too long."""
    return (largest - 2) * 254 // 255 - HEADER - SEAL_BYTES - CRC_BYTES


def crc32(view: memoryview, end: int) -> int:
    """Return the CRC over ``view[:end]``."""
    return binascii.crc32(view[:end])


def cobs_encode(source: bytes | bytearray, length: int, out: bytearray, at: int) -> int:
    """Write ``source[:length]`` without zero bytes to ``out[at:]``; return where it ends."""
    code_at = at
    code = 1
    at += 1
    for index in range(length):
        byte = source[index]
        if code == 255:
            out[code_at] = 255
            code_at = at
            code = 1
            at += 1
        if byte:
            out[at] = byte
            code += 1
        else:
            out[code_at] = code
            code_at = at
            code = 1
        at += 1
    out[code_at] = code
    return at


class FrameWriter:
    """One frame on its way out: the payload is written into ``content[HEADER:]``."""

    def __init__(self) -> None:
        self.content = bytearray(_MAX_CONTENT)
        self.view = memoryview(self.content)
        self.tx = bytearray(MAX_FRAME)

    def header(self, kind: int, channel: int, sequence: int, length: int) -> int:
        """Write the header; return where the payload ends."""
        content = self.content
        content[0] = kind
        content[1] = channel
        content[2] = sequence >> 8
        content[3] = sequence & 0xFF
        content[4] = length >> 8
        content[5] = length & 0xFF
        return HEADER + length

    def finish(self, end: int, idle: bool) -> int:
        """Add the CRC behind ``content[:end]``; return n: the frame is ``tx[:n]``.

        After an ``idle`` line a zero byte ends whatever the line made of the silence.
        """
        content = self.content
        crc = crc32(self.view, end)
        content[end] = crc >> 24 & 0xFF
        content[end + 1] = crc >> 16 & 0xFF
        content[end + 2] = crc >> 8 & 0xFF
        content[end + 3] = crc & 0xFF
        tx = self.tx
        tx[0] = 0
        at = cobs_encode(content, end + CRC_BYTES, tx, 1 if idle else 0)
        tx[at] = 0
        return at + 1


class FrameReader:
    """Finds the frames in what comes; one frame at a time stands in ``content[:size]``.

    ``size`` is 0 while there is none and does not count the CRC. Bytes of what was no frame are in
    ``noise_bytes``.
    """

    def __init__(self) -> None:
        self.content = bytearray(_MAX_CONTENT + 1)
        self.view = memoryview(self.content)
        self.size = 0
        self.noise_bytes = 0
        self._fill = 0
        self._came = 0  # bytes since the last zero byte
        self._left = 0  # bytes until the next code byte
        self._zero = False  # a zero byte stands between this block and the next

    def feed(self, data: bytes | bytearray | memoryview, at: int, length: int) -> int:
        """Take ``data[at:length]`` up to the end of the next frame; return where that is."""
        content = self.content
        self.size = 0
        fill = self._fill
        came = self._came
        left = self._left
        while at < length:
            byte = data[at]
            at += 1
            if byte == 0:
                if came:
                    self._end(fill, came, left)
                    fill = came = left = 0
                    self._zero = False
                    if self.size:
                        break
                continue
            came += 1
            if came > _MAX_CODED:
                continue
            if left:
                left -= 1
                content[fill] = byte
                fill += 1
            else:
                if self._zero:
                    content[fill] = 0
                    fill += 1
                left = byte - 1
                self._zero = byte < 255
        self._fill = fill
        self._came = came
        self._left = left
        return at

    def _end(self, fill: int, came: int, left: int) -> None:
        """Keep what a zero byte ended if it is a frame, else count its ``came`` bytes."""
        end = fill - CRC_BYTES
        content = self.content
        if came <= _MAX_CODED and left == 0 and end >= HEADER:
            kind = content[0]
            size = HEADER + (content[4] << 8 | content[5])
            if DATA <= kind <= BYE:
                size += SEAL_BYTES
            elif not ASK <= kind <= REFUSE:
                size = 0
            if size == end:
                crc = crc32(self.view, end)
                if (
                    crc >> 24 & 0xFF == content[end]
                    and crc >> 16 & 0xFF == content[end + 1]
                    and crc >> 8 & 0xFF == content[end + 2]
                    and crc & 0xFF == content[end + 3]
                ):
                    self.size = end
                    return
        self.noise_bytes += came
