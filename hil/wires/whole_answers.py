"""Answers of a node that pass on whole, for lines whose emulator hands them over byte by byte.

An emulator sends a byte whenever its thread has the CPU: pauses inside an answer, which on a real
line would end the frame for every other node.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ClassVar, Final

from hil.wires.descriptor import DescriptorWire
from protocols.wire.modbus.adu import MAX_FRAME, answer_length

#: An emulator that has a CPU makes no longer pause in an answer.
HOLD_S: Final = 0.1


class AnswerBuffer:
    """Holds the bytes of an answer until it is whole, then passes them to ``on_answer``.

    An answer that does not end is passed on after ``hold_s``.
    """

    def __init__(self, on_answer: Callable[[bytes], None], hold_s: float = HOLD_S) -> None:
        self._on_answer = on_answer
        self._hold_s = hold_s
        self._begun = bytearray()
        self._hold: asyncio.TimerHandle | None = None

    def feed(self, data: bytes) -> None:
        """Take bytes of the node, in the running event loop."""
        begun = self._begun
        begun += data
        self._stop_hold()
        if len(begun) >= (answer_length(begun, len(begun)) or MAX_FRAME):
            self._pass_on()
        else:
            self._hold = asyncio.get_running_loop().call_later(self._hold_s, self._pass_on)

    def _pass_on(self) -> None:
        self._hold = None
        data = bytes(self._begun)
        self._begun.clear()
        self._on_answer(data)

    def _stop_hold(self) -> None:
        if self._hold is not None:
            self._hold.cancel()
            self._hold = None

    def forget(self) -> None:
        """Drop an answer that does not end because the node has lost its power."""
        self._stop_hold()
        self._begun.clear()


class WholeAnswers(DescriptorWire):
    """A wire, mixed into one for a line, whose listener gets every answer of the node whole."""

    #: How long a pause inside an answer may be, in seconds.
    hold_s: ClassVar[float] = HOLD_S
    _answers: AnswerBuffer | None = None

    def listen(self, on_data: Callable[[bytes], None]) -> None:
        """Call ``on_data`` with every answer of the node, whole."""
        self._answers = AnswerBuffer(on_data, self.hold_s)
        super().listen(self._answers.feed)

    def forget(self) -> None:
        """Drop what the node, which has lost its power, began to send."""
        if self._answers is not None:
            self._answers.forget()

    def disconnect(self) -> None:
        """Release the far end, and forget what waits in either direction."""
        self.forget()
        super().disconnect()
