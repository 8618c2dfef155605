"""The channels of the link, and what their messages look like.

Messages of samples and events are frames of :mod:`protocols.wire.sample`.
"""

import struct

from micropython import const

from protocols.wire.errors import BAD_VALUE, TRUNCATED, PeerError

# Channels.
SAMPLES = 1
EVENTS = 2
CONFIG = 3
FILE = 5
LOG = 6

# number, kept; in the order of their priority
CHANNELS = ((EVENTS, True), (CONFIG, False), (SAMPLES, True), (LOG, True), (FILE, False))
TO_NODE = (CONFIG, FILE)

# Reasons for the end of a session; the first two are in a BYE.
STOPPING = 0
RESTARTING = 1
SILENCE = 2  # no right frame for SILENCE_MS
REPLACED = 3  # a new session began
EXHAUSTED = 4  # a counter is at its end
SILENCE_MS = 15_000

# Levels of a log line.
ERROR = 1
WARNING = 2
INFORMATION = 3
MAX_LOG_TEXT = 120

# Kinds of messages of FILE.
GET = 1
STOP = 2
FILE_INFO = 3
PART = 4
NONE = 5
PART_HEADER = 5

# Files.
PICTURE = 1
NODE_LOG = 2
FAULT_RECORD = 3

# Reasons in a NONE.
NO_FILE = 1
NOT_ALLOWED = 2
OTHER_FILE = 3
BEHIND_END = 4

ANY_FILE = bytes(32)  # in a GET: whichever there is

_LOG_HEADER = const(5)


def pack_config(number: int, pdu: bytes | bytearray | memoryview) -> bytes:
    """Return a message of CONFIG: a request or its answer, which has the same ``number``."""
    return struct.pack(">H", number) + pdu


def parse_config(message: bytes | bytearray | memoryview) -> "tuple[int, bytes]":
    """Return number and PDU of a message of CONFIG; PeerError if it has none."""
    if len(message) < 3:
        raise PeerError(TRUNCATED, "config message", -1, "3 bytes or more", len(message))
    return message[0] << 8 | message[1], bytes(message[2:])


def pack_log(level: int, t_boot_ms: int, text: str) -> bytes:
    """Return a message of LOG; what is beyond MAX_LOG_TEXT bytes of the text is left out."""
    data = text.encode()
    end = min(len(data), MAX_LOG_TEXT)
    while end < len(data) and data[end] & 0xC0 == 0x80:
        end -= 1  # a character is not divided
    return struct.pack(">BI", level, t_boot_ms & 0xFFFFFFFF) + data[:end]


def parse_log(message: bytes | bytearray | memoryview) -> "tuple[int, int, bytes]":
    """Return level, t_boot_ms and text of a message of LOG; PeerError if it is none."""
    if not _LOG_HEADER <= len(message) <= _LOG_HEADER + MAX_LOG_TEXT:
        raise PeerError(TRUNCATED, "log message", -1, "5 to 125 bytes", len(message))
    level, t_boot_ms = struct.unpack(">BI", message[:_LOG_HEADER])
    if not ERROR <= level <= INFORMATION:
        raise PeerError(BAD_VALUE, "level of a log message", 0, "1 to 3", level)
    return level, t_boot_ms, bytes(message[_LOG_HEADER:])
