"""The client's half of Modbus: requests, and finding their answers in what a bus delivers.

The server's half, which nodes run, is :mod:`protocols.wire.modbus`. Codes, lengths and times are
there, once for both. Nothing here opens a port or reads a clock.
"""

from protocols.modbus_client.ascii import AsciiClient
from protocols.modbus_client.client import ModbusClient, Unexpected
from protocols.modbus_client.identification import Identification, decode_identification
from protocols.modbus_client.mbap import MbapClient
from protocols.modbus_client.request import (
    BIT_FUNCTIONS,
    LATE,
    MAX_READ_BITS,
    READ_COILS,
    READ_DISCRETE,
    VARIABLE,
    WRONG_ID,
    AnswerShape,
    Read,
    Request,
    identify_request,
    read_request,
)
from protocols.modbus_client.rtu import RtuClient
from protocols.modbus_client.signed_write import (
    WriteCounter,
    select_request,
    signed_write_request,
    write_by_uid_request,
    write_request,
)
from protocols.modbus_client.writes import (
    coil_request,
    coils_request,
    mask_request,
    read_write_request,
    register_request,
    registers_request,
)

__all__ = [
    "BIT_FUNCTIONS",
    "LATE",
    "MAX_READ_BITS",
    "READ_COILS",
    "READ_DISCRETE",
    "VARIABLE",
    "WRONG_ID",
    "AnswerShape",
    "AsciiClient",
    "Identification",
    "MbapClient",
    "ModbusClient",
    "Read",
    "Request",
    "RtuClient",
    "Unexpected",
    "WriteCounter",
    "coil_request",
    "coils_request",
    "decode_identification",
    "identify_request",
    "mask_request",
    "read_request",
    "read_write_request",
    "register_request",
    "registers_request",
    "select_request",
    "signed_write_request",
    "write_by_uid_request",
    "write_request",
]
