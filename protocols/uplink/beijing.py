"""The time zone of China, in which HJ 212, SL 651 and SL 427 write times."""

from datetime import timedelta, timezone
from typing import Final

BEIJING: Final = timezone(timedelta(hours=8))
