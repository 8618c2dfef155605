"""What a node's own clock shows when the gateway's shows something, learned from its frames."""

from typing import Final

from protocols.wire.sample import Header

from .wrapping import WRAP, ahead

# The crystals of node and gateway together; a difference that held once may grow by so much.
_DRIFT_PPM: Final = 100


class BootClock:
    """The clock of a node's current boot, in ms, modulo 2**32.

    Every frame arrives later than its ``t_boot_ms`` by its age, never earlier. So the smallest
    difference between the gateway's clock and a frame's is the best one; it ages with the drift of
    the crystals, or a node with a slow one would seem to run ahead more with every day.
    """

    def __init__(self) -> None:
        self._boot: tuple[int, int] | None = None  # key id, boot epoch
        self._difference = 0
        self._since = 0

    def seen(self, header: Header, resp_ms: int) -> None:
        """A frame with a good tag came, its response complete at ``resp_ms`` (CLOCK_BOOTTIME)."""
        boot = header.key_id, header.boot_epoch
        difference = (resp_ms - header.t_boot_ms) % WRAP
        if boot != self._boot or ahead(difference, self._now(resp_ms)) <= 0:
            self._boot = boot
            self._difference = difference
            self._since = resp_ms

    def at(self, resp_ms: int) -> int:
        """The node's clock at ``resp_ms``; only after a frame was seen."""
        return (resp_ms - self._now(resp_ms)) % WRAP

    def _now(self, resp_ms: int) -> int:
        return self._difference + (resp_ms - self._since) * _DRIFT_PPM // 1_000_000
