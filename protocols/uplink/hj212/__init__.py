"""HJ 212-2017 and HJ 212-2025, the language between field devices and China's monitoring platforms.

Sans-IO: bytes and times come in as arguments, messages and bytes come out. Statements about the
2017 standard carry their clause; those about HJ 212-2025 are from implementations, not from the
text.
"""

from protocols.uplink.beijing import BEIJING

from .beijing import DAY_MS, HOUR_MS, OFFSET_MS, data_time, parse_data_time, request_number
from .checksum import HJ_VALUES, ChecksumKind, checksum, hj_checksum
from .commands import COMMANDS, DATA_FLAGS, EXE_RETURNS, QN_RETURNS, SYSTEMS, CommandName
from .device import Hj212Device
from .dialect import Hj212Dialect, QnForm
from .errors import RULES, Hj212Error
from .events import (
    FrameRefused,
    Hj212Event,
    Hj212Upload,
    LinkGivenUp,
    NoticeUnanswered,
    ParameterWanted,
    PlatformCommand,
    PlatformRefused,
    SettingsChanged,
    UploadDone,
)
from .frame import MAX_READ_SEGMENT, AcceptedFrame, Hj212Reader, RejectedFrame, write_frame
from .message import (
    MAX_CP,
    MAX_SEGMENT,
    Body,
    Cipher,
    Hj212Message,
    Item,
    body_text,
    flag_of,
    parse_body,
)
from .options import MIN_INTERVALS_MIN, Hj212Options, Hj212Settings
from .site import EmptySite, Hj212Site, Moment
from .sm4 import Sm4Text

__all__ = [
    "BEIJING",
    "COMMANDS",
    "DATA_FLAGS",
    "DAY_MS",
    "EXE_RETURNS",
    "HJ_VALUES",
    "HOUR_MS",
    "MAX_CP",
    "MAX_READ_SEGMENT",
    "MAX_SEGMENT",
    "MIN_INTERVALS_MIN",
    "OFFSET_MS",
    "QN_RETURNS",
    "RULES",
    "SYSTEMS",
    "AcceptedFrame",
    "Body",
    "ChecksumKind",
    "Cipher",
    "CommandName",
    "EmptySite",
    "FrameRefused",
    "Hj212Device",
    "Hj212Dialect",
    "Hj212Error",
    "Hj212Event",
    "Hj212Message",
    "Hj212Options",
    "Hj212Reader",
    "Hj212Settings",
    "Hj212Site",
    "Hj212Upload",
    "Item",
    "LinkGivenUp",
    "Moment",
    "NoticeUnanswered",
    "ParameterWanted",
    "PlatformCommand",
    "PlatformRefused",
    "QnForm",
    "RejectedFrame",
    "SettingsChanged",
    "Sm4Text",
    "UploadDone",
    "body_text",
    "checksum",
    "data_time",
    "flag_of",
    "hj_checksum",
    "parse_body",
    "parse_data_time",
    "request_number",
    "write_frame",
]
