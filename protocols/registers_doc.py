"""Explain every register of a node in words: what a node itself has no use for.

Names and numbers are in :mod:`protocols.wire.registers`, which every node carries in its flash; the
words are here, for documents and tools on a host. A point, setting, bit, quality or event that has
no words here fails the test of ``docs/registers.md``.
"""

from collections.abc import Mapping
from typing import Final

from protocols.wire import registers

POINTS: Final[Mapping[str, Mapping[str, str]]] = {
    "air": {
        "pm1_0": "PM1.0, atmospheric (PMS5003)",
        "pm2_5": "PM2.5, atmospheric (PMS5003)",
        "pm10": "PM10, atmospheric (PMS5003)",
        "particles_0_3": "particles > 0.3 um in 0.1 L (PMS5003)",
        "co2": "carbon dioxide (MH-Z19B)",
        "temperature": "air temperature (SHT3x)",
        "humidity": "relative humidity (SHT3x)",
    },
    "water": {
        "distance": "sensor to water surface (A02YYUW)",
        "temperature": "water temperature (DS18B20)",
        "ph": "acidity (analog channel, two-point calibration)",
        "turbidity_ntu": "turbidity in NTU (analog channel)",
    },
    "camera": {
        "snapshots": "images taken since boot (VC0706)",
        "image_bytes": "size of the last JPEG in bytes",
        "luma": "mean brightness of the last image in percent",
        "contrast": "spread of brightness in the last image in percent",
        "motion_events": "motion events since boot",
        "tamper_events": "tamper events since boot",
    },
}
"""What each point measures, by role and name."""

SETTINGS: Final[Mapping[str, str]] = {
    "unit_id": "Modbus address; in force after a restart",
    "baud_div_100": "line speed / 100; in force after a restart",
    "sample_period_ds": "time between samples in 0.1 s",
    "warmup_limit_s": "upper bound on any part's own warm-up time in s",
    "fitted": "bit i set: the part of point i is fitted",
    "image_export": "1: images may leave the node (logged as an event)",
    "pms_passive": "1: PMS5003 in passive mode, 0: active",
    "ph_raw_1": "pH calibration point 1: raw ADC reading (65535 = reference)",
    "ph_value_1": "pH calibration point 1: 0.01 pH",
    "ph_raw_2": "pH calibration point 2: raw ADC reading (65535 = reference)",
    "ph_value_2": "pH calibration point 2: 0.01 pH",
    "ntu_raw_1": "turbidity calibration point 1: raw ADC reading (65535 = reference)",
    "ntu_value_1": "turbidity calibration point 1: 0.1 NTU",
    "ntu_raw_2": "turbidity calibration point 2: raw ADC reading (65535 = reference)",
    "ntu_value_2": "turbidity calibration point 2: 0.1 NTU",
    "motion_hold_ds": "motion counts as ended after this quiet time, 0.1 s",
    "dark_percent": "darker image is tampering (dark)",
    "covered_percent": "image with less contrast is tampering (covered)",
    "frozen_count": "this many equal images in a row are tampering (frozen)",
    "link_baud_div_100": "speed of the serial link / 100, below 12: none; in force after a restart",
}
"""What each setting does, by name."""

STATUS: Final[Mapping[str, str]] = {
    "config-defaulted": "stored configuration damaged or absent: defaults in force",
    "store-volatile": "the store cannot be written: nothing survives a restart",
    "selftest-failed": "a check at the start failed, see the event",
    "warm-up": "at least one part is still warming up",
    "sensor-fault": "at least one fitted part gives no valid value",
    "watchdog-reset": "the watchdog caused the last restart",
    "key-missing": "no node key: the tag is zero and proves nothing",
    "events-lost": f"more than {registers.EVENT_SLOTS} events since the start: the oldest are gone",
    "motion": "motion now",
    "tamper": "tampering now",
    "image-export": "the image switch is on: images may leave the node",
    "write-refused": "since the start a write came without the right tag and counter",
    "calibration": "a point is being calibrated (flag C): it shows no sample meanwhile",
}
"""What each status bit means, by name."""

QUALITY: Final[Mapping[str, str]] = {
    "ok": "the value is valid",
    "warm-up": "the part is warming up",
    "timeout": "the part did not answer",
    "checksum": "the part's answer was damaged",
    "out-of-range": "the value is outside the range of the table",
    "not-fitted": "configuration says that there is no such part",
    "no-sample": "nothing measured yet since the start",
    "fault": "the part itself reports an error",
}
"""What each quality of a point means, by name."""

EVENT_ARGUMENTS: Final[Mapping[str, str]] = {
    "boot": "reset cause: 0 power on, 1 pin or software, 2 watchdog",
    "config-changed": "address of a register that changed; the next two events have its values",
    "image-export": "1 switched on, 0 switched off",
    "motion": "1 begins, 0 ends",
    "tamper-dark": "1 begins, 0 ends",
    "tamper-covered": "1 begins, 0 ends",
    "tamper-frozen": "1 begins, 0 ends",
    "sensor": "point index * 256 + its new quality",
    "alarm": "point index * 256 + 1 begins, 0 ends",
    "selftest-failed": "bit mask of the failed checks",
    "config-old": "value of that register before",
    "config-new": "value of that register now",
    "write-refused": "writes refused since the start (low half); at most one event a minute",
    "image-asked": "number (low half) of the image that the serial link is to send",
    "image-sent": "number (low half) of the image that was sent over the serial link",
    "image-refused": "images asked for while the switch was off; at most one event a minute",
    "update": "step * 256 + low byte of the version, or + the reason (refused, failed), see below",
    "calibration": "point index * 256 + 1 begins, 0 ends, 2 stored",
}
"""What the argument of each event is, by the event's name."""

UPDATE_STATUS: Final[tuple[tuple[str, int, str], ...]] = (
    ("state", 1, "see below"),
    ("session", 1, "number that the master gave with its order"),
    ("reason", 1, "why the newest order was refused, or what ended the update, see below"),
    ("blocks", 1, "of the image that is received"),
    ("missing", 1, "how many of them are missing"),
    ("running", 1, "what runs: 0 the base, 1 slot A, 2 slot B"),
    ("version", 2, "of what runs; 0: what is frozen into the base"),
    ("floor", 2, "releases below it are refused"),
    ("trial", 1, "1: what runs is on trial"),
    ("outcome", 1, "of the last trial, see below"),
    ("erase_ms", 1, "for which an erase may keep the node from answering"),
    ("target", 2, "version that is received"),
    ("capacity", 2, "bytes of the longest image"),
    ("mark", 2, "first 4 bytes of the SHA-256 of the manifest that is received"),
)
"""The status registers of an update: name, registers, meaning."""
