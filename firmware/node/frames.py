"""Sample and event frames in two buffers each: one is shown, the other is filled.

A frame is written into the hidden buffer, sealed, and shown by storing one number. Whoever reads
``shown()`` therefore holds a whole frame with a tag that fits, whatever was interrupted when.
"""

from micropython import const

from protocols.wire.registers import EVENT_MAP_ID, EVENT_MAP_VERSION, EVENT_WORDS
from protocols.wire.sample import pack_events, pack_header, pack_values, seal

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from protocols.wire.registers import RegisterMap

    from .events import Events
    from .identity import NodeKey
    from .reading import Reading


class Frame:
    """Two buffers of ``size`` bytes and what every envelope needs."""

    def __init__(self, size: int, epoch: int, uid: bytes, key: "NodeKey") -> None:
        self.buffers = (bytearray(size), bytearray(size))
        self.front = 0
        self._epoch = epoch
        self._uid = uid
        self._key = key

    def shown(self) -> bytearray:
        """Return the frame a master sees. Allocates nothing."""
        return self.buffers[self.front]

    def _show(self, buf: bytearray) -> None:
        seal(buf, self._key.key_id, self._key.mac, self._uid)
        self.front = 1 - self.front


class SampleFrame(Frame):
    """The sample frame of one role. Sequence 0 is shown from boot to the first sample."""

    def __init__(self, map: "RegisterMap", epoch: int, uid: bytes, key: "NodeKey") -> None:
        Frame.__init__(self, 2 * map.words, epoch, uid, key)
        self.map = map
        # Figures of each buffer change hands with it, so they always belong to what is shown.
        self._seq = [0, 0]
        self._readings = [0, 0]

    @property
    def seq(self) -> int:
        """Count the samples since boot."""
        return self._seq[self.front]

    @property
    def readings(self) -> int:
        """Count the valid values in all samples since boot."""
        return self._readings[self.front]

    def show_empty(self, reading: "Reading", status: int, event_seq: int) -> None:
        """Show the frame before the first sample: sequence 0, time 0."""
        self._fill(0, reading, 0, status, event_seq)

    def show(self, reading: "Reading", t_boot_ms: int, status: int, event_seq: int) -> None:
        """Show a graded reading as the next sample."""
        self._fill(self._seq[self.front] + 1, reading, t_boot_ms, status, event_seq)

    def _fill(
        self, seq: int, reading: "Reading", t_boot_ms: int, status: int, event_seq: int
    ) -> None:
        map = self.map
        back = 1 - self.front
        buf = self.buffers[back]
        pack_header(buf, map.map_id, map.version, self._epoch, seq, t_boot_ms, status, event_seq)
        pack_values(map, buf, reading.quality, reading.raw)
        self._seq[back] = seq
        self._readings[back] = self._readings[self.front] + reading.valid
        self._show(buf)


class EventFrame(Frame):
    """The event frame; shown anew at every event."""

    def __init__(self, epoch: int, uid: bytes, key: "NodeKey") -> None:
        Frame.__init__(self, 2 * EVENT_WORDS, epoch, uid, key)

    def show(self, events: "Events", t_boot_ms: int, status: int) -> None:
        """Show what the queue holds now."""
        buf = self.buffers[1 - self.front]
        count = events.count
        pack_header(
            buf, EVENT_MAP_ID, EVENT_MAP_VERSION, self._epoch, count, t_boot_ms, status, count
        )
        pack_events(buf, count, events.slots())
        self._show(buf)
