"""What people call the functions and exceptions of Modbus (Application Protocol V1.1b3, 6 and 7).

The codes that our own code acts on have names in :mod:`protocols.wire.modbus.pdu`; a line may carry
the others too.
"""

from collections.abc import Mapping
from typing import Final

from protocols.wire.modbus.pdu import (
    BUSY,
    DEVICE_FAILURE,
    DIAGNOSTICS,
    ENCAPSULATED,
    ILLEGAL_ADDRESS,
    ILLEGAL_FUNCTION,
    ILLEGAL_VALUE,
    NAK,
    READ_HOLDING,
    READ_INPUT,
    READ_WRITE,
    WRITE_MANY,
    WRITE_ONE,
)

FUNCTION_NAMES: Final[Mapping[int, str]] = {
    0x01: "read coils",
    0x02: "read discrete inputs",
    READ_HOLDING: "read holding registers",
    READ_INPUT: "read input registers",
    0x05: "write single coil",
    WRITE_ONE: "write single register",
    0x07: "read exception status",
    DIAGNOSTICS: "diagnostics",
    0x0B: "get comm event counter",
    0x0F: "write multiple coils",
    WRITE_MANY: "write multiple registers",
    0x11: "report server id",
    0x16: "mask write register",
    READ_WRITE: "read/write multiple registers",
    ENCAPSULATED: "read device identification",
}

# Exception codes that no node of ours answers with.
ACKNOWLEDGE: Final = 0x05
NO_PATH: Final = 0x0A
NO_TARGET: Final = 0x0B

EXCEPTION_NAMES: Final[Mapping[int, str]] = {
    ILLEGAL_FUNCTION: "illegal function",
    ILLEGAL_ADDRESS: "illegal data address",
    ILLEGAL_VALUE: "illegal data value",
    DEVICE_FAILURE: "server device failure",
    ACKNOWLEDGE: "acknowledge",
    BUSY: "server device busy",
    NAK: "negative acknowledge",
    8: "memory parity error",
    NO_PATH: "gateway path unavailable",
    NO_TARGET: "gateway target failed to respond",
}
