"""A gateway whose clock can be set: ``python -m hil.site.shifted_gateway OFFSET_FILE run ...``.

This is the real command in a real process. Only its wall time is shifted, by the whole milliseconds
in the file, which is read each time the gateway reads wall time. Setting the machine's own clock
would need root and would change it for every other program. Monotonic time, which drives the
gateway, stays as it is, as with ``date --set``.
"""

from __future__ import annotations

import importlib
import sys
import time
from pathlib import Path

from gateway_agent.cli import app
from gateway_agent.clock import FLOOR_MS, SystemClock, Wall
from protocols.uplink import CLOCK_NONE, CLOCK_SYNCHRONISED


class ShiftedClock(SystemClock):
    """The machine's clock, shifted by the number in the file."""

    offset_file = Path()

    def wall(self) -> Wall:
        """Return the machine's wall time, shifted; a time before the first release is none."""
        # As on a machine that is synchronised, and to a wrong server when shifted.
        moved = time.time_ns() // 1_000_000 + int(self.offset_file.read_text(encoding="utf-8"))
        return Wall(None, 0, CLOCK_NONE) if moved < FLOOR_MS else Wall(moved, 1, CLOCK_SYNCHRONISED)


def main() -> None:
    """Run the gateway's command line with the clock replaced."""
    ShiftedClock.offset_file = Path(sys.argv.pop(1))
    setattr(importlib.import_module("gateway_agent.service"), "SystemClock", ShiftedClock)  # noqa: B010
    app()


if __name__ == "__main__":
    main()
