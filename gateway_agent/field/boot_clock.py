"""Converts times of the gateway's clock to a node's own clock, learned from the node's frames."""

from typing import Final

from protocols.wire.sample import Header

from .wrapping import WRAP, ahead

# The crystals of node and gateway together; a difference that held once may grow by so much.
_DRIFT_PPM: Final = 100


class BootClock:
    """The clock of a node's current boot, in ms, modulo 2**32.

    Every frame arrives later than its ``t_boot_ms`` by its age, never earlier. So the smallest
    difference between the gateway's clock and a frame's is the best one. It grows with the drift of
    the crystals; without that a node with a slow crystal would seem to run ahead more every day.
    """

    def __init__(self) -> None:
        self._boot: tuple[int, int] | None = None  # key id, boot epoch
        self._difference = 0
        self._since = 0

    def seen(self, header: Header, resp_ms: int) -> None:
        """Take a frame with a good tag, complete at ``resp_ms`` (CLOCK_BOOTTIME)."""
        boot = header.key_id, header.boot_epoch
        difference = (resp_ms - header.t_boot_ms) % WRAP
        if boot != self._boot or ahead(difference, self._now(resp_ms)) <= 0:
            self._boot = boot
            self._difference = difference
            self._since = resp_ms

    def measured(self, key_id: int, boot_epoch: int, offset_ms: int, now_ms: int) -> None:
        """Take what an exchange of times has shown: the node's clock less ours, at ``now_ms``.

        It knows the way of a frame in both directions, so it is better than any frame's age.
        """
        self._boot = key_id, boot_epoch
        self._difference = -offset_ms % WRAP
        self._since = now_ms

    def age(self, header: Header, now_ms: int) -> int:
        """Return how long ago a frame was made; 0 if this boot's clock is not known yet."""
        if (header.key_id, header.boot_epoch) != self._boot:
            return 0
        return max(0, ahead(self.at(now_ms), header.t_boot_ms))

    def at(self, resp_ms: int) -> int:
        """Return the node's clock at ``resp_ms``. Call it only after a frame was taken."""
        return (resp_ms - self._now(resp_ms)) % WRAP

    def _now(self, resp_ms: int) -> int:
        return self._difference + (resp_ms - self._since) * _DRIFT_PPM // 1_000_000
