"""What a site lends to the device's side, so that it can answer a platform."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from .message import Body


@dataclass(frozen=True, slots=True)
class Moment:
    """Now: milliseconds of a steady clock for timers, and since 1970 for what is written."""

    boot_ms: int
    unix_ms: int


class Hj212Site(Protocol):
    """What the device is asked for. Every method answers at once, from what is there."""

    def history(self, cn: str, begin_ms: int, end_ms: int) -> Iterator[Body]:
        """Yield the bodies of 2031, 2041, 2051 or 2061 with DataTime from ``begin`` to ``end``."""
        ...

    def latest(self, cn: str) -> Body | None:
        """Return the newest body of 2011 or 2021; None without one."""
        ...

    def information(self, cn: str, pol_id: str, info_id: str) -> list[Body]:
        """Return what answers 3015, 3019 or 3020; empty if the site has nothing of that."""
        ...

    def set_time(self, unix_ms: int) -> bool:
        """Set the clock if the site allows it; return whether it did."""
        ...

    def set_parameter(self, pol_id: str, info_id: str, value: str) -> bool | None:
        """Set what 3021 names; return whether the site has it and took the value.

        None: it is being set, and the program gives the result to the device when it is known.
        """
        ...


class EmptySite:
    """A site that has nothing: every question is answered with *no data*."""

    def history(self, cn: str, begin_ms: int, end_ms: int) -> Iterator[Body]:
        """Yield nothing."""
        return iter(())

    def latest(self, cn: str) -> Body | None:
        """Return None."""
        return None

    def information(self, cn: str, pol_id: str, info_id: str) -> list[Body]:
        """Return nothing."""
        return []

    def set_time(self, unix_ms: int) -> bool:
        """Set no clock."""
        return False

    def set_parameter(self, pol_id: str, info_id: str, value: str) -> bool | None:
        """Set nothing."""
        return False
