"""The files that a node sends over the serial link: its last picture, its log, its last fault.

A picture leaves only while the setting ``image_export`` is on, which is asked again for each part,
and that it was asked for and that it was sent are events. It is held while it is sent. If the
session ends meanwhile it stays held for a minute, so that the other end can go on at any byte.
"""

import hashlib
import json

from micropython import const

from protocols.wire.link.messages import (
    FAULT_RECORD,
    FILE,
    NO_FILE,
    NODE_LOG,
    NOT_ALLOWED,
    PICTURE,
)
from protocols.wire.registers import EVENT_IMAGE_ASKED, EVENT_IMAGE_REFUSED, EVENT_IMAGE_SENT

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from protocols.wire.link.node import NodeEnd

    from .link_log import LogLines
    from .ports import LinkedNode, Picture

_HOLD_MS = const(60000)
_REPORT_MS = const(60000)  # between two events of refusals: they must not flush the event queue
_FAULT_FIELDS = ("last_fault", "text", "pc", "lr", "cfsr", "address", "uptime_ms")


class Content:
    """A file of bytes that nobody changes."""

    def __init__(self, number: int, content: bytes | memoryview, sha256: bytes) -> None:
        self.number = number
        self.size = len(content)
        self.sha256 = sha256
        self._view = memoryview(content)

    def read(self, offset: int, out: bytearray, at: int, count: int) -> int:
        """Read up to ``count`` bytes into ``out[at:]``; return how many."""
        part = self._view[offset : offset + count]
        out[at : at + len(part)] = part
        return len(part)


class HeldPicture(Content):
    """The picture of ``files`` while it is held."""

    def __init__(self, files: "LinkFiles", image: "Picture") -> None:
        Content.__init__(
            self, image.number, memoryview(image.data)[: image.length], bytes(image.sha)
        )
        self._files = files

    def read(self, offset: int, out: bytearray, at: int, count: int) -> int:
        """Read as the base does, while images may leave."""
        if not self._files.may_send():
            return -NOT_ALLOWED
        count = Content.read(self, offset, out, at, count)
        self._files.was_read(offset + count == self.size)
        return count


class LinkFiles:
    """Finds what is asked for, and notes what became of it."""

    def __init__(self, node: "LinkedNode", log: "LogLines") -> None:
        self._node = node
        self._log = log
        self._image: Picture | None = node.role.image
        self._asked = 0  # the picture that an event says is asked for and none says is sent
        self._read_ms = 0
        self._whole = False  # its last byte was given to this session
        self._refused = 0
        self._refused_ms = -_REPORT_MS

    def find(self, file: int) -> "Content | int":
        """Return a file, or the reason why there is none; a picture is held from here on."""
        if file == PICTURE and self._image is not None:
            return self._picture(self._image)
        content = b""
        number = 0
        if file == NODE_LOG:
            content = self._log.text()
            number = self._log.count
        elif file == FAULT_RECORD:
            content = self._fault()
            number = self._node.epoch.value
        if not content:
            return NO_FILE
        return Content(number, content, hashlib.sha256(content).digest())

    def may_send(self) -> bool:
        """Return whether images may leave the node now."""
        return bool(self._node.config.get("image_export"))

    def was_read(self, whole: bool) -> None:
        """Note that a part of the picture was given to the link."""
        self._read_ms = self._node.uptime.ms()
        self._whole = whole
        if whole and self._asked:
            self._node.events.push(EVENT_IMAGE_SENT, self._asked & 0xFFFF, self._read_ms)
            self._asked = 0

    def broken_off(self) -> None:
        """Note that the session has ended, and what was under way in it is lost."""
        self._whole = False

    def let_go(self, end: "NodeEnd", now_ms: int) -> None:
        """Let the camera replace the picture once it has arrived, or nobody wants the rest."""
        image = self._image
        if image is None or not image.held:
            return
        arrived = self._whole and not end.waiting(FILE)
        if arrived or now_ms - self._read_ms >= _HOLD_MS:
            image.held = False

    def _picture(self, image: "Picture") -> "Content | int":
        now = self._node.uptime.ms()
        if not self.may_send():
            self._refused = (self._refused + 1) & 0xFFFF
            if now - self._refused_ms >= _REPORT_MS:
                self._refused_ms = now
                self._node.events.push(EVENT_IMAGE_REFUSED, self._refused, now)
            return NOT_ALLOWED
        if not image.number:
            return NO_FILE
        image.held = True
        self._whole = False
        self._read_ms = now
        if image.number != self._asked:
            self._asked = image.number
            self._node.events.push(EVENT_IMAGE_ASKED, image.number & 0xFFFF, now)
        return HeldPicture(self, image)

    def _fault(self) -> bytes:
        fault = self._node.board.last_fault()
        if fault is None:
            return b""
        return json.dumps(dict(zip(_FAULT_FIELDS, fault))).encode()
