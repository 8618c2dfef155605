"""Decides which writes a node takes: plain ones until it has a key, from then on signed ones.

See :mod:`protocols.wire.signed_write`. Reading what this shows allocates nothing; checking a tag
does, as sealing a frame does, and leaves nothing behind.
"""

import os
import struct

from micropython import const

from protocols.wire.hmac import equal
from protocols.wire.registers import EVENT_WRITE_REFUSED, STATUS_WRITE_REFUSED
from protocols.wire.sample import TAG_BYTES
from protocols.wire.signed_write import tag

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from .epoch import BootEpoch
    from .events import Events
    from .identity import NodeKey

_HEAD = const(10)
_REPORT_MS = const(60000)  # between two events: a flood of writes must not flush the event queue
_COUNT = const(0x3FFFFFFF)


class WriteGuard:
    """``shown`` are the registers from COMMISSIONED_ADDRESS on, big endian.

    ``unit`` and ``uid`` are the node's.
    """

    def __init__(self, unit: int, uid: bytes, key: "NodeKey", epoch: "BootEpoch") -> None:
        self.unit = unit
        self.uid = uid
        self._mac = key.mac
        self.commissioned = key.mac is not None
        self.refused = 0
        self._reported = 0
        self._report_ms = 0
        self._epoch = epoch.value
        # Without a medium the next boot may have the same epoch: then chance keeps counters apart.
        self._number = 0 if epoch.stored else struct.unpack(">I", os.urandom(4))[0] >> 3
        self.shown = bytearray(12)
        self._show()

    def _show(self) -> None:
        refused = min(self.refused, 0xFFFF)
        struct.pack_into(
            ">HIIH", self.shown, 0, self.commissioned, self._epoch, self._number, refused
        )

    def accepts(self, data: bytearray, at: int, end: int) -> bool:
        """Return whether ``data[at:end]`` is a signed block whose turn it is; it is used up then.

        Anything else is counted.
        """
        mac = self._mac
        signed = bytes(data[at : end - TAG_BYTES])
        if (
            mac is not None
            and signed[: _HEAD - 2] == self.shown[2:10]
            and equal(tag(mac, self.unit, self.uid, signed), data[end - TAG_BYTES : end])
        ):
            self._number = (self._number + 1) & _COUNT
            self._show()
            return True
        self.refuse()
        return False

    def refuse(self) -> None:
        """Count a write that was refused."""
        self.refused = (self.refused + 1) & _COUNT
        self._show()

    def status(self) -> int:
        """Return STATUS_WRITE_REFUSED once a write was refused."""
        return STATUS_WRITE_REFUSED if self.refused else 0

    def report(self, events: "Events", now_ms: int) -> None:
        """Raise an event if writes were refused since the last one, at most one a minute."""
        if self.refused != self._reported and (
            not self._reported or now_ms - self._report_ms >= _REPORT_MS
        ):
            self._reported = self.refused
            self._report_ms = now_ms
            events.push(EVENT_WRITE_REFUSED, self.refused & 0xFFFF, now_ms)
