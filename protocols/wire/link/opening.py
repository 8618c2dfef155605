"""The frames that open a session: those to send, and how many that come are answered.

Anybody can send them, so of each type only a few a second cost a hash or an answer.
"""

from micropython import const

from .frame import REFUSE

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from protocols.wire.ports import TicksDiff

_ANSWERED = const(4)  # of one type in a second
_SECOND_MS = const(1000)


class OpeningFrames:
    """At most one payload of each type waits to be sent: the newest."""

    def __init__(self, diff: "TicksDiff") -> None:
        self._diff = diff
        self._payloads: list[bytes | None] = [None] * (REFUSE + 1)
        self._came = bytearray(REFUSE + 1)  # in this second
        self._second_ms = 0

    def put(self, kind: int, payload: "bytes | None") -> None:
        """Let a payload be sent; None: not any more."""
        self._payloads[kind] = payload

    def due(self) -> int:
        """Return the type of the next frame to send; 0 if there is none."""
        for kind in range(1, REFUSE + 1):
            if self._payloads[kind] is not None:
                return kind
        return 0

    def take(self, kind: int) -> bytes:
        """Return the payload of a frame that is sent now."""
        payload = self._payloads[kind] or b""
        self._payloads[kind] = None
        return payload

    def too_many(self, kind: int, now_ms: int) -> bool:
        """Count a frame that came; True if it is one too many in this second."""
        came = self._came
        if self._diff(now_ms, self._second_ms) >= _SECOND_MS:
            self._second_ms = now_ms
            for index in range(len(came)):
                came[index] = 0
        if came[kind] == _ANSWERED:
            return True
        came[kind] += 1
        return False
