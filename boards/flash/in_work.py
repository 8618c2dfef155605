"""The boards that are being flashed side by side, by their unique ids: no id may be there twice."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from .errors import TWINS, FlashingError


class BoardsInWork:
    """Which lane has which board; it is shared by the threads of all lanes."""

    def __init__(self) -> None:
        self._lanes: dict[str, str] = {}
        self._lock = threading.Lock()

    @contextmanager
    def hold(self, uid: str, lane: str) -> Iterator[None]:
        """Keep a board for a lane. FlashingError if another lane has a board of this id."""
        with self._lock:
            other = self._lanes.setdefault(uid, lane)
        if other != lane:
            raise FlashingError(
                TWINS, f"lane {lane}: unique id {uid} is that of the board in lane {other}"
            )
        try:
            yield
        finally:
            with self._lock:
                del self._lanes[uid]
