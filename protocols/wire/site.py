"""Registers of a technician's visit: what is tried, shown or recorded while somebody is on site.

A module of its own, so that a node has no heap for it until a tool asks. Holding registers, which a
node with a key takes signed, as settings (:mod:`.signed_write`); a block is read from its first
register on::

    SELECT       read 13: unique id (6), unit id, the registers from COMMISSIONED_ADDRESS on (6).
                 write 3, no tag: salt, low, high. Only a node with low <= place(salt, uid) <= high
                 answers, so that of several nodes with one address each can be found (FC 17).
    BY_UID       write: unique id (6), then a signed block. Any other node leaves it unanswered and
                 uncounted. A node without a key looks at neither counter nor tag.
    TRIAL        write 3: unit id, speed / 100, seconds. The node serves there, and is back at its
                 settings after that time, or at once after any restart, unless it is kept.
                 read 7: unit id, speed / 100, ms left (0: no trial), blink s left, hold mask,
                 s left, kept since the start
    KEEP         write 1: makes settings of the trial; accepted where the trial is, not before
    BLINK        write 1: seconds to blink, 0 to stop
    HOLD         write 2: bit mask of points, seconds: these show no sample meanwhile, and the
                 status has ``calibration``: flag C of a platform
    RECORD + i   write or read 31: the calibration of point i, see below

A calibration::

     0  first setting  u16  where its coefficients are (0xFFFF: it has none)
     1  day            u16  days since 1970-01-01
     2  coefficients   4 u16, the values of the four settings from the first on
     6  slope          u16  0.1 % of the ideal probe's, 0: not judged
     7  lots, hand     3 times 16 bytes ASCII, zero behind the end: reference 1, reference 2, who
"""

from .crc import crc16

SELECT = 0x0180
BY_UID = 0x0190
TRIAL = 0x01A0
KEEP = 0x01A3
BLINK = 0x01A4
HOLD = 0x01A5
RECORD = 0x01C0

SELECT_WORDS = 13
STATE_WORDS = 7
RECORD_WORDS = 31
RECORD_POINTS = 16
UID_WORDS = 6
TEXT_BYTES = 16
NO_SETTING = 0xFFFF

# The longest a node stays away from its settings, and what a tool asks for at a time, in s.
MAX_TRIAL_S = 600
MAX_BLINK_S = 3600
MAX_HOLD_S = 600


def place(salt: int, uid: bytes) -> int:
    """Return where a node stands among all, 0 to 65535: another order for each salt."""
    return crc16(bytes((salt >> 8, salt & 0xFF)) + uid)
