"""SL 427-2021 and SZY206-2016, the protocols of water resources stations: frames, station's side.

All of it is from implementations, not from the text.
"""

from .frame import (
    ALARM,
    LINK,
    NOW,
    QUANTITIES,
    SELF_REPORT,
    SETTING,
    Quantity,
    Sl427Frame,
    Sl427Reader,
    address_of,
    crc8,
    encode_sl427,
    read_number,
    write_number,
)
from .report import TIME_BYTES, Alarms, now_data, report_data, state_bits
from .station import Sl427Settings, Sl427Station

__all__ = [
    "ALARM",
    "LINK",
    "NOW",
    "QUANTITIES",
    "SELF_REPORT",
    "SETTING",
    "TIME_BYTES",
    "Alarms",
    "Quantity",
    "Sl427Frame",
    "Sl427Reader",
    "Sl427Settings",
    "Sl427Station",
    "address_of",
    "crc8",
    "encode_sl427",
    "now_data",
    "read_number",
    "report_data",
    "state_bits",
    "write_number",
]
