"""A gateway whose clock can be set: ``python -m hil.site.shifted_gateway OFFSET_FILE run ...``.

The real command in a real process; only wall time is moved, by the whole milliseconds that stand
in the file (looked at whenever wall time is asked for). Setting the machine's own clock would need
root and hit everything else on it. Monotonic time, which drives the gateway, is left alone, as it
is when somebody types ``date --set``.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from gateway_agent.cli import app
from gateway_agent.clock import FLOOR_MS, SystemClock, Wall
from protocols.uplink.record import CLOCK_NONE


class ShiftedClock(SystemClock):
    """The machine's clock, moved by what the file says now."""

    offset_file = Path()

    def wall(self) -> Wall:
        """As the machine's, moved; a time before the first release is none."""
        wall = super().wall()
        if wall.wall_ms is None:
            return wall
        moved = wall.wall_ms + int(self.offset_file.read_text(encoding="utf-8"))
        return Wall(None, 0, CLOCK_NONE) if moved < FLOOR_MS else wall._replace(wall_ms=moved)


def main() -> None:
    """The gateway's command line, with the clock replaced."""
    ShiftedClock.offset_file = Path(sys.argv.pop(1))
    setattr(importlib.import_module("gateway_agent.cli.run"), "SystemClock", ShiftedClock)  # noqa: B010
    app()


if __name__ == "__main__":
    main()
