"""CRC-16/MODBUS (Modbus over Serial Line V1.02, section 6.2.2).

Polynomial 0x8005 reflected (0xA001), start 0xFFFF, no final XOR; check value of ``123456789`` is
0x4B37. On the wire the low byte comes first, so the CRC over a frame and its own CRC is 0.
"""

from array import array

from micropython import const

_POLY = const(0xA001)
_INIT = const(0xFFFF)


def _make_table() -> "array[int]":
    table = array("H", bytes(512))
    for index in range(256):
        crc = index
        for _ in range(8):
            crc = (crc >> 1) ^ _POLY if crc & 1 else crc >> 1
        table[index] = crc
    return table


# For loops that do more with each byte than take its CRC: crc = (crc >> 8) ^ TABLE[(crc ^ b) & 255]
TABLE = _make_table()


def python_crc16(data: bytes | bytearray | memoryview, length: int = -1, crc: int = _INIT) -> int:
    """Return the CRC over ``data[:length]`` (all of it by default).

    Pass a former result as ``crc`` to go on where it ended. IndexError if ``data`` is shorter.
    Allocates nothing on MicroPython.
    """
    table = TABLE
    if length < 0:
        length = len(data)
    for index in range(length):
        crc = (crc >> 8) ^ table[(crc ^ data[index]) & 0xFF]
    return crc


try:
    import _crc16  # in the boards' images that have it in C, a hundred times faster

    crc16 = _crc16.crc16
except ImportError:
    crc16 = python_crc16
