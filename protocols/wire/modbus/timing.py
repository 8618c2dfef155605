"""How long a character takes on a serial line, and which silences end a frame.

A frame ends with a silence of t3.5 (3.5 characters), and no silence inside it is longer than t1.5
(Modbus over Serial Line V1.02, section 2.5.1.1). Above 19200 baud both are fixed, at 1750 and 750
us. A character has 11 bits (section 2.5.1: start bit, 8 data bits, parity or a second stop bit,
stop bit); ``bits`` is for lines that run with fewer or more.

All times are whole microseconds. Nothing here is called while a node serves.
"""

from micropython import const

_FIXED_ABOVE_BAUD = const(19200)
_SECOND_US = const(1_000_000)


def chars_us(baud: int, count: int = 1, bits: int = 11) -> int:
    """Return the time of ``count`` characters, rounded down: no gap is between two of them."""
    return count * bits * _SECOND_US // baud


def t15_us(baud: int, bits: int = 11) -> int:
    """Return the longest silence inside a frame, rounded up."""
    return 750 if baud > _FIXED_ABOVE_BAUD else -chars_us(2 * baud, -3, bits)


def t35_us(baud: int, bits: int = 11) -> int:
    """Return the shortest silence that ends a frame, rounded up."""
    return 1750 if baud > _FIXED_ABOVE_BAUD else -chars_us(2 * baud, -7, bits)
