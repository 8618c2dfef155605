"""What the clients of serial lines share: the bytes that came since the request was sent.

A line has no connection and its frames no ids, so what came before a request can be no answer to
it, and noise may come for ever.
"""

from abc import ABC, abstractmethod

from protocols.modbus_client.client import Unexpected
from protocols.modbus_client.request import Request


class LineClient(ABC):
    """The state of a client for one kind of frames, which :meth:`_frame` makes."""

    def __init__(self, max_buffer: int) -> None:
        """Keep at most ``max_buffer`` bytes of what came, whatever comes."""
        self.unexpected = Unexpected()
        self._max_buffer = max_buffer
        self._buffer = bytearray()
        self._request: Request | None = None  # None: IDLE

    def send(self, request: Request) -> bytes:
        """See :class:`.client.ModbusClient`. What came before is forgotten."""
        self.unexpected = Unexpected()
        self._buffer = bytearray()
        self._request = request
        return self._frame(request)

    @abstractmethod
    def _frame(self, request: Request) -> bytes:
        """Return the bytes to send."""

    def _cap(self) -> int:
        """Forget the oldest bytes if there are too many: they are noise; return how many."""
        over = len(self._buffer) - self._max_buffer
        if over > 0:
            del self._buffer[:over]
            self.unexpected.noise_bytes += over
        return max(0, over)
