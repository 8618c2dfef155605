"""The two CRC-8 of the parts.

* Sensirion (SHT3x datasheet version 6, section 4.12): polynomial 0x31, start 0xFF, not reflected;
  the word BEEF gives 92.
* Dallas/Maxim 1-Wire (application note 27; DS18B20 datasheet, "CRC generation"): polynomial 0x31
  reflected (0x8C), start 0; ROM 02 1C B8 01 00 00 00 gives A2. Over data *and* its CRC it is 0.

Section numbers are from memory, not checked against the PDFs; the values are tested.
"""


def sensirion(data: bytes | bytearray | memoryview, start: int, length: int) -> int:
    """Return the CRC over ``data[start:start + length]``. Allocates nothing."""
    crc = 0xFF
    for index in range(start, start + length):
        crc ^= data[index]
        for _ in range(8):
            crc = ((crc << 1) ^ 0x31) & 0xFF if crc & 0x80 else crc << 1
    return crc


def dallas(data: bytes | bytearray | memoryview, length: int) -> int:
    """Return the CRC over ``data[:length]``. Allocates nothing."""
    crc = 0
    for index in range(length):
        crc ^= data[index]
        for _ in range(8):
            crc = (crc >> 1) ^ 0x8C if crc & 1 else crc >> 1
    return crc
