"""The line port of the stand-in: as ``LinePort.cs`` delivers, and no better.

Machine and outside meet once in a quantum. What comes from the bench is planned there; a byte then
reaches the node at its virtual time, and what the node sends leaves at the next meeting, with the
time at which it was sent.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hil.errors import WireError
from hil.renode.fake.clock import FakeClock
from hil.wires.line_port_codec import (
    Decoder,
    Delivered,
    Message,
    Now,
    Retract,
    Sent,
    Ticks,
    TimedPiece,
    encode,
)

#: Of the host, between two looks whether a quantum has passed.
_LOOK_S: Final = 0.0005
_CHUNK: Final = 65536

Heard = Callable[[bytes, int], None]


def ignore(_data: bytes, _at_us: int) -> None:
    """Hear nothing."""


def _time(entry: tuple[int, int]) -> int:
    return entry[0]


@dataclass(slots=True)
class _Planned:
    piece: TimedPiece
    begin_us: int
    until_us: int = 1 << 63
    done: int = 0
    passed: int = 0
    first_us: int = 0
    last_us: int = 0


class FakePort:
    """A port that listens at ``path``; the node behind it is given to :meth:`listen`."""

    def __init__(self, path: Path, clock: FakeClock) -> None:
        self._clock = clock
        self._heard: Heard = ignore
        self._lock = threading.RLock()
        self._asked: list[_Planned] = []
        self._planned: list[_Planned] = []
        self._sent: list[tuple[int, int]] = []
        self._free_us = self._planned_us = 0
        self._every_us = self._ticked_us = 0
        self._met_us = 0
        self._peer: socket.socket | None = None
        self._closed = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(1)
        for serve in (self._serve, self._meet):
            threading.Thread(target=serve, daemon=True).start()

    def listen(self, heard: Heard) -> None:
        """Give each byte that reaches the UART, with its time, to ``heard``."""
        self._heard = heard

    def now_us(self) -> int:
        """Return the time that the node has reached."""
        return max(self._met_us, int(self._clock.now_s() * 1e6))

    def send(self, data: bytes, at_us: int | None = None) -> None:
        """Take what the node sends, all at once."""
        at_us = self.now_us() if at_us is None else at_us
        with self._lock:
            self._sent = sorted([*self._sent, *((at_us, byte) for byte in data)], key=_time)

    def close(self) -> None:
        """Close the port, as an emulation that is cleared does."""
        self._closed.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._hang_up()

    def _hang_up(self) -> None:
        peer, self._peer = self._peer, None
        if peer is not None:
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)
            peer.close()

    # --- from the bench -----------------------------------------------------------------------

    def _serve(self) -> None:
        while not self._closed.is_set():
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            self._peer = peer
            decoder = Decoder()
            with contextlib.suppress(OSError, WireError):
                while data := peer.recv(_CHUNK):
                    for message in decoder.feed(data):
                        self._take(message)
            self._hang_up()
            self._take(Retract())
            self._take(Ticks(0))

    def _take(self, message: Message) -> None:
        with self._lock:
            match message:
                case TimedPiece():
                    self._asked.append(_Planned(message, 0))
                case Retract(from_us):
                    for planned in (*self._asked, *self._planned):
                        planned.until_us = min(planned.until_us, from_us)
                    self._free_us -= max(0, self._planned_us - from_us)
                    self._planned_us = min(self._planned_us, from_us)
                    if from_us == 0:
                        self._sent.clear()
                case Ticks(every_us):
                    self._every_us = every_us
                case _:
                    raise WireError(f"expected a message to the port, got {message!r}")

    # --- once in a quantum --------------------------------------------------------------------

    def _meet(self) -> None:
        while not self._closed.wait(_LOOK_S):
            quantum_us = max(1, round(self._clock.quantum_s * 1e6))
            now_us = int(self._clock.now_s() * 1e6) // quantum_us * quantum_us
            if now_us > self._met_us:
                self._pass(now_us)
                with self._lock:
                    self._met_us = now_us
                    self._plan(now_us)
                    self._pour(now_us)

    def _pass(self, now_us: int) -> None:
        """Let the node hear what was due since the last meeting."""
        due: list[tuple[int, bytes]] = []
        with self._lock:
            for planned in list(self._planned):
                piece = planned.piece
                while planned.done < len(piece.data):
                    at_us = planned.begin_us + piece.offsets_us[planned.done]
                    if at_us > now_us:
                        break
                    if piece.due_us + piece.offsets_us[planned.done] < planned.until_us:
                        due.append((at_us, piece.data[planned.done : planned.done + 1]))
                        planned.first_us = planned.first_us or at_us
                        planned.last_us = at_us
                        planned.passed += 1
                    planned.done += 1
                if planned.done == len(piece.data):
                    self._planned.remove(planned)
                    self._send(
                        Delivered(piece.number, planned.first_us, planned.last_us, planned.passed)
                    )
        for at_us, byte in sorted(due, key=lambda entry: entry[0]):
            self._heard(byte, at_us)

    def _plan(self, now_us: int) -> None:
        for planned in self._asked:
            piece = planned.piece
            length_us = piece.offsets_us[-1]
            pause_us = max(0, piece.due_us - self._planned_us) if piece.due_us else piece.gap_us
            earliest_us = self._free_us + min(pause_us, piece.gap_us)
            planned.begin_us = max(now_us + 1, piece.due_us, earliest_us)
            length_us = max(0, min(length_us, planned.until_us - piece.due_us))
            if piece.due_us:
                self._planned_us = piece.due_us + length_us
            self._free_us = planned.begin_us + length_us
            self._planned.append(planned)
        self._asked.clear()

    def _pour(self, now_us: int) -> None:
        # Nodes of the stand-in boot at once, maybe before the bench's connection is accepted.
        ready = [entry for entry in self._sent if entry[0] <= now_us] if self._peer else []
        self._sent = self._sent[len(ready) :]
        if ready:
            self._send(Sent(ready[0][0], ready[-1][0], bytes(byte for _, byte in ready)))
        if self._every_us and now_us - self._ticked_us >= self._every_us:
            self._ticked_us = now_us
            self._send(Now(now_us))

    def _send(self, message: Message) -> None:
        peer = self._peer
        if peer is not None:
            with contextlib.suppress(OSError):
                peer.sendall(encode(message))
