"""What one platform wants of a device, and what it may change of it.

The defaults are HJ 212-2017; every other value is what a platform was seen to want. ``OverTime``
and ``ReCount`` are those for a cellular line (HJ 212-2017, chapter 6: 10 s, three resends).
"""

from dataclasses import dataclass, field
from typing import Final

from protocols.wire.errors import BAD_VALUE, LocalError

from .dialect import Hj212Dialect
from .sm4 import KEY_BYTES

RTD_INTERVAL_S: Final = (30, 3600)  # HJ 212-2017 table 3 and annex C.6
MIN_INTERVALS_MIN: Final = (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30)
OVER_TIME_S: Final = (1, 99)
RE_COUNT: Final = (1, 99)


@dataclass(frozen=True, slots=True)
class Hj212Settings:
    """What a platform can set; a program keeps it, so that a restart changes nothing."""

    over_time_s: int = 10
    re_count: int = 3
    rtd_interval_s: int = 60
    min_interval_min: int = 10
    realtime_on: bool = True
    status_on: bool = False
    pw: str = "123456"
    key: bytes = field(default=b"", repr=False)  # SM4; empty: no encryption

    def checked(self) -> "Hj212Settings":
        """Return the settings; LocalError names one that is outside the standard's range."""
        for name, value, good in (
            ("OverTime", self.over_time_s, OVER_TIME_S[0] <= self.over_time_s <= OVER_TIME_S[1]),
            ("ReCount", self.re_count, RE_COUNT[0] <= self.re_count <= RE_COUNT[1]),
            (
                "RtdInterval",
                self.rtd_interval_s,
                RTD_INTERVAL_S[0] <= self.rtd_interval_s <= RTD_INTERVAL_S[1],
            ),
            ("MinInterval", self.min_interval_min, self.min_interval_min in MIN_INTERVALS_MIN),
            ("PW", len(self.pw), len(self.pw) <= 6 and self.pw.isalnum()),
            ("SM4 key", len(self.key), len(self.key) in (0, KEY_BYTES)),
        ):
            if not good:
                raise LocalError(BAD_VALUE, name, -1, "a value the standard allows", value)
        return self


@dataclass(frozen=True, slots=True)
class Hj212Options:
    """Who the device is, and how this platform speaks."""

    mn: str
    st: str
    version: int = 1  # of Flag: 0 2005, 1 2017, 2 2025
    dialect: Hj212Dialect = field(default_factory=Hj212Dialect)
    answer_st: str = "91"  # ST of our answers; empty: that of the data
    sets_ack_flag: bool = True  # bit A of Flag on what we upload
    awaits_ack: bool = True  # whether the platform answers at all
    window: int = 1  # uploads that may wait for their answer at the same time
    login_cn: str = ""  # sent first, and nothing else before it is answered
    on_connect: tuple[str, ...] = ("2081",)  # notices at each connection
    heartbeat_s: int = 0  # 9015 so often; 0: never
    splits_with_numbers: bool = True  # PNUM and PNO; False: cut at factors into whole frames
    marks_backfill: bool = False  # RF=1, HJ 212-2025 (from implementations)
    data_time_digits: int = 14
    allow_control: bool = False  # whether commands may change something
    max_history: int = 4320  # periods that one request may draw; what is cut ends with ExeRtn=3
