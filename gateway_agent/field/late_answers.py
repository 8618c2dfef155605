"""The answers that units have not given yet and may still give, on a line without transaction ids.

A unit that did not answer in time may answer later, in the middle of the next request. Its answer
looks like any other of the same shape. So what is still pending is kept here: an answer of a
pending shape is late, and nothing of that shape may be asked for again before it is settled, or
before so much time has passed that it will not come any more. The latter always ends, so a unit
that answers one shape only is read again too.
"""

from collections.abc import Sequence
from typing import Final

from protocols.modbus_client import VARIABLE, AnswerShape, Request
from protocols.wire.modbus.pdu import EXCEPTION

LATEST_S: Final = 30.0  # an answer later than this is not waited for any more


class LateAnswers:
    """Shapes of pending answers by unit, each with the time its request was given up.

    Times are seconds of any clock that does not go back.
    """

    def __init__(self) -> None:
        self._pending: dict[int, dict[AnswerShape, float]] = {}

    def __bool__(self) -> bool:
        return bool(self._pending)

    def add(self, shape: AnswerShape, now: float) -> None:
        """Note that the request for an answer of this shape was given up at ``now``."""
        self._pending.setdefault(shape.unit, {})[shape] = now

    def answered(self, shape: AnswerShape, now: float, is_refusal: bool = False) -> None:
        """Note the answer to a request for this shape. Units answer in order: nothing older comes.

        An exception looks the same for every request of its function, so it may be the answer to
        the first of these that is pending; then this request's own answer is pending instead.
        """
        pending = self._pending.pop(shape.unit, {})
        older = iter(list(pending.items()))
        for old, since in older:
            if old == shape or (is_refusal and old.function == shape.function):
                left = {shape: since} if now - since <= LATEST_S else {}
                left = dict(older) | left
                if left:
                    self._pending[shape.unit] = left
                return

    def is_pending(self, shape: AnswerShape, now: float) -> bool:
        """Return whether an answer of this shape may still come at ``now``."""
        pending = self._pending.get(shape.unit)
        if not pending:
            return False
        for old in [old for old, since in pending.items() if now - since > LATEST_S]:
            del pending[old]
        return shape in pending

    def least_likely(self, requests: Sequence[Request], now: float) -> Request:
        """Return the first request whose answer is not pending, else that pending for longest."""
        for request in requests:
            if not self.is_pending(request.shape, now):
                return request
        pending = self._pending[requests[0].shape.unit]
        return min(requests, key=lambda request: pending[request.shape])

    def take(self, shape: AnswerShape) -> bool:
        """Return whether a frame of this shape is a pending answer; if so, it has come."""
        pending = self._pending.get(shape.unit, {})
        for old in pending:
            if old.function == shape.function & ~EXCEPTION and (
                old == shape
                or shape.function & EXCEPTION
                or VARIABLE in (old.data_bytes, shape.data_bytes)
            ):
                del pending[old]
                return True
        return False
