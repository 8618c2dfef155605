"""The platforms of ``demo --platforms``: simulators beside the collector, with both directions."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from hil.platform.hj212_platform import Hj212Platform
from hil.platform.sl651_centre import Sl651Centre

_SHOWN: Final = 4
STATION: Final = "0051012345"
MN: Final = "510100TF00000001"
#: Height of the water node's distance sensor above the zero of its gauge.
DATUM_M: Final = 5.0


class DemoPlatforms:
    """An environment platform (HJ 212) for the air node, a water centre (SL 651) for the other.

    The newest frames in both directions are kept to be shown.
    """

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=_SHOWN)
        self.centre = Sl651Centre(show=lambda line: self._lines.append(f"SL 651 {line}"))
        self.platform = Hj212Platform(show=lambda line: self._lines.append(f"HJ 212 {line}"))

    async def start(self) -> None:
        """Listen."""
        await self.centre.start()
        await self.platform.start()

    async def stop(self) -> None:
        """Close everything."""
        await self.platform.stop()
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
        here = {"host": "127.0.0.1", "latency_ms": 200}
        return [
            {
                "type": "sl651",
                **here,
                "port": self.centre.port,
                "report_min": 1,
                "station": [station],
            },
            {
                "type": "hj212",
                **here,
                "port": self.platform.port,
                "mn": MN,
                "nodes": ["air-1"],
                "minutes": 1,
                "late_s": 5,
            },
        ]

    def lines(self) -> Sequence[str]:
        """Return the newest frames in both directions."""
        return tuple(self._lines)

    def figures(self) -> dict[str, object]:
        """Return what arrived where and was confirmed."""
        reports = [heard for heard in self.centre.heard if heard.function == 0x32]
        kinds = [heard.cn for heard in self.platform.answered]
        return {
            "sl651_reports": len(reports),
            "hj212_real_time": kinds.count("2011"),
            "hj212_minutes": kinds.count("2051"),
            "damaged": self.centre.damaged + self.platform.damaged,
        }
