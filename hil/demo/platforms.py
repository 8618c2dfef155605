"""The platforms of ``demo --platforms``: simulators beside the collector, with both directions."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from hil.platform.sl651_centre import Sl651Centre

_SHOWN: Final = 4
STATION: Final = "0051012345"
#: Height of the water node's distance sensor above the zero of its gauge.
DATUM_M: Final = 5.0


class DemoPlatforms:
    """A centre of SL 651 that the water node reports to; both directions are kept to be shown."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=_SHOWN)
        self.centre = Sl651Centre(show=lambda line: self._lines.append(f"SL 651 {line}"))

    async def start(self) -> None:
        """Listen."""
        await self.centre.start()

    async def stop(self) -> None:
        """Close everything."""
        await self.centre.stop()

    def tables(self) -> list[dict[str, object]]:
        """Return the ``[[uplink]]`` tables that lead here."""
        elements = [
            {"code": "39", "point": "distance", "datum_m": DATUM_M},
            {"code": "03", "point": "temperature"},
            {"code": "46", "point": "ph"},
            {"code": "49", "point": "turbidity_ntu"},
        ]
        station = {"device": "water-1", "address": STATION, "class": "H", "element": elements}
        return [
            {
                "type": "sl651",
                "host": "127.0.0.1",
                "port": self.centre.port,
                "report_min": 1,
                "latency_ms": 200,
                "station": [station],
            }
        ]

    def lines(self) -> Sequence[str]:
        """Return the newest frames in both directions."""
        return tuple(self._lines)

    def figures(self) -> dict[str, object]:
        """Return what arrived where."""
        reports = [heard for heard in self.centre.heard if heard.function == 0x32]
        return {"sl651_reports": len(reports), "sl651_damaged": self.centre.damaged}
