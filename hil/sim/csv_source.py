"""A source of values from a CSV file: a script of what the parts see, by time."""

from __future__ import annotations

import csv
import math
import time
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Final

from hil.sim.part import Air, Source, Steady, Water

_AIR: Final = tuple(f.name for f in fields(Air))
_WATER: Final = tuple(f.name for f in fields(Water))
#: Columns of a file: ``air.pm2_5``, ``water.ph`` and so on.
COLUMNS: Final = (*(f"air.{name}" for name in _AIR), *(f"water.{name}" for name in _WATER))


class Script:
    """Rows of ``(seconds, {column: value})``, each held until the next one's time.

    A column that a row does not name keeps its value; ``base`` gives the values before the first
    row, and of columns that no row names. None is a value that was not measured (air only).
    ``clock`` gives seconds; the script begins when it is made. ValueError for a column or an order
    that is wrong.
    """

    def __init__(
        self,
        rows: Sequence[tuple[float, Mapping[str, float | None]]],
        base: Source | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._base = base or Steady()
        self._clock = clock
        self._times: list[float] = []
        self._states: list[dict[str, float | None]] = []
        state: dict[str, float | None] = {}
        for at, values in rows:
            if self._times and at <= self._times[-1]:
                raise ValueError(f"time: expected more than {self._times[-1]:g} s, got {at:g}")
            for column, value in values.items():
                if column not in COLUMNS:
                    raise ValueError(f"unknown column {column!r}; known are {', '.join(COLUMNS)}")
                if value is None and column.startswith("water."):
                    raise ValueError(f"{column}: expected a number, got none")
            state = {**state, **values}
            self._times.append(at)
            self._states.append(state)
        self._start = clock()

    def _now(self, prefix: str) -> dict[str, float | None]:
        row = bisect_right(self._times, self._clock() - self._start) - 1
        state = self._states[row] if row >= 0 else {}
        size = len(prefix)
        return {name[size:]: value for name, value in state.items() if name.startswith(prefix)}

    def air(self) -> Air:
        return replace(self._base.air(), **self._now("air."))

    def water(self) -> Water:
        values = {name: value for name, value in self._now("water.").items() if value is not None}
        return replace(self._base.water(), **values)


def read_csv(
    path: Path, base: Source | None = None, clock: Callable[[], float] = time.monotonic
) -> Script:
    """Return the script in a file with the columns ``time_s`` and any of ``COLUMNS``.

    ``NA`` is a value that was not measured; an empty field keeps the value of the row before.
    ValueError names file and line.
    """
    rows: list[tuple[float, dict[str, float | None]]] = []
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        head = next(reader, [])
        wrong = [name for name in head if name not in ("time_s", *COLUMNS)]
        if "time_s" not in head or wrong or len(set(head)) != len(head):
            known = ", ".join(("time_s", *COLUMNS))
            raise ValueError(f"{path}:1: expected time_s and columns of {known}, got {head}")
        for fields_ in reader:
            where = f"{path}:{reader.line_num}"
            if len(fields_) != len(head):
                raise ValueError(f"{where}: expected {len(head)} fields, got {len(fields_)}")
            row = {
                name: _value(text, f"{where}: {name}")
                for name, text in zip(head, fields_, strict=True)
                if text
            }
            at = row.pop("time_s", None)
            if at is None:
                raise ValueError(f"{where}: time_s: expected seconds")
            rows.append((at, row))
            try:
                Script(rows[-2:], clock=clock)
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from None
    return Script(rows, base, clock)


def _value(text: str, where: str) -> float | None:
    if text == "NA":
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{where}: expected a number or NA, got {text!r}")
    return value
