"""The event queue: the last ``EVENT_SLOTS`` events since boot, numbered from 1."""

from array import array

from micropython import const

from protocols.wire.errors import BAD_VALUE, LocalError
from protocols.wire.registers import EVENT_SLOTS, STATUS_EVENTS_LOST

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable


class Events:
    """A ring in fixed memory. ``count`` is the number of events since boot."""

    def __init__(self) -> None:
        self.count = 0
        self.on_push: Callable[[], None] | None = None
        self._codes = array("H", bytes(2 * EVENT_SLOTS))
        self._args = array("H", bytes(2 * EVENT_SLOTS))
        self._times = array("I", bytes(4 * EVENT_SLOTS))

    def push(self, code: int, arg: int, t_boot_ms: int) -> None:
        """Add an event: code 1 to 65535 (an EVENT of the register map), arg 0 to 65535.

        ``t_boot_ms`` is the time since boot and wraps at 32 bits. LocalError for an empty code or
        a number that does not fit: the frame would carry another event than the one that was.
        """
        if not 0 < code <= 0xFFFF:
            raise LocalError(BAD_VALUE, "event code", -1, "1 to 65535", code)
        if not 0 <= arg <= 0xFFFF:
            raise LocalError(BAD_VALUE, "event argument", -1, "0 to 65535", arg)
        slot = self.count % EVENT_SLOTS
        self._codes[slot] = code
        self._args[slot] = arg
        self._times[slot] = t_boot_ms & 0xFFFFFFFF
        self.count += 1
        if self.on_push is not None:
            self.on_push()

    def slots(self) -> "list[tuple[int, int, int]]":
        """Return (code, arg, t_boot_ms) of the newest events, oldest first."""
        held = min(self.count, EVENT_SLOTS)
        result = []
        for number in range(self.count - held, self.count):
            slot = number % EVENT_SLOTS
            result.append((self._codes[slot], self._args[slot], self._times[slot]))
        return result

    def status(self) -> int:
        """Return STATUS_EVENTS_LOST once the oldest event has been overwritten."""
        return STATUS_EVENTS_LOST if self.count > EVENT_SLOTS else 0
