"""A UART of a node on Renode as a wire: the bench's end of a ``LinePort.cs``.

What is written goes to the node in pieces, byte after byte at the UART's speed in virtual time, and
no piece is sent before there is room for it. What the node sends comes with its virtual time, which
:class:`RenodeLine` keeps for the line.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from hil.errors import WireError
from hil.wires.descriptor import TX_LIMIT, DescriptorWire
from hil.wires.line_port_codec import (
    MAX_PIECE,
    Decoder,
    Delivered,
    Now,
    Retract,
    Sent,
    Ticks,
    TimedPiece,
    ToBench,
    ToPort,
    encode,
)
from hil.wires.virtual_clock import VirtualClock

#: Pieces on their way at a time: one that the node receives, and one that waits behind it.
_UNDER_WAY: Final = 2
#: The port reads at all times; if this much waits for it in the kernel and here, it has ended.
_STREAM_LIMIT: Final = 1 << 20
_BITS: Final = 10
#: What the bench needs to see a time and to have its bytes at the port, and how often it looks.
_MARGIN_US: Final = 4000
_TICK_US: Final = 2000


class RenodeUart:
    """A UART at ``baud``. ``tx_limit`` bounds what waits here, in bytes.

    It begins disconnected, and is so again when Renode has ended: what is written then is lost and
    counted in ``overrun``. A node that is off receives nothing either: see :meth:`power`.
    """

    def __init__(self, baud: int, tx_limit: int = TX_LIMIT) -> None:
        self._byte_us = round(_BITS * 1e6 / baud)
        self._tx_limit = tx_limit
        self._stream = DescriptorWire(tx_limit=_STREAM_LIMIT)
        self._stream.listen(self._received)
        self._decoder = Decoder()
        self._waiting = bytearray()
        self._pieces: set[int] = set()
        self._number = 0
        self._on = False
        self._on_data: Callable[[bytes], None] | None = None
        self.overrun = 0

    def connect(self, path: Path) -> None:
        """Connect to the port that listens there, in the running event loop. OSError."""
        self.disconnect()
        port = socket.socket(socket.AF_UNIX)
        try:
            port.connect(str(path))
        except OSError:
            port.close()
            raise
        self._decoder = Decoder()
        self._stream.attach(port.detach())

    def power(self, on: bool) -> None:
        """Note whether the node has power; without, it receives nothing, and what waits is lost."""
        self._on = on
        if not on:
            self.flush()

    def receives(self) -> bool:
        """Return whether there is a node to receive bytes."""
        return self._on and self._stream.connected

    def listen(self, on_data: Callable[[bytes], None]) -> None:
        """Call ``on_data`` from the running event loop with what the node sends."""
        self._on_data = on_data

    def write(self, data: bytes) -> int:
        """Send to the node; return how many bytes were taken, the rest is in ``overrun``."""
        kept = data[: self._tx_limit - len(self._waiting)] if self.receives() else b""
        self._waiting += kept
        self.overrun += len(data) - len(kept)
        self._send_waiting()
        return len(kept)

    def pending(self) -> int:
        """Return how many bytes wait here."""
        return len(self._waiting)

    def flush(self) -> None:
        """Drop what waits here and at the port, and what the node sent before."""
        self._waiting.clear()
        self._pieces.clear()
        self._message(Retract())

    def disconnect(self) -> None:
        """Release the port, and forget what waits for it."""
        self._stream.disconnect()
        self._waiting.clear()
        self._pieces.clear()

    def close(self) -> None:
        """Disconnect for good; further calls do nothing."""
        self.disconnect()
        self._stream.close()

    # --- messages -----------------------------------------------------------------------------

    def _message(self, message: ToPort) -> None:
        if not self._stream.connected:
            return
        raw = encode(message)
        if self._stream.write(raw) < len(raw):
            self.disconnect()  # half a message would be worse

    def _piece(self, due_us: int, gap_us: int, offsets_us: Sequence[int], data: bytes) -> int:
        self._number = (self._number + 1) & 0xFFFF_FFFF
        self._message(TimedPiece(self._number, due_us, gap_us, offsets_us, data))
        return self._number

    def _send_waiting(self) -> None:
        while self._waiting and len(self._pieces) < _UNDER_WAY:
            data = bytes(self._waiting[:MAX_PIECE])
            del self._waiting[: len(data)]
            offsets = [self._byte_us * (index + 1) for index in range(len(data))]
            self._pieces.add(self._piece(0, 0, offsets, data))

    def _received(self, data: bytes) -> None:
        try:
            for message in self._decoder.feed(data):
                if isinstance(message, ToBench):
                    self._take(message)
        except WireError as error:
            self.disconnect()
            asyncio.get_running_loop().call_exception_handler(
                {"message": "the port of a UART on Renode sent no message", "exception": error}
            )

    def _take(self, message: ToBench) -> None:
        match message:
            case Sent(data=data):
                self._take_sent(message.first_us, data)
            case Delivered(number=number):
                self._pieces.discard(number)
                self._send_waiting()
            case Now():
                pass

    def _take_sent(self, _first_us: int, data: bytes) -> None:
        if self._on_data is not None:
            self._on_data(data)


class RenodeLine(RenodeUart):
    """The UART of the RS-485 line, for a line in virtual time that goes by ``clock``.

    ``gap_us`` is the silence that the node needs between two frames; a piece that was late delays
    no more than that. ``quantum_us`` is the emulation's. ``late`` counts pieces that came too late
    for their time, ``late_us`` is the longest delay.
    """

    def __init__(self, baud: int, clock: VirtualClock, gap_us: int, quantum_us: int) -> None:
        super().__init__(baud)
        self._clock = clock
        self._gap_us = gap_us
        self._tick_us = max(_TICK_US, quantum_us)
        #: See :class:`hil.wires.wire.TimedWire`.
        self.lag_ns = 1000 * (_MARGIN_US + 2 * max(quantum_us, 1000))
        self._lead_us = 0
        self.late = 0
        self.late_us = 0
        #: Called with the seconds of virtual time whenever the port shows it.
        self.on_time: Callable[[float], None] | None = None
        self._due_us: dict[int, int] = {}
        self._on_timed: Callable[[bytes, int], None] | None = None

    def connect(self, path: Path) -> None:
        """Connect to the port that listens there, in the running event loop. OSError."""
        super().connect(path)
        self._message(Ticks(self._tick_us))

    def set_paced(self, paced: bool) -> None:
        """Note whether the UART's model itself takes the time of a byte: it gets it as long before
        the node receives it.
        """
        self._lead_us = self._byte_us if paced else 0

    def listen_timed(self, on_data: Callable[[bytes, int], None]) -> None:
        """Call ``on_data`` with what the node sends and the time (ns) at which it began to."""
        self._on_timed = on_data

    def announce(self, data: bytes, times: Sequence[int]) -> None:
        """Send bytes to the node, each ``lag_ns`` after its time."""
        if not self.receives():
            self.overrun += len(data)
            return
        dues = [(time + self.lag_ns) // 1000 - self._lead_us for time in times]
        for start in range(0, len(data), MAX_PIECE):
            first = dues[start]
            part = data[start : start + MAX_PIECE]
            offsets = [due - first for due in dues[start : start + MAX_PIECE]]
            self._due_us[self._piece(first, self._gap_us, offsets, part)] = first

    def retract(self, after: int) -> None:
        """Take back the bytes that would have passed after that time."""
        self._message(Retract((after + self.lag_ns) // 1000 + 1 - self._lead_us))

    def power(self, on: bool) -> None:
        """Note whether the node has power; the line does not wait for one that has none."""
        super().power(on)
        if not on:
            self._clock.leave(self)

    def flush(self) -> None:
        """Drop what waits here and at the port, and what the node sent before."""
        self._due_us.clear()
        super().flush()

    def disconnect(self) -> None:
        """Release the port, and forget what waits for it."""
        self._clock.leave(self)
        self._due_us.clear()
        super().disconnect()

    def _take(self, message: ToBench) -> None:
        match message:
            case Now(now_us):
                if self.on_time is not None:
                    self.on_time(now_us / 1e6)
                if self._on:
                    self._clock.reached(self, 1000 * now_us)
            case Delivered(number, begin_us) if number in self._due_us:
                late_us = begin_us - self._due_us.pop(number)
                if late_us > 0 and message.count:
                    self.late += 1
                    self.late_us = max(self.late_us, late_us)
            case _:
                super()._take(message)

    def _take_sent(self, first_us: int, data: bytes) -> None:
        if self._on_timed is not None:
            self._on_timed(data, 1000 * first_us)
        else:
            super()._take_sent(first_us, data)
