"""A source that replays real hours of Chengdu, January 2015, faster than they passed."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable
from importlib.resources import files
from typing import NamedTuple

from hil.sim.part import Air, Water


class Hour(NamedTuple):
    """One row of the extract; None where the station noted ``NA``."""

    time: str
    pm2_5: float | None
    humidity: float | None
    temperature: float | None


def load() -> tuple[Hour, ...]:
    """Return the extract in the package (source and licence: hil/data/README.md)."""
    text = files("hil").joinpath("data/chengdu_2015_extract.csv").read_text("utf-8")

    def value(field: str) -> float | None:
        return None if field == "NA" else float(field)

    return tuple(
        Hour(
            row["time"],
            value(row["pm2_5_us_post_ug_m3"]),
            value(row["humidity_percent"]),
            value(row["temperature_cel"]),
        )
        for row in csv.DictReader(text.splitlines())
    )


class Chengdu:
    """Replay the extract from hour ``start`` on, ``hours_per_s`` of them per second, in a loop.

    Air values are the station's. Smooth, repeatable functions of time stand for what it did not
    measure: CO2 around 450 ppm; level, temperature, pH and turbidity of the river.
    ``clock`` gives seconds. LookupError if the extract has no hour ``start``.
    """

    def __init__(
        self,
        start: str = "2015-01-18T00:00",
        hours_per_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.hours = load()
        self._first = next((i for i, h in enumerate(self.hours) if h.time == start), -1)
        if self._first < 0:
            raise LookupError(
                f"no hour {start!r} in the extract; it runs from {self.hours[0].time} to "
                f"{self.hours[-1].time}"
            )
        self._rate = hours_per_s
        self._clock = clock
        self._origin = clock()

    def _elapsed_hours(self) -> float:
        return (self._clock() - self._origin) * self._rate

    @property
    def hour(self) -> Hour:
        """Return the hour that is being replayed."""
        return self.hours[(self._first + int(self._elapsed_hours())) % len(self.hours)]

    def air(self) -> Air:
        hour = self.hour
        day = 2 * math.pi * self._elapsed_hours() / 24
        return Air(hour.pm2_5, hour.temperature, hour.humidity, 450 + 60 * math.sin(day))

    def water(self) -> Water:
        day = 2 * math.pi * self._elapsed_hours() / 24
        return Water(
            distance=1953 - 120 * math.sin(day / 2),
            temperature=9.5 + 0.8 * math.sin(day),
            ph=7.6 + 0.15 * math.sin(day + 1),
            turbidity=18 + 6 * math.sin(day / 3),
        )
