"""What a device has sent, or still has to send, until the platform has answered it."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from .events import Hj212Upload
from .message import Body

NO_KEY: Final = -1  # of a notice, which is no upload


@dataclass(slots=True)
class Waiting:
    """What waits for its answer; its frame is made each time, as key and PW may have changed."""

    cn: str
    qn: str
    body: Body
    ends: frozenset[str]  # CN of the answers that it waits for
    key: int = NO_KEY
    part: tuple[int, int] | None = None
    is_backfill: bool = False
    due_ms: int = 0
    tries: int = 1
    came: str = ""  # CN of another answer


@dataclass(slots=True)
class Parts:
    """An upload of which parts are still to be sent."""

    upload: Hj212Upload
    bodies: deque[Body]
    count: int
    unanswered: int = 0
    qns: list[str] = field(default_factory=list)
