"""The lines of one board in the station log, from the first that is written to its label."""

import getpass
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from boards.errors import BoardError
from protocols.wire.node_key import MAX_KEY_ID

from . import station_log
from .errors import KEY_FILE, FlashingError
from .key_files import key_ids
from .plan import FoundBoard


class BoardLines:
    """The lines of one board in the station log."""

    def __init__(self, log: Path, board: FoundBoard, kind: str, lane: str, begun: float) -> None:
        self._log = log
        self._kind = kind
        self._lane = lane
        self._board = board
        self._uid = board.uid
        self._begun = begun

    def known(self, uid: str) -> None:
        """Take the unique id of a board of which only the USB serial number was known."""
        self._uid = uid

    @contextmanager
    def failing(self) -> Iterator[None]:
        """Add a line if what is done inside fails."""
        try:
            yield
        except BoardError as error:
            self.add("failed", {"error": str(error)})
            raise

    def add(
        self, event: str, fields: Mapping[str, object], verified_by: str = ""
    ) -> Mapping[str, object]:
        """Add a line; ``verified_by`` is how what was written was read again."""
        head = {
            "event": event,
            "board": self._kind,
            "uid": self._uid,
            "who": getpass.getuser(),
            "station": platform.node(),
            "lane": self._lane,
            "seconds": round(time.monotonic() - self._begun, 1),
            "verified_by": verified_by,
        }
        if self._board.usb_serial:
            head["usb_serial"] = self._board.usb_serial
        line = {**head, **fields}
        station_log.append(self._log, line)
        return line

    def next_key_id(self, board: FoundBoard, keys: Path) -> int:
        """Return a key id that the board never had, as far as it, the log and the folder show."""
        used = [board.key_id, *key_ids(keys, board)]
        for line in station_log.entries(self._log):
            key_id = line.get("key_id")
            name = line.get("uid") or line.get("usb_serial")
            if isinstance(key_id, int) and board.may_be(name):
                used.append(key_id)
        if max(used) >= MAX_KEY_ID:
            raise FlashingError(
                KEY_FILE, f"{board.name}: expected a key id up to {MAX_KEY_ID}, all are used"
            )
        return max(used) + 1
