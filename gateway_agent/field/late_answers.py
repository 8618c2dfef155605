"""The answers that units have not given yet and may still give, on a line without transaction ids.

A unit that did not answer in time may answer later, in the middle of the next request. Its answer
looks like any other of the same shape. So what is still pending is kept here: an answer of a
pending shape is late, and nothing of that shape may be asked for again before it is settled, or
before so much time has passed that it will not come any more. The latter always ends, so a unit
that answers one shape only is read again too.
"""

import math
from collections.abc import Sequence
from typing import Final

from protocols.modbus_client import VARIABLE, AnswerShape, Request
from protocols.wire.modbus.pdu import EXCEPTION

LATEST_S: Final = 30.0  # an answer later than this is not waited for any more


class LateAnswers:
    """Shapes of pending answers by unit, in the order of their requests, each with a time.

    Times are seconds of any clock that does not go back.
    """

    def __init__(self) -> None:
        self._pending: dict[int, list[tuple[AnswerShape, float]]] = {}

    def __bool__(self) -> bool:
        return bool(self._pending)

    def add(self, shape: AnswerShape, now: float) -> None:
        """Note that the request for an answer of this shape was given up at ``now``."""
        self._keep(shape.unit, [*self._of(shape.unit, now), (shape, now)])

    def answered(self, shape: AnswerShape, asked: float, is_refusal: bool = False) -> None:
        """Note an answer to the request for this shape that was made at ``asked``.

        Units answer in order: nothing older will come. But an exception looks the same for every
        request of its function, so it may be the answer to the first of these that is pending; then
        this request's own answer is pending instead.
        """
        pending = self._of(shape.unit, asked)
        left = [item for item in pending if item[1] > asked]  # asked for by another master
        for index, (old, since) in enumerate(pending):
            if old == shape or (is_refusal and old.function == shape.function):
                left = [*pending[index + 1 :], (shape, since)]
                break
        self._keep(shape.unit, left)

    def is_pending(self, shape: AnswerShape, now: float) -> bool:
        """Return whether an answer of this shape may still come at ``now``."""
        if shape.unit not in self._pending:
            return False
        pending = self._of(shape.unit, now)
        self._keep(shape.unit, pending)
        return any(old == shape for old, _ in pending)

    def least_likely(self, requests: Sequence[Request], now: float) -> Request:
        """Return the first request whose answer is not pending, else that pending for longest."""
        newest = dict(self._of(requests[0].shape.unit, now))
        return min(requests, key=lambda request: newest.get(request.shape, -math.inf))

    def take(self, shape: AnswerShape) -> bool:
        """Return whether a frame of this shape is a pending answer; if so, it has come."""
        pending = self._pending.get(shape.unit, [])
        for index, (old, _) in enumerate(pending):
            if old.function == shape.function & ~EXCEPTION and (
                old == shape
                or shape.function & EXCEPTION
                or VARIABLE in (old.data_bytes, shape.data_bytes)
            ):
                self._keep(shape.unit, pending[:index] + pending[index + 1 :])
                return True
        return False

    def _of(self, unit: int, now: float) -> list[tuple[AnswerShape, float]]:
        """Return what is pending of a unit and may still come."""
        return [item for item in self._pending.get(unit, ()) if now - item[1] <= LATEST_S]

    def _keep(self, unit: int, pending: list[tuple[AnswerShape, float]]) -> None:
        if pending:
            self._pending[unit] = pending
        else:
            self._pending.pop(unit, None)
