"""Times as HJ 212 writes them: Beijing time without a zone (custom; the text names none).

``DataTime`` is YYYYMMDDhhmmss, a request number has milliseconds behind it (HJ 212-2017 table 3).
"""

from datetime import UTC, datetime
from typing import Final

from protocols.uplink.beijing import BEIJING

from .errors import Hj212Error

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
OFFSET_MS: Final = 8 * HOUR_MS


def _local(unix_ms: int) -> datetime:
    return datetime.fromtimestamp(unix_ms // 1000, UTC).astimezone(BEIJING)


def data_time(unix_ms: int, digits: int = 14) -> str:
    """Return DataTime; 17 digits are with milliseconds (from implementations)."""
    text = _local(unix_ms).strftime("%Y%m%d%H%M%S")
    return text + f"{unix_ms % 1000:03}" if digits == 17 else text


def request_number(unix_ms: int) -> str:
    """Return QN: the time with milliseconds."""
    return data_time(unix_ms, 17)


def parse_data_time(text: str) -> int:
    """Return the milliseconds since 1970 of a time of 14 or 17 digits; Hj212Error otherwise."""
    if len(text) in (14, 17) and text.isascii() and text.isdigit():
        try:
            moment = datetime.strptime(text[:14], "%Y%m%d%H%M%S").replace(tzinfo=BEIJING)
        except ValueError:
            pass
        else:
            return int(moment.timestamp()) * 1000 + int(text[14:] or 0)
    raise Hj212Error.broken("CP", expected="a time YYYYMMDDhhmmss", got=repr(text[:40]))
