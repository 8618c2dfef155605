"""An analog probe (pH, turbidity) at a converter, with two-point calibration in integers.

value = v1 + (raw - r1) * (v2 - v1) / (r2 - r1), rounded to nearest. The two points are what a
technician measured in two reference liquids, so amplifier and probe tolerances cancel; DFRobot's
pH (SEN0161-V2) and turbidity (SEN0189) boards are meant to be calibrated so. ``raw`` is
MicroPython's read_u16: 0 to 65535 over the reference voltage, whatever the converter's bits; the
default points stand with ``SETTINGS`` in protocols/wire/registers.py. A reading at either end of
the converter's range means that the true value is beyond it: no measurement.
"""

from micropython import const

from protocols.wire.registers import FAULT, OK, RANGE, TIMEOUT

from .part import Part

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from .ports import Adc, Config

# One step of a 12 bit converter, spread over 16 bit.
_LOW_END = const(0x000F)
_HIGH_END = const(0xFFF0)


def two_point(raw: int, raw_1: int, value_1: int, raw_2: int, value_2: int) -> int:
    """Return the calibrated value; ``raw_1`` and ``raw_2`` must differ (:func:`calibrated_code`).

    Halves are rounded up. With 16 bit readings and 16 bit values the product needs 32 bit, which a
    32 bit board takes from the heap for a moment.
    """
    span = raw_2 - raw_1
    rise = (raw - raw_1) * (value_2 - value_1)
    if span < 0:
        span = -span
        rise = -rise
    return value_1 + (2 * rise + span) // (2 * span)


def calibrated_code(raw: int, raw_1: int, value_1: int, raw_2: int, value_2: int) -> int:
    """Return OK; FAULT: no line goes through the two points; RANGE: saturated."""
    if raw_1 == raw_2 or value_1 == value_2:
        return FAULT
    if raw <= _LOW_END or raw >= _HIGH_END:
        return RANGE
    return OK


def middle(a: int, b: int, c: int) -> int:
    """Return the median of three: one spike is no reading."""
    return max(min(a, b), min(max(a, b), c))


class Analog(Part):
    """Value: the calibrated value, in the unit of the calibration's values.

    ``first_setting`` is the address of raw_1, followed by value_1, raw_2 and value_2.
    """

    def __init__(self, adc: "Adc", config: "Config", first_setting: int) -> None:
        Part.__init__(self, 1)
        self._adc = adc
        self._config = config
        self._first = first_setting
        self._raw = 0

    async def read(self, limit_s: int) -> None:
        """Take one reading. It has no deadline of its own: a converter answers at once."""
        try:
            self._raw = middle(self._adc.read_u16(), self._adc.read_u16(), self._adc.read_u16())
        except OSError:
            self.codes[0] = TIMEOUT
            return
        at = self._first
        raw_1 = self._config.value(at)
        value_1 = self._config.value(at + 1)
        raw_2 = self._config.value(at + 2)
        value_2 = self._config.value(at + 3)
        code = calibrated_code(self._raw, raw_1, value_1, raw_2, value_2)
        self.codes[0] = code
        if code == OK:
            self.values[0] = two_point(self._raw, raw_1, value_1, raw_2, value_2)

    def raw(self, index: int) -> int:
        """Return the converter's reading, 65535 at the reference."""
        return self._raw
