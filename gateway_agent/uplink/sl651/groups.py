"""The element groups of one station, made of a record, with their units and the gauge's datum."""

from collections.abc import Callable, Iterable
from decimal import Decimal
from functools import partial

from protocols.export_record import ExportRecord
from protocols.uplink.sl651 import ELEMENTS, ElementGroup, number_group

from .config import StationOfDevice


class StationGroups:
    """Makes groups for one station; ``refused`` gets a line for a value that is left out."""

    def __init__(self, station: StationOfDevice, refused: Callable[[str], None]) -> None:
        self._elements = {element.identifier: element for element in station.element}
        self._refused = refused

    @property
    def identifiers(self) -> tuple[int, ...]:
        """Return the elements that the station has, in the order of its configuration."""
        return tuple(self._elements)

    def values(self, sample: ExportRecord) -> dict[int, Decimal | None]:
        """Return what a sample says of each element; None for what is missing, bad or too large."""
        return {
            identifier: element.value(
                sample, ELEMENTS[identifier].unit, partial(number_group, identifier), self._refused
            )
            for identifier, element in self._elements.items()
        }

    def groups(
        self, sample: ExportRecord, identifiers: Iterable[int] | None = None
    ) -> tuple[ElementGroup, ...]:
        """Return the groups of a sample, of all elements or of these."""
        values = self.values(sample)
        wanted = self.identifiers if identifiers is None else identifiers
        return tuple(number_group(identifier, values[identifier]) for identifier in wanted)
