"""What values mean to people: numbers in their unit, words for codes, text as it is."""

from collections.abc import Iterable

from gateway_agent.status import PointValue
from protocols.uplink import DecimalFraction

from .points import ProfilePoint, Value
from .raw_types import DeviceText


def point_value(point: ProfilePoint, value: Value) -> PointValue:
    """Return a value for display. A record keeps the integer and its power of ten."""
    number: float | None = None
    if isinstance(value, DecimalFraction):
        number = scaled(*value)
    elif isinstance(value, int):
        number = scaled(value, point.exp10)
    elif isinstance(value, float):
        number = value
    quality = value if isinstance(value, str) and not isinstance(value, DeviceText) else ""
    return PointValue(point.spec.name, point.spec.unit, number, meaning(point, value), quality)


def meaning(point: ProfilePoint, value: Value) -> str:
    """Return the words for a code, the names of the bits that are set, or text; else nothing."""
    if isinstance(value, DeviceText):
        return str(value)  # a plain one, which can be encoded
    if not isinstance(value, int):
        return ""
    if point.spec.bits:
        return ", ".join(_set_bits(point, value))
    for number, word in point.spec.values.items():
        if int(number, 0) == value:
            return word
    return ""


def _set_bits(point: ProfilePoint, value: int) -> Iterable[str]:
    return (word for bit, word in point.spec.bits.items() if value >> int(bit, 0) & 1)


def scaled(raw: int, exp10: int) -> float:
    """Return ``raw * 10**exp10`` as the double nearest to it."""
    return float(raw * 10**exp10) if exp10 >= 0 else raw / float(10**-exp10)
