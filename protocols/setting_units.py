"""Names and units in which people write the settings of a node, whose registers hold raw integers.

A register's name ends with its step (``sample_period_ds``: tenths of a second); people write
``sample_period`` in seconds.
"""

from collections.abc import Mapping
from fractions import Fraction
from typing import Final, NamedTuple

from .wire.registers import SETTINGS

_ENDS: Final[Mapping[str, tuple[str, Fraction]]] = {
    "_ds": ("s", Fraction(1, 10)),
    "_div_100": ("Bd", Fraction(100)),
    "_percent": ("%", Fraction(1)),
    "_s": ("s", Fraction(1)),
}
#: What a calibration point has, by how its name begins.
_BEGINS: Final[Mapping[str, tuple[str, Fraction]]] = {
    "ph_value_": ("pH", Fraction(1, 100)),
    "ntu_value_": ("NTU", Fraction(1, 10)),
}


class SettingUnit(NamedTuple):
    """A setting as people write it: value = raw * ``step``, in ``unit`` ("": a plain number)."""

    name: str
    address: int
    unit: str
    step: Fraction


def _unit_of(register: str, address: int) -> SettingUnit:
    for end, (unit, step) in _ENDS.items():
        if register.endswith(end):
            return SettingUnit(register.removesuffix(end), address, unit, step)
    for begin, (unit, step) in _BEGINS.items():
        if register.startswith(begin):
            return SettingUnit(register, address, unit, step)
    return SettingUnit(register, address, "", Fraction(1))


SETTING_UNITS: Final[tuple[SettingUnit, ...]] = tuple(
    _unit_of(setting.name, address) for address, setting in enumerate(SETTINGS)
)
"""Every setting, by the address of its register."""


def setting_unit(name: str) -> SettingUnit | None:
    """Return the setting that people call ``name``, or whose register has this name: then raw."""
    for known in SETTING_UNITS:
        if name == known.name:
            return known
        if name == SETTINGS[known.address].name:
            return SettingUnit(name, known.address, "", Fraction(1))
    return None
