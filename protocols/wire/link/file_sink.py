"""Fetches a file from the other end: asks, checks every part, and goes on where it stopped.

A file is whole when its bytes have the size and the SHA-256 that the other end gave before the
first part. What breaks that ends the transfer with a PeerError.
"""

import hashlib
import struct

from micropython import const

from protocols.wire.errors import (
    BAD_ORDER,
    BAD_TAG,
    BAD_VALUE,
    TOO_LONG,
    LocalError,
    PeerError,
)

from .messages import ANY_FILE, FILE_INFO, GET, NONE, PART, PART_HEADER, STOP

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable

_INFO = ">BBII32sI"
_INFO_BYTES = const(46)
_NONE_BYTES = const(3)

# States.
ASKED = 0
RUNNING = 1
WHOLE = 2
REFUSED = 3  # reason
BROKEN = 4


class FileSink:
    """One file on its way in.

    ``write(data)`` gets its bytes in order. A file of more than ``max_size`` bytes is refused. To
    go on with a file after a restart, give its ``sha256`` and then what is there to
    :meth:`resume`.
    """

    def __init__(
        self,
        file: int,
        max_size: int,
        write: "Callable[[bytes | bytearray | memoryview], object]",
        sha256: bytes = ANY_FILE,
    ) -> None:
        self.file = file
        self.state = ASKED
        self.reason = 0
        self.sha256 = sha256
        self.number = 0
        self.size = -1  # not known yet
        self.offset = 0  # bytes that are here
        self._max_size = max_size
        self._write = write
        self._hash = hashlib.sha256()

    def resume(self, data: bytes | bytearray | memoryview) -> None:
        """Count ``data`` as bytes that are here, in order; LocalError if the file is not known."""
        if self.sha256 == ANY_FILE:
            raise LocalError(BAD_ORDER, "resume", -1, "the SHA-256 of the file", "none")
        self._hash.update(data)
        self.offset += len(data)

    def request(self) -> bytes:
        """Return the GET for what is missing: for the first time, and for each new session."""
        self.state = ASKED
        return struct.pack(">BBI32s", GET, self.file, self.offset, self.sha256)

    def take(self, message: bytes | bytearray | memoryview) -> int:
        """Take a message of the channel FILE and return the state.

        PeerError for what breaks the file; the state is BROKEN then. What belongs to an earlier
        GET is ignored.
        """
        kind = message[0] if message else 0
        if self.state == ASKED:
            if kind == FILE_INFO and len(message) == _INFO_BYTES:
                self._begin(message)
            elif kind == NONE and len(message) == _NONE_BYTES and message[1] == self.file:
                self.state = REFUSED
                self.reason = message[2]
        elif self.state == RUNNING:
            if kind == PART and len(message) > PART_HEADER:
                self._part(message)
            elif kind == NONE and len(message) == _NONE_BYTES and message[1] == self.file:
                self.state = REFUSED
                self.reason = message[2]
            elif kind != FILE_INFO:
                self._break(BAD_VALUE, "message of a file", PART, kind)
        return self.state

    @staticmethod
    def stop() -> bytes:
        """Return the STOP that ends a transfer."""
        return bytes((STOP,))

    def _begin(self, message: bytes | bytearray | memoryview) -> None:
        _, file, number, size, digest, offset = struct.unpack(_INFO, message)
        if file != self.file or offset != self.offset:
            return
        if self.sha256 not in (ANY_FILE, digest):
            return
        if size > self._max_size:
            self._break(TOO_LONG, "file", self._max_size, size)
        if size < offset or self.size not in (-1, size):
            self._break(BAD_VALUE, "size of a file", self.size, size)
        self.number = number
        self.size = size
        self.sha256 = digest
        self.state = RUNNING
        self._end()

    def _part(self, message: bytes | bytearray | memoryview) -> None:
        (offset,) = struct.unpack(">I", message[1:PART_HEADER])
        if offset != self.offset:
            self._break(BAD_ORDER, "offset of a part", self.offset, offset)
        data = message[PART_HEADER:]
        if len(data) > self.size - offset:
            self._break(TOO_LONG, "end of a file", self.size, offset + len(data))
        self._hash.update(data)
        self._write(data)
        self.offset += len(data)
        self._end()

    def _end(self) -> None:
        if self.offset == self.size:
            digest = self._hash.digest()
            if digest != self.sha256:
                self._break(BAD_TAG, "SHA-256 of a file", self.sha256, digest)
            self.state = WHOLE

    def _break(self, code: int, what: str, expected: object, got: object) -> None:
        self.state = BROKEN
        raise PeerError(code, what, -1, expected, got)
