"""A pseudo terminal of the stand-in, whose bytes come to the node one by one.

A thread of Renode hands over one byte, and the next when machines and outside have met again. In
between virtual time passes, and now and then more than the silence that ends a frame: of a request
in ten to one in three, by the number of machines. Here it is each third piece.
"""

from __future__ import annotations

import os
import threading
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Final

#: Virtual time before the second half of a piece that is torn: t3.5 at 9600 baud is 4 ms.
TORN_US: Final = 6000
_TORN_OF: Final = 3
_CHUNK: Final = 4096


class FakePty:
    """A pseudo terminal with a link to it, in the time that ``now_us`` gives."""

    def __init__(self, link: Path, now_us: Callable[[], int]) -> None:
        self._near, far = os.openpty()
        tty.setraw(far)
        link.symlink_to(os.ttyname(far))
        self._link = link
        self._now_us = now_us

    def listen(self, heard: Callable[[bytes, int], None]) -> None:
        """Give each byte to ``heard`` with its time, from now on."""
        threading.Thread(target=self._read, args=(heard,), daemon=True).start()

    def _read(self, heard: Callable[[bytes, int], None]) -> None:
        pieces = 0
        while data := os.read(self._near, _CHUNK):
            pieces += 1
            at_us = self._now_us()
            for index, byte in enumerate(data):
                if pieces % _TORN_OF == 0 and index == len(data) // 2:
                    at_us += TORN_US
                heard(bytes((byte,)), at_us)

    def send(self, data: bytes, at_us: int | None = None) -> None:
        """Show what the node sent."""
        os.write(self._near, data)

    def close(self) -> None:
        """Remove the link. FileNotFoundError if somebody else has, which Renode does not take."""
        self._link.unlink()
