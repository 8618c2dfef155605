"""The names of status bits, qualities and events (:mod:`.registers`), for who shows them.

A node shows numbers only, so its heap has no place for names.
"""

# By bit, the lowest first.
STATUS_NAMES = (
    "config-defaulted",
    "store-volatile",
    "selftest-failed",
    "warm-up",
    "sensor-fault",
    "watchdog-reset",
    "key-missing",
    "events-lost",
    "motion",
    "tamper",
    "image-export",
    "write-refused",
    "calibration",
)

# By quality.
QUALITY_NAMES = (
    "ok",
    "warm-up",
    "timeout",
    "checksum",
    "out-of-range",
    "not-fitted",
    "no-sample",
    "fault",
)

# By code; no event has code 0.
EVENT_NAMES = (
    "",
    "boot",
    "config-changed",
    "image-export",
    "motion",
    "tamper-dark",
    "tamper-covered",
    "tamper-frozen",
    "sensor",
    "alarm",
    "selftest-failed",
    "config-old",
    "config-new",
    "write-refused",
    "image-asked",
    "image-sent",
    "image-refused",
    "update",
    "calibration",
)
