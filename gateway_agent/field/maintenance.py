"""Somebody works on a device: until then its silence is expected, and is the operator's doing."""

from typing import Final, NamedTuple

#: Causes that work on a device or its line explains; what the gateway itself did is none of them.
_EXPLAINED: Final = frozenset(
    {"bus_timeout", "crc", "wrong_unit", "exception", "bad_frame", "device_busy"}
)


class Maintenance(NamedTuple):
    """Work on one device. Times are of the boot clock."""

    by: str
    until_ms: int
    since_ms: int = 0

    def explains(self, cause: str, now_ms: int) -> bool:
        """Return whether a slot that was missed for ``cause`` is the operator's doing."""
        return now_ms < self.until_ms and cause in _EXPLAINED
