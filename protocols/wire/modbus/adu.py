"""The length of a Modbus RTU frame, read from the frame (Application Protocol V1.1b3, section 6).

RTU has no length field: a frame ends with silence. Where silence cannot be seen, because an
operating system hands over several frames at once, function code and counts tell the length of a
frame; its CRC then proves that the guess was right. Requests and answers of one function differ,
so there is one function for each. Nothing here allocates.
"""

from micropython import const

from .pdu import ENCAPSULATED, EXCEPTION, READ_DEVICE_ID

MAX_FRAME = 256  # Modbus over Serial Line V1.02, 2.5.1: the longest frame

_FUNCTIONS = const(0x19)  # the tables end with FC 0x18
_READ_FIFO = const(0x18)
_SMALLEST = const(4)  # address, function, CRC

# By function code. Low digit: bytes of a frame without counted data, 0 for a function of unknown
# length. High digit: where the frame's byte count stands, 0 if it has none.
_REQUESTS = (
    # 00  01  02  03  04  05  06  07  08  09  0A  0B
    b"\x00\x08\x08\x08\x08\x08\x08\x04\x08\x00\x00\x04"
    # 0C  0D  0E  0F  10  11  12  13  14  15  16  17  18
    b"\x04\x00\x00\x69\x69\x04\x00\x00\x25\x25\x0a\xad\x06"
)
_ANSWERS = (
    b"\x00\x25\x25\x25\x25\x08\x08\x05\x08\x00\x00\x08"
    b"\x25\x00\x00\x08\x08\x25\x00\x00\x25\x25\x0a\x25\x00"
)


def request_length(frame: bytearray, fill: int) -> int:
    """Return the length of the request that ``frame[:fill]`` begins with, its CRC included.

    Return 0 if that is unknown or more than ``fill``.
    """
    if fill < _SMALLEST:
        return 0
    function = frame[1]
    length = 0
    if function < _FUNCTIONS:
        length = _REQUESTS[function] & 15
        count = _REQUESTS[function] >> 4
        if count:
            length = length + frame[count] if count < fill else 0
    elif function == ENCAPSULATED and frame[2] == READ_DEVICE_ID:
        length = 7
    return length if length <= fill else 0


def answer_length(frame: bytearray, fill: int) -> int:
    """Return the length of the answer or exception that ``frame[:fill]`` begins with, with its CRC.

    Return 0 if that is unknown or more than ``fill``.
    """
    if fill < _SMALLEST:
        return 0
    function = frame[1]
    length = 0
    if function >= EXCEPTION:
        length = 5
    elif function == _READ_FIFO:
        length = 6 + (frame[2] << 8 | frame[3])
    elif function < _FUNCTIONS:
        length = _ANSWERS[function] & 15
        count = _ANSWERS[function] >> 4
        if count:
            length += frame[count]
    elif function == ENCAPSULATED and frame[2] == READ_DEVICE_ID:
        length = _device_id_length(frame, fill)
    return length if length <= fill else 0


def _device_id_length(frame: bytearray, fill: int) -> int:
    if fill < 10:
        return 0
    length = 8
    for _ in range(frame[7]):
        if length + 2 > fill:
            return 0
        length += 2 + frame[length + 1]
    return length + 2
