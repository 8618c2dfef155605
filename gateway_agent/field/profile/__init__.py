"""Describes third-party devices by TOML files: what each register means, and how to read it.

A profile is data, never code. Nothing proves the values of such devices (``auth`` none).
"""

from .decode import ProfileDecoder, decoder_of
from .groups import GroupClock
from .load import find_profile, load_profile, shipped
from .model import Profile
from .points import OUT_OF_RANGE, REPORTS_FAULT, ProfilePoint, Value
from .show import point_value, scaled
from .writing import WriteError, checked_number, write_of_number, write_of_time

__all__ = [
    "OUT_OF_RANGE",
    "REPORTS_FAULT",
    "GroupClock",
    "Profile",
    "ProfileDecoder",
    "ProfilePoint",
    "Value",
    "WriteError",
    "checked_number",
    "decoder_of",
    "find_profile",
    "load_profile",
    "point_value",
    "scaled",
    "shipped",
    "write_of_number",
    "write_of_time",
]
