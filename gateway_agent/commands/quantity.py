"""Numbers with units, as people write them: ``5 s``, ``0.5 min``, ``9600 Bd``, ``7.01``."""

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Final

from .command import CommandRefused

_FORM: Final = re.compile(r"\s*([+-]?\d{1,18}(?:\.\d{1,12})?)\s*([A-Za-z%/0-9]{0,16})\s*")
#: What a unit is in another one, by the latter: times have several that are in use on site, and a
#: percent is written otherwise than in SenML (RFC 8798).
_IN_USE: Final[Mapping[str, Mapping[str, Fraction]]] = {
    "s": {
        "ms": Fraction(1, 1000),
        "s": Fraction(1),
        "min": Fraction(60),
        "h": Fraction(3600),
    },
    "/100": {"%": Fraction(1), "/100": Fraction(1)},
}


def quantity(text: str, unit: str) -> Fraction:
    """Return the number that ``text`` has in ``unit``; without a unit of its own it is in that.

    CommandRefused: it is no number, or in a unit that does not become this one.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        example = f"5 {unit}".strip()
        raise CommandRefused(f"expected a number as {example!r}, got {text!r}")
    number, given = Fraction(match[1]), match[2]
    units = _IN_USE.get(unit, {unit: Fraction(1)})
    if given and given not in units:
        known = ", ".join(name for name in units if name)
        expected = f"a value in {known}" if known else "a number without a unit"
        raise CommandRefused(f"expected {expected}, got {text!r}")
    return number * units.get(given, Fraction(1))


def written(number: Fraction, unit: str) -> str:
    """Return a number with its unit, as a person writes it."""
    text = f"{float(number):.12g}"
    return f"{text} {unit}" if unit else text
