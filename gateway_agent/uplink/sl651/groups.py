"""The element groups of one station, made of a record, with their units and the gauge's datum."""

from collections.abc import Callable, Iterable
from decimal import Decimal

from gateway_agent.uplink.units import converted
from protocols.export_record import ExportPoint, ExportRecord
from protocols.uplink.sl651 import ELEMENTS, ElementGroup, number_group
from protocols.wire.errors import LocalError

from .config import StationElement, StationOfDevice, datum


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
        points = {point.name: point for point in sample.points}
        return {
            identifier: self._value(element, points.get(element.point))
            for identifier, element in self._elements.items()
        }

    def groups(
        self, sample: ExportRecord, identifiers: Iterable[int] | None = None
    ) -> tuple[ElementGroup, ...]:
        """Return the groups of a sample, of all elements or of these."""
        values = self.values(sample)
        wanted = self.identifiers if identifiers is None else identifiers
        return tuple(number_group(identifier, values[identifier]) for identifier in wanted)

    def _value(self, element: StationElement, point: ExportPoint | None) -> Decimal | None:
        if point is None or point.value is None:
            return None
        unit = ELEMENTS[element.identifier].unit
        try:
            value = converted(Decimal(str(point.value)), point.unit or element.unit or unit, unit)
            height = datum(element)
            value = value if height is None else height - value
            number_group(element.identifier, value)
        except (LocalError, ValueError) as error:
            self._refused(f"{point.name} is left out: {error}")
            return None
        return value
