"""Sends files that the other end asks for: the answers to GET, and their parts as there is room.

One file goes at a time; a new GET ends the one before it. Nothing is kept but where the transfer
stands, so a restart of this end costs the other one a new GET.
"""

import struct

from micropython import const

from .frame import MAX_FRAME
from .messages import (
    ANY_FILE,
    BEHIND_END,
    FILE,
    FILE_INFO,
    GET,
    NONE,
    OTHER_FILE,
    PART,
    PART_HEADER,
    STOP,
)

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable

    from protocols.wire.ports import StoredFile

    from .end import LinkEnd

_GET = ">BBI32s"
_GET_BYTES = const(38)


class FileSource:
    """The files of one end. ``find(file)`` returns a stored file, or the reason for a NONE."""

    def __init__(self, end: "LinkEnd", find: "Callable[[int], StoredFile | int]") -> None:
        self.malformed = 0
        self._end = end
        self._find = find
        self._file: StoredFile | None = None
        self._asked = 0
        self._offset = 0
        self._answer = b""  # goes before the parts
        self._part: bytearray | None = None  # a buffer, while a file goes

    @property
    def busy(self) -> bool:
        """Whether something is to be sent."""
        return self._file is not None or bool(self._answer)

    def take(self, message: bytes | bytearray | memoryview) -> None:
        """Take a message of the channel FILE."""
        if len(message) == _GET_BYTES and message[0] == GET:
            _, self._asked, offset, digest = struct.unpack(_GET, message)
            self._get(offset, digest)
        elif len(message) == 1 and message[0] == STOP:
            self.stop()
        else:
            self.malformed += 1

    def stop(self) -> None:
        """End the transfer; for the end of a session too."""
        self._file = self._part = None
        self._answer = b""

    def pump(self) -> bool:
        """Queue what there is room for; True if that was something."""
        end = self._end
        queued = False
        if self._answer:
            if not end.send(FILE, self._answer):
                return False
            self._answer = b""
            queued = True
        file = self._file
        part = self._part
        if file is None or part is None:
            return queued
        while self._offset < file.size:
            left = file.size - self._offset + PART_HEADER
            length = min(left, end.advised(FILE))
            if length <= PART_HEADER or end.room(FILE) < length:
                return queued
            read = file.read(self._offset, part, PART_HEADER, length - PART_HEADER)
            if read <= 0:
                self._none(-read or OTHER_FILE)
                return self.pump() or queued
            self._write_header(part)
            end.send(FILE, part, PART_HEADER + read)
            self._offset += read
            queued = True
        self._file = self._part = None
        return queued

    def _get(self, offset: int, digest: bytes) -> None:
        file = self._find(self._asked)
        if isinstance(file, int):
            self._none(file)
        elif digest not in (ANY_FILE, file.sha256):
            self._none(OTHER_FILE)
        elif offset > file.size:
            self._none(BEHIND_END)
        else:
            self._file = file
            self._part = bytearray(MAX_FRAME)
            self._offset = offset
            self._answer = struct.pack(
                ">BBII32sI",
                FILE_INFO,
                self._asked,
                file.number,
                file.size,
                file.sha256,
                offset,
            )

    def _none(self, reason: int) -> None:
        self._file = self._part = None
        self._answer = bytes((NONE, self._asked, reason))

    def _write_header(self, part: bytearray) -> None:
        offset = self._offset
        part[0] = PART
        part[1] = offset >> 24 & 0xFF
        part[2] = offset >> 16 & 0xFF
        part[3] = offset >> 8 & 0xFF
        part[4] = offset & 0xFF
