"""What virtual time may be by the host's clock: it may lag behind, and not run ahead unasked.

Renode holds it at the host's pace in the thread of a core that runs. While every core is halted
nothing does: minutes pass in a moment, and the core that is switched on next then sleeps until the
host has caught up. A test that meets this measures nothing.
"""

from __future__ import annotations

import time
from typing import Final

from hil.errors import RenodeError

#: A host that stops this process for a moment between two looks is not meant.
LEAD_LIMIT_S: Final = 5.0


class HostPace:
    """The host's time of one emulation, which is new, and paused."""

    def __init__(self) -> None:
        self._passed_s = 0.0
        self._since: float | None = None
        self._wrong = ""

    def start(self) -> None:
        """Let the host's time count; call it before virtual time passes."""
        if self._since is None:
            self._since = time.monotonic()

    def stop(self) -> None:
        """Let it count no more; call it after virtual time has stopped."""
        self._passed_s, self._since = self.host_s(), None

    def run(self, seconds: float) -> None:
        """Count what was asked for at once."""
        self._passed_s += seconds

    def host_s(self) -> float:
        """Return the seconds that virtual time may have passed."""
        return self._passed_s + (0.0 if self._since is None else time.monotonic() - self._since)

    def see(self, virtual_s: float) -> None:
        """Take a virtual time that was read."""
        lead_s = virtual_s - self.host_s()
        if lead_s > LEAD_LIMIT_S and not self._wrong:
            self._wrong = (
                f"virtual time is {lead_s:.1f} s ahead of the host: expected at most "
                f"{LEAD_LIMIT_S:g} s, {virtual_s:.1f} s have passed in {self.host_s():.1f} s. "
                "Halt no core while time passes (pause the emulation first), or ask for it with "
                "RenodeEngine(..., ahead=True)"
            )

    def check(self) -> None:
        """Raise RenodeError if a virtual time was too far ahead: from then on nothing is true."""
        if self._wrong:
            raise RenodeError(self._wrong)
