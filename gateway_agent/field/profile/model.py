"""A profile that has been read and checked: its points, and the requests that cover them."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gateway_agent.field.planner import JoinRules, Span, coalesce
from protocols.modbus_client import BIT_FUNCTIONS, MAX_READ_BITS, Read

from .language import GroupSpec, ProfileHead
from .points import Cell, ProfilePoint

_WORD_BITS = 16


@dataclass(frozen=True, slots=True)
class Profile:
    """One profile with everything it inherits."""

    profile: ProfileHead
    points: tuple[ProfilePoint, ...]
    group: tuple[GroupSpec, ...] = ()
    files: tuple[Path, ...] = field(default=(), compare=False)  # that it was read from

    def points_of(self, groups: Collection[str] | None = None) -> tuple[ProfilePoint, ...]:
        """Return the points of some groups ("" for those without one), or all."""
        if groups is None:
            return self.points
        return tuple(point for point in self.points if point.spec.group in groups)

    def spans(self) -> list[Span]:
        """Return the registers of each value, and of what its scale and status depend on."""
        cells = (cell for point in self.points for cell in point.cells)
        return [Span(cell.function, cell.address, cell.words) for cell in cells]

    def widths(self) -> Iterator[tuple[str, int]]:
        """Yield each point's name with the registers that one request has to read for it."""
        for point in self.points:
            yield point.spec.name, 1 if point.is_bit else point.cell.words

    def periods(self, period_ms: int) -> dict[str, int]:
        """Return the period of each group in use; ``period_ms`` is the device's own."""
        own = {"": period_ms} | {group.name: group.period_ms for group in self.group}
        used = {point.spec.group for point in self.points}
        return {name: period for name, period in own.items() if name in used}

    def reads(self, rules: JoinRules, groups: Collection[str] | None = None) -> tuple[Read, ...]:
        """Return the requests that cover the points. Groups never share a request.

        ``rules`` are those of bus and device; the profile may narrow them, and sets ``gap_words``.
        """
        found: list[Read] = []
        head = self.profile
        rules = rules._replace(
            gap_words=rules.gap_words if head.gap_words is None else head.gap_words,
            max_words=min(rules.max_words, head.max_words),
        )
        for name in self.periods(0):
            if groups is None or name in groups:
                found += self._reads(self.points_of((name,)), rules)
        return tuple(found)

    def _reads(self, points: Iterable[ProfilePoint], rules: JoinRules) -> list[Read]:
        gap, most, never_join, cuts = rules
        cells = {cell for point in points for cell in point.cells}
        alone = {
            Read(cell.function, cell.address, cell.words)
            for cell in cells
            if cell.alone or never_join
        }
        if never_join:
            return sorted(alone)
        joined = list(coalesce(_spans(cells, bits=False), gap, most, cuts))
        most_bits = min(_WORD_BITS * most, MAX_READ_BITS)
        joined += coalesce(_spans(cells, bits=True), _WORD_BITS * gap, most_bits, cuts)
        return joined + sorted(alone.difference(joined))


def _spans(cells: Iterable[Cell], bits: bool) -> list[Span]:
    return [
        Span(cell.function, cell.address, cell.words)
        for cell in cells
        if not cell.alone and (cell.function in BIT_FUNCTIONS) == bits
    ]
